"""Waits in init and in main for files to appear; each entry is a line in a file."""

import time
from pathlib import Path


def init(entered=None, gate=None):
    _pass("init", entered, gate)


def main(entered=None, gate=None):
    _pass("main", entered, gate)
    print("through")
    return "through"


def _pass(where, entered, gate):
    print(f"{where} entered")
    if entered:
        with Path(entered).open("a") as file:
            file.write(f"{where}\n")
    while gate and not Path(gate).exists():
        time.sleep(0.005)
