"""Ignores every signal that can be ignored."""

import contextlib
import signal
import time


def main():
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_IGN)
    print("ignoring")
    while True:
        time.sleep(1)
