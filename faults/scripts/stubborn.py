"""Never returns, and resists: sleeps, loops in C, swallows exceptions or ignores signals."""

import contextlib
import itertools
import signal
import sys
import time

from notes import note


def main(how):
    if how == "ignores":
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
            with contextlib.suppress(OSError):
                signal.signal(number, signal.SIG_IGN)
    elif how != "sleeps":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    note("entered")
    if how == "loops":
        any(itertools.repeat(False))
    while True:
        try:
            time.sleep(600)
        except BaseException:
            if how != "swallows":
                raise
