"""Prints much, as fast as it can, and closes what it wrote to."""

import os
import sys

from notes import note


def main(megabytes=4, close=True):
    note("entered")
    piece = ("x" * 79 + "\n") * 100
    for _ in range(megabytes * 1024 * 1024 // len(piece)):
        print(piece, end="")
    if close:
        sys.stdout.close()
        sys.stderr.close()
        os.close(1)
        os.close(2)
    note("left")
    return "still here"
