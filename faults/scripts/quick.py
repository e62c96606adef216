"""Does next to nothing, in init and in main."""

from notes import note


def init():
    note("init")


def main():
    note("entered")
    print("quick")
    note("left")
    return "done"
