"""The journal: a fact is written first and told second, in order, whatever the disk does.

Application layer.
"""

from __future__ import annotations

import errno
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

LOOK_INTERVAL = 2.0
"""Seconds between two looks at a disk that gives no trouble."""

_EXTRAS: dict[str, Any] = {"stacktrace": None, "output_tail": []}
_DETAILS: dict[str, Any] = {"script_args": {}, "runtime_args": {}, "labels": {}}
_SPARES: tuple[dict[str, Any], ...] = (
    {"result": None},
    {"result": None, **_EXTRAS},
    {"result": None, **_EXTRAS, **_DETAILS},
)
"""What a record can do without, if it must, and what it has in its place; the last only the record
of something that has ended."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Entry:
    """One record as it is now, and the event that brought it here, if one did.

    Where the disk has no space for all of a record, it is made smaller, and its message says so.
    """

    record_id: int
    record: dict[str, Any]
    event: Mapping[str, Any] | None
    finished: bool
    durable: bool
    tell: Callable[[], None]


class Journal:
    """Writes entries to the history and then tells them.

    While the disk refuses, entries wait in order and are told once they are written: the
    announcement of a fact waits for its record, never the other way round. On a full disk that is
    rare: the history holds space for what is to come of all that was accepted.

    Args:
        lock: the lock of the service that owns this journal; all calls are made while holding it.
        on_health: called with the trouble when nothing new is accepted, with None when it is again.
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
        self._trouble: str | None = None
        self._seq = history.last_seq()
        self._closing = threading.Event()
        self._news = threading.Event()
        threading.Thread(target=self._watch, name="journal", daemon=True).start()

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
            NoSpace: the disk takes no record, or has no space for the records that will follow;
                nothing was created and no seq used.
        """
        if self._waiting:
            raise NoSpace(
                "the disk takes no records now, so nothing new is accepted; "
                "free space or repair the state directory, then ask again"
            )
        try:
            self._write(entry, reserve=True)
        except OSError as error:
            self._troubled_by(error)
            raise NoSpace(
                f"the request could not be written to disk ({_words(error)}), so it is not "
                "accepted; free space or repair the state directory, then ask again"
            ) from error
        self._seq += entry.event is not None
        self._tell_health(None)
        entry.tell()

    def append(self, entry: Entry) -> None:
        """Write an entry and tell it; if the disk refuses, as soon as it no longer does."""
        self._seq += entry.event is not None
        self._waiting.append(entry)
        if len(self._waiting) == 1:
            self._drain()

    def close(self) -> None:
        """Stop trying."""
        self._closing.set()
        self._news.set()

    def _write(self, entry: Entry, *, reserve: bool = False) -> None:
        event = None if entry.event is None else (int(entry.event["seq"]), entry.event)
        self._history.append(
            entry.record_id,
            entry.record,
            event,
            finished=entry.finished,
            durable=entry.durable,
            reserve=reserve,
        )

    def _drain(self) -> None:
        while self._waiting and not self._closing.is_set():
            entry = self._waiting[0]
            try:
                self._write(entry)
            except OSError as error:
                if error.errno not in _FULL or not self._write_lean(entry, "the disk is full"):
                    self._troubled_by(error)
                    return
            except Exception:
                # A defect of ours must not hold up everything that comes after.
                _log.exception("the record %d cannot be written whole", entry.record_id)
                if not self._write_lean(entry, "it could not be written"):
                    _log.error("the record %d is lost", entry.record_id)
                    self._waiting.popleft()
                    continue
            self._waiting.popleft()
            entry.tell()
        if self._trouble is not None:
            self._look_at_room()

    def _write_lean(self, entry: Entry, why: str) -> bool:
        """Write an entry without what its record can do without; whether that worked."""
        tried: dict[str, Any] = {}
        for spares in _SPARES if entry.finished else _SPARES[:-1]:
            left_out = {key: spares[key] for key in spares if entry.record.get(key)}
            if left_out == tried:
                continue
            tried = left_out
            note = f"not kept, as {why}: {', '.join(left_out)}"
            message = entry.record.get("message")
            lean = {
                **entry.record,
                **left_out,
                "message": f"{message}; {note}" if message else note,
            }
            try:
                self._write(replace(entry, record=lean))
            except Exception as error:
                _log.warning("the record %d is too large (%s): %s", entry.record_id, note, error)
                continue
            _log.error("of the record %d was %s", entry.record_id, note)
            entry.record.update(lean)
            return True
        return False

    # --- Trouble -----------------------------------------------------------------------------

    def _troubled_by(self, error: OSError) -> None:
        if self._trouble is None:
            _log.error("%s: what happens is told once it can be written", error)
        self._tell_health(f"history cannot be written: {_words(error)}")
        self._news.set()

    def _tell_health(self, trouble: str | None) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._on_health(trouble)

    def _watch(self) -> None:
        """Try again what the disk refused; see that it would take more."""
        while not self._closing.is_set():
            self._news.wait(LOOK_INTERVAL)
            if self._news.is_set():
                self._news.clear()
                self._closing.wait(RETRY_INTERVAL)
            with self._lock:
                if self._closing.is_set():
                    return
                if self._waiting:
                    self._drain()
                else:
                    self._look_at_room()
                if self._trouble is not None:
                    self._news.set()

    def _look_at_room(self) -> None:
        if self._waiting:
            return
        try:
            if self._trouble is not None:
                self._history.set_note("probe", utc_now())
            self._history.require_room()
        except OSError as error:
            self._troubled_by(error)
        else:
            self._tell_health(None)


def _words(error: OSError) -> str:
    return error.strerror or str(error)
