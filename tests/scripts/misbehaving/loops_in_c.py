"""Runs a loop in C, during which no signal handler of Python's is called."""

import itertools
import signal


def main():
    signal.signal(signal.SIGTERM, lambda *_: None)
    print("looping")
    any(itertools.repeat(False))
