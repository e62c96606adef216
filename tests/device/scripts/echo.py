"""Gives back what it was given."""

given = {}


def init(*args, **kwargs):
    given["init"] = {"args": list(args), "kwargs": kwargs}


def main(*args, **kwargs):
    return {**given, "main": {"args": list(args), "kwargs": kwargs}}
