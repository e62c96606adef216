"""Takes exactly one argument."""


def main(target):
    return target
