"""Ends its process without a word, after half a line of output."""

import os


def main(code=0):
    print("half a line", end="")
    os._exit(code)
