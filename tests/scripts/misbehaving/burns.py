"""Uses processor time, whatever it is told."""

import signal


def main(stubborn=False):
    if stubborn:
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    print("burning")
    while True:
        pass
