"""Dies without a word, except for the time."""

import os
import time


def main():
    print(time.monotonic_ns(), flush=True)
    os._exit(3)
