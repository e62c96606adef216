"""The journal: a fact is written first and told second, in order, whatever the disk does.

Application layer.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ska_oso_activity.application.ports import History
from ska_oso_activity.domain.errors import NoSpace
from ska_oso_activity.domain.times import utc_now

_log = logging.getLogger(__name__)

RETRY_INTERVAL = 0.5
"""Seconds between attempts to write what the disk refused."""


EXTRAS = ("result", "stacktrace")
"""What a record can do without, if it must."""


@dataclass(frozen=True)
class Entry:
    """One record as it is now, and the event that brought it here, if one did."""

    record_id: int
    record: Mapping[str, Any]
    event: Mapping[str, Any] | None
    finished: bool
    durable: bool
    tell: Callable[[], None]


class Journal:
    """Writes entries to the history and then tells them.

    While the disk refuses, entries wait in order and are told once they are written: the
    announcement of a fact waits for its record, never the other way round.

    Args:
        lock: the lock of the service that owns this journal; all calls are made while holding it.
        on_health: called with the trouble when writing fails, with None when it works again.
    """

    def __init__(
        self,
        history: History,
        lock: threading.RLock,
        on_health: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._history = history
        self._lock = lock
        self._on_health = on_health
        self._waiting: deque[Entry] = deque()
        self._timer: threading.Timer | None = None
        self._closed = False
        self._troubled = False
        self._seq = history.last_seq()

    @property
    def epoch(self) -> str:
        """Identity of the history."""
        return self._history.epoch

    @property
    def next_seq(self) -> int:
        """The seq that the next event takes."""
        return self._seq + 1

    def accept(self, entry: Entry) -> None:
        """Write the first entry of something new, synced, or refuse it.

        Raises:
            NoSpace: the disk takes no record; nothing was created and no seq used.
        """
        if self._waiting:
            raise NoSpace(
                "the disk takes no records now, so nothing new is accepted; "
                "free space or repair the state directory, then ask again"
            )
        try:
            self._write(entry)
        except OSError as error:
            self._troubled_by(error)
            raise NoSpace(
                f"the request could not be written to disk ({error}), so it is not accepted; "
                "free space or repair the state directory, then ask again"
            ) from error
        self._seq += entry.event is not None
        self._in_order()
        entry.tell()

    def append(self, entry: Entry) -> None:
        """Write an entry and tell it; if the disk refuses, as soon as it no longer does."""
        self._seq += entry.event is not None
        self._waiting.append(entry)
        if len(self._waiting) == 1:
            self._drain()

    def close(self) -> None:
        """Stop trying."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _write(self, entry: Entry) -> None:
        event = None if entry.event is None else (int(entry.event["seq"]), entry.event)
        self._history.append(
            entry.record_id,
            entry.record,
            event,
            finished=entry.finished,
            durable=entry.durable,
        )

    def _drain(self) -> None:
        while self._waiting and not self._closed:
            try:
                self._write(self._waiting[0])
            except OSError as error:
                self._troubled_by(error)
                return
            except Exception:
                # A defect of ours must not hold up everything that comes after.
                _log.exception("the record %d cannot be written whole", self._waiting[0].record_id)
                if not self._write_without_extras():
                    self._waiting.popleft()
                    continue
            entry = self._waiting.popleft()
            self._in_order()
            entry.tell()

    def _write_without_extras(self) -> bool:
        """Write the first waiting record without what its script gave; whether that worked."""
        entry = self._waiting[0]
        lean = {**entry.record, **{key: None for key in EXTRAS if key in entry.record}}
        try:
            self._write(replace(entry, record=lean))
        except Exception:
            _log.exception("the record %d is lost", entry.record_id)
            return False
        return True

    def _troubled_by(self, error: OSError) -> None:
        if not self._troubled:
            _log.error("%s: facts wait to be told until it can be written again", error)
        self._troubled = True
        self._on_health(f"history cannot be written: {error}")
        if self._timer is None and not self._closed:
            self._timer = threading.Timer(RETRY_INTERVAL, self._retry)
            self._timer.daemon = True
            self._timer.start()

    def _in_order(self) -> None:
        if self._troubled:
            self._troubled = False
            self._on_health(None)

    def _retry(self) -> None:
        with self._lock:
            self._timer = None
            if self._closed:
                return
            if self._waiting:
                self._drain()
                return
            try:
                self._history.set_note("probe", utc_now())
            except OSError as error:
                self._troubled_by(error)
            else:
                self._in_order()
