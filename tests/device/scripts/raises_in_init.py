"""Raises in init."""


def init():
    raise RuntimeError("no init for you: αλ")


def main():
    return "never"
