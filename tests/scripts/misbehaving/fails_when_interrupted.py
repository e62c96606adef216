"""Answers an interrupt with an exception of its own."""

import time


def main():
    try:
        print("sleeping")
        time.sleep(1000)
    except KeyboardInterrupt:
        raise ValueError("cannot clean up") from None
