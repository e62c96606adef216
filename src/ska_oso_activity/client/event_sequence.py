"""Puts activity events in order, once each, and fetches those that were lost (client)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]


class EventSequence:
    """The events of one ActivityDevice, by (epoch, seq); `fetch` is its EventsSince."""

    def __init__(self, fetch: Callable[[int], list[dict[str, Any]]], last: Event | None) -> None:
        """Begin after the event `last`; None: with the first event of the history."""
        self._fetch = fetch
        self._epoch = last["epoch"] if last else None
        self._seq = int(last["seq"]) if last else 0

    def arrived(self, event: Event) -> list[Event]:
        """What is new now that `event` has arrived: nothing, itself, or lost ones and itself."""
        if self._epoch is None:
            self._epoch = event["epoch"]
        if event["epoch"] != self._epoch:
            # Written history was lost, and numbering began anew.
            self._epoch, self._seq = event["epoch"], int(event["seq"]) - 1
        if event["seq"] <= self._seq:
            return []
        if event["seq"] == self._seq + 1:
            return self._taken([event])
        return self.catch_up() or self._taken([event])

    def catch_up(self) -> list[Event]:
        """The events that the device has beyond those that we have seen."""
        found: list[Event] = []
        while True:
            events = self._fetch(self._seq)
            if events and self._epoch != events[-1]["epoch"]:
                self._epoch = events[-1]["epoch"]
            new = [e for e in events if e["epoch"] == self._epoch and e["seq"] > self._seq]
            if not new:
                return found
            found += self._taken(new)

    def _taken(self, events: Sequence[Event]) -> list[Event]:
        self._seq = int(events[-1]["seq"])
        return list(events)
