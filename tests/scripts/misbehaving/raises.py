"""Raises in main, two calls down."""


def main():
    helper()


def helper():
    raise ValueError("the beam is gone")
