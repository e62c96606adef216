"""Runs a loop in C, which no handler of Python interrupts; SIGTERM is handled, so never acted on."""

import itertools
import signal


def main():
    signal.signal(signal.SIGTERM, lambda *_: None)
    print("looping")
    any(itertools.repeat(False))
