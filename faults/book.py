"""All that happened in a round, by one clock, in the order in which the suite learned of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One thing that happened; `time` is of `time.monotonic`."""

    time: float
    who: str
    what: str


class Book:
    """What the suite did and saw; threads write, and wait for what others write."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.begun = time.monotonic()
        self._entries: list[Entry] = []

    def write(self, who: str, what: str, at: float | None = None) -> float:
        """Note something; returns when it happened."""
        entry = Entry(time.monotonic() if at is None else at, who, what)
        with self.changed:
            self._entries.append(entry)
            self.changed.notify_all()
        return entry.time

    def wait(self, find: Callable[[], T | None], seconds: float) -> T | None:
        """What `find` returns as soon as it is true; it is asked again at each news."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not (found := find()):
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self.changed.wait(min(left, 0.25))
        return found

    def entries(self) -> list[Entry]:
        with self.changed:
            return sorted(self._entries, key=lambda entry: entry.time)

    def timeline(self) -> str:
        """For people: seconds from the begin of the round, who, what."""
        return "".join(
            f"{entry.time - self.begun:9.4f}  {entry.who:<18}  {entry.what}\n"
            for entry in self.entries()
        )
