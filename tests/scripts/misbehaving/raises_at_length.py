"""Raises an exception with a megabyte of text from deep inside."""


def down(levels):
    if levels == 0:
        raise ValueError("x" * 1_000_000)
    down(levels - 1) if levels % 2 else deeper(levels - 1)


def deeper(levels):
    down(levels)


def main():
    down(300)
