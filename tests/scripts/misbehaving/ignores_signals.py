"""Ignores every signal that can be ignored."""

import signal
import time


def main():
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        try:
            signal.signal(number, signal.SIG_IGN)
        except OSError:
            pass
    print("ignoring")
    while True:
        time.sleep(1)
