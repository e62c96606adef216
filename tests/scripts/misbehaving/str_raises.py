"""Raises an exception that cannot be printed."""


class Unspeakable(Exception):
    def __str__(self):
        raise SystemExit(3)


def main():
    raise Unspeakable
