"""Works for a while and shows that it does: a line of output and a note for each step."""

import time

from notes import note


def init():
    note("init")


def main(steps=20):
    note("entered")
    for step in range(steps):
        print(f"tick {step}")
        note("tick")
        time.sleep(0.05)
    note("left")
    return steps
