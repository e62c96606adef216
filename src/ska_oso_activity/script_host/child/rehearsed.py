"""The script of a rehearsal."""

import functools
import logging
import os
import sys
import time

_LOG = logging.getLogger(__name__)


class Telescope:
    """Something to be defined."""

    def __init__(self, name: str) -> None:
        self.name = name


def init(number: int, *, more: int = 0) -> None:
    """Do what many scripts do."""
    functools.partial(_work, Telescope(f"{number} {more} {os.getpid()}"))()


def main(number: int, *, more: int = 0, sb_json: str | None = None) -> dict[str, object]:
    """Do what many scripts do."""
    return {"number": number + more, "name": sb_json, "time": time.time(), "argv": sys.argv[:1]}


def _work(telescope: Telescope) -> None:
    _LOG.debug("%s", telescope.name)
