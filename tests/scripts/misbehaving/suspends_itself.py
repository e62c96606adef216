"""Stops its own process with SIGSTOP."""

import os
import signal


def main():
    print("suspending")
    os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        signal.pause()
