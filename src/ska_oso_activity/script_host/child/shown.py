"""What /proc shows of a script's process: its mark, by which it is found, and a title.

Both were given to the program that the process began with: for one that was forked, the fork
server. They are changed in place, in memory that nothing else uses: Python works on copies.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from functools import cache

from ska_oso_activity.script_host.environment import MARK
from ska_oso_activity.script_host.linux import set_name

WAITING = "script, waiting"
"""The name of a process that has no script yet."""


@dataclass(frozen=True)
class Place:
    """A piece of our memory."""

    start: int
    size: int

    def write(self, text: bytes) -> None:
        """Fill it with a text, cut if it is too long."""
        ctypes.memmove(self.start, text[: self.size].ljust(self.size, b"\0"), self.size)


def show(name: str, title: str, mark: str) -> None:
    """Show what this process is: a name of 15 characters, a longer one, and the mark."""
    set_name(name)
    command, marked = places()
    command.write(os.fsencode(title)[: command.size - 1])
    entry = os.fsencode(f"{MARK}={mark}")
    if marked and len(entry) <= marked.size:
        marked.write(entry)


@cache
def places() -> tuple[Place, Place | None]:
    """Where the command line is, and the variable with the mark. The same in forked processes."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        stat = file.read()
    fields = list(map(int, stat[stat.rindex(")") + 4 :].split()))  # from the fourth field on
    arguments, after_arguments, environment = fields[44], fields[45], fields[46]
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123
        variables = file.read()
    command = Place(arguments, after_arguments - arguments)
    start = (b"\0" + variables).find(os.fsencode(f"\0{MARK}="))
    if start < 0:
        return command, None
    return command, Place(environment + start, variables.find(b"\0", start) - start)
