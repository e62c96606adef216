"""Has `run` too, which counts for nothing beside `main`."""


def run(*args, **kwargs):
    return "run"


def main(*args, **kwargs):
    return "main"
