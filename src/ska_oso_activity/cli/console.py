"""Where the command line writes: results to stdout, everything else to stderr (cli)."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import datetime

from rich.console import Console
from rich.text import Text

WIDE = 200
"""Columns where there is no terminal: tables in a pipe or a log are not squeezed into 80."""

out = Console(
    highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDE
)
"""Results. Colours, boxes and progress bars only on a terminal."""
err = Console(stderr=True, highlight=False, markup=False, emoji=False)
"""Errors, and what is worth knowing on the way."""


def say(sentence: str) -> None:
    """One line on stderr with the local time; a terminal that is gone stops nobody."""
    with suppress(OSError):
        err.print(f"{datetime.now().astimezone():%H:%M:%S} {sentence}", soft_wrap=True)


def printable(text: str) -> Text:
    """`text` as a terminal may show it: what would steer the terminal is written out instead."""
    return Text("".join(map(_visible, text)))


def _visible(character: str) -> str:
    if character.isprintable() or character == "\t":
        return character
    return character.encode("unicode_escape").decode()
