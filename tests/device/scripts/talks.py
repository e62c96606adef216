"""Writes to stdout, stderr and the log, in turn."""

import logging
import sys

LOG = logging.getLogger("talker")


def init():
    print("init on stdout")


def main(rounds=1):
    for number in range(rounds):
        print(f"{number} on stdout")
        print(f"{number} on stderr: αλ 🔭", file=sys.stderr)
        LOG.warning("%d in the log", number)
    print("half a line", end="")
