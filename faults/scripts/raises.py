"""Raises an exception, one that cannot be printed if told so."""

from notes import note


class Unspeakable(Exception):
    def __str__(self):
        raise SystemExit(3)


def main(unspeakable):
    note("entered")
    raise Unspeakable if unspeakable else ValueError("as it was told")
