"""Burns all the time it gets, until a file appears."""

from pathlib import Path


def main(gate):
    while not Path(gate).exists():
        sum(number * number for number in range(100_000))
