"""Raises in init."""


def init():
    raise RuntimeError("no init for you: α")


def main():
    return "never"
