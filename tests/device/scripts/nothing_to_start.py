"""Has neither main nor run."""


def init():
    pass
