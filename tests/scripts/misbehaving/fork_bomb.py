"""Forks without end, within reason: some dozens of processes that replace each other."""

import os
import signal


def main():
    print("bombing")
    for _ in range(12):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            while True:
                if os.fork() == 0:
                    for _ in range(20_000):
                        pass
                    os._exit(0)
    while True:
        signal.pause()
