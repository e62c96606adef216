"""Events on their way to the device server, kept until it has acknowledged them (script host)."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from ska_oso_activity.script_host.directory import HostDirectory
from ska_oso_activity.script_host.messages import Message, encode

SUPERSEDED = frozenset({"progress", "message", "output"})
"""Kinds of which only a procedure's newest is kept: who was away needs no more."""

_REQUIRED = {"kind", "procedure_id", "n"}

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """One event of one procedure.

    Attributes:
        order: rises over all procedures; events are sent in this order.
        n: rises within the procedure; what the server drops repeats by.
        line: the message as it is sent.
    """

    order: int
    procedure_id: int
    n: int
    kind: str
    line: bytes


class Journal:
    """All events not yet acknowledged, in order; the queue towards the server and its memory.

    Once a procedure has ended, its events are also written to disk, so that they outlive the host:
    by `write_end`, unless the server has them by then.
    """

    def __init__(self, directory: HostDirectory) -> None:
        self._directory = directory
        self._events: dict[int, Event] = {}
        self._of: dict[int, dict[int, Event]] = {}
        self._unwritten: set[int] = set()
        self._last_order = 0
        self._last_n: dict[int, int] = {}
        for messages in read_ends(directory):
            for message in messages:
                self._last_n[message["procedure_id"]] = message["n"]
                self._keep(message["procedure_id"], message["n"], message["kind"], encode(message))

    def append(self, procedure_id: int, kind: str, fields: dict[str, Any]) -> Event:
        """Note that something happened."""
        if kind in SUPERSEDED:
            self._drop(procedure_id, lambda event: event.kind == kind)
        n = self._last_n.get(procedure_id, 0) + 1
        self._last_n[procedure_id] = n
        line = encode({"kind": kind, "procedure_id": procedure_id, "n": n, **fields})
        if kind == "end":
            self._unwritten.add(procedure_id)
        return self._keep(procedure_id, n, kind, line)

    def write_ends(self) -> None:
        """Write the ends that are not on disk yet, and what came before them."""
        for procedure_id in sorted(self._unwritten):
            self.write_end(procedure_id)

    def write_end(self, procedure_id: int) -> None:
        """The same for one procedure; nothing to do if its end is written or acknowledged."""
        if procedure_id in self._unwritten:
            self._unwritten.discard(procedure_id)
            lines = [event.line for event in self._of[procedure_id].values()]
            _write(self._directory.end_of(procedure_id), lines)

    def acknowledge(self, procedure_id: int, n: int) -> None:
        """The server has dealt with a procedure's events up to number `n`."""
        gone = self._drop(procedure_id, lambda event: event.n <= n)
        if any(event.kind == "end" for event in gone):
            self._last_n.pop(procedure_id, None)
            if procedure_id in self._unwritten:
                self._unwritten.discard(procedure_id)
                return
            try:
                self._directory.end_of(procedure_id).unlink(missing_ok=True)
            except OSError as error:
                LOG.warning("an end that is known stays on disk: %s", error)

    def forget(self, procedure_id: int) -> None:
        """The server wants to hear no more of a procedure that has ended."""
        self.acknowledge(procedure_id, self._last_n.get(procedure_id, 0))

    def after(self, order: int) -> list[Event]:
        """Events not yet sent to a server that was sent those up to `order`."""
        newest_first = takewhile(lambda event: event.order > order, reversed(self._events.values()))
        return list(newest_first)[::-1]

    def procedures(self) -> set[int]:
        """The procedures that there are events of."""
        return set(self._of)

    def _keep(self, procedure_id: int, n: int, kind: str, line: bytes) -> Event:
        self._last_order += 1
        event = Event(self._last_order, procedure_id, n, kind, line)
        self._events[event.order] = event
        self._of.setdefault(procedure_id, {})[event.order] = event
        return event

    def _drop(self, procedure_id: int, is_gone: Callable[[Event], bool]) -> list[Event]:
        events = self._of.get(procedure_id, {})
        gone = [event for event in events.values() if is_gone(event)]
        for event in gone:
            del self._events[event.order], events[event.order]
        if not events:
            self._of.pop(procedure_id, None)
        return gone


def read_ends(directory: HostDirectory) -> Iterator[list[Message]]:
    """For each ended procedure, what no server has acknowledged: its end, and what came before it.

    A torn file is skipped.
    """
    for path in sorted(directory.ends.glob("*.jsonl"), key=_age):
        try:
            messages = [json.loads(line) for line in path.read_bytes().splitlines()]
            whole = messages[-1]["kind"] == "end" and all(m.keys() >= _REQUIRED for m in messages)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            whole = False
        if whole:
            yield messages
        else:
            LOG.warning("%s cannot be read and is ignored", path)


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _write(path: Path, lines: list[bytes]) -> None:
    temporary = path.with_suffix(".new")
    try:
        temporary.write_bytes(b"".join(lines))
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        LOG.warning("the end is in memory only, %s cannot be written: %s", path, error)
