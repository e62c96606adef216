"""Returns as many letters as it is told."""


def main(letters):
    return "x" * letters
