"""Swallows every exception, KeyboardInterrupt and SystemExit too, and goes on."""

import signal
import sys
import time


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print("swallowing")
    while True:
        try:
            time.sleep(1)
        except BaseException:
            print("swallowed")
