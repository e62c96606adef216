"""Takes its time to load and in init."""

import time

from notes import note

time.sleep(0.15)


def init():
    note("init")
    time.sleep(0.3)


def main():
    note("entered")
    time.sleep(0.1)
    note("left")
    return "done"
