"""History on disk, in an embedded SQLite database (adapters layer; port `History`).

One file per device. A write-ahead log makes a commit cheap (about 10 us, measured) and a synced
commit affordable (about 0.2 ms); the caller says which one a fact needs.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.times import file_stamp, utc_now

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS note (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
    id INTEGER PRIMARY KEY,
    finished INTEGER NOT NULL, -- 0, or a number that tells the order in which they finished
    body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY, record_id INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_of_record ON event (record_id);
CREATE INDEX IF NOT EXISTS finished_record ON record (finished) WHERE finished;
"""
_FORMAT = 1
"""Version of the schema, in `PRAGMA user_version`."""


class SqliteHistory:
    """Records and events of one device.

    Args:
        path: the database file; its directory is made, private to us.
        keep: how many finished records are kept, the newest.

    A file that cannot be read as our database is set aside, and a new history, with a new epoch,
    begins: clients see by the epoch that written history was lost.

    Raises:
        OSError: the directory or the file cannot be used.
    """

    def __init__(self, path: Path, *, keep: int = 1000) -> None:
        self._path = path
        self._keep = keep
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _as_os_error(path):
            try:
                self._database = self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._set_aside(error)
                self._database = self._open()
        self.epoch = self.get_note("epoch") or self._new_epoch()
        self.told = int(self.get_note("told") or 0)
        self._count_finished = self._scalar("SELECT count(*) FROM record WHERE finished")
        self._last_finished = self._scalar("SELECT coalesce(max(finished), 0) FROM record")

    def _open(self) -> sqlite3.Connection:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        database = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=5.0
        )
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            _refuse_newer(database.execute("PRAGMA user_version").fetchone()[0])
            database.executescript(_SCHEMA)
            database.execute(f"PRAGMA user_version={_FORMAT}")
            database.execute("SELECT max(seq) FROM event").fetchone()
            database.execute("SELECT max(id) FROM record").fetchone()
        except BaseException:
            database.close()
            raise
        return database

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        aside = self._path.with_name(f"{self._path.name}.unreadable-{file_stamp(utc_now())}")
        _log.error("history %s cannot be read (%s): set aside as %s", self._path, error, aside)
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").rename(f"{aside}{suffix}")

    def _new_epoch(self) -> str:
        epoch = uuid.uuid4().hex
        self.set_note("epoch", epoch)
        return epoch

    def append(
        self,
        record_id: int,
        record: Mapping[str, Any],
        event: tuple[int, Mapping[str, Any]] | None,
        *,
        finished: bool,
        durable: bool,
    ) -> None:
        """See `History.append`."""
        with self._transaction(durable=durable):
            was_finished = self._finished(record_id)
            order = (was_finished or self._last_finished + 1) if finished else 0
            self._database.execute(
                "INSERT INTO record (id, finished, body) VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET finished = excluded.finished, body = excluded.body",
                (record_id, order, strict_json.dumps(record)),
            )
            if event is not None:
                seq, body = event
                self._database.execute(
                    "INSERT INTO event (seq, record_id, body) VALUES (?, ?, ?)",
                    (seq, record_id, strict_json.dumps(body)),
                )
            self._database.execute(
                "INSERT OR REPLACE INTO note (key, value) VALUES ('told', ?)", (str(self.told),)
            )
        self._last_finished = max(self._last_finished, order)
        self._count_finished += bool(order) - bool(was_finished)

    def _finished(self, record_id: int) -> int:
        row = self._database.execute(
            "SELECT finished FROM record WHERE id = ?", (record_id,)
        ).fetchone()
        return int(row[0]) if row else 0

    def record(self, record_id: int) -> dict[str, Any] | None:
        """See `History.record`."""
        row = self._database.execute(
            "SELECT body FROM record WHERE id = ?", (record_id,)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def records(self) -> Iterable[dict[str, Any]]:
        """See `History.records`."""
        rows = self._database.execute("SELECT body FROM record ORDER BY id").fetchall()
        return (json.loads(row[0]) for row in rows)

    def events_since(self, seq: int, limit: int | None = None) -> list[dict[str, Any]]:
        """See `History.events_since`."""
        rows = self._database.execute(
            "SELECT body FROM event WHERE seq > ? ORDER BY seq LIMIT ?",
            (max(-1, min(seq, 2**62)), -1 if limit is None else limit),
        ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def last_seq(self) -> int:
        """See `History.last_seq`."""
        kept = self._scalar("SELECT coalesce(max(seq), 0) FROM event")
        return max(kept, int(self.get_note("trimmed_seq") or 0))

    def next_id(self) -> int:
        """See `History.next_id`."""
        kept = self._scalar("SELECT coalesce(max(id), 0) FROM record")
        return max(kept, int(self.get_note("trimmed_id") or 0)) + 1

    def trim(self) -> list[int]:
        """See `History.trim`."""
        surplus = self._count_finished - self._keep
        if surplus <= 0:
            return []
        rows = self._database.execute(
            "SELECT id FROM record WHERE finished ORDER BY finished LIMIT ?", (surplus,)
        ).fetchall()
        removed = [row[0] for row in rows]
        with self._transaction(durable=False):
            # The greatest numbers ever used outlive their records: they are never given again.
            self._put_note("trimmed_seq", str(self.last_seq()))
            self._put_note("trimmed_id", str(self.next_id() - 1))
            for record_id in removed:
                self._database.execute("DELETE FROM event WHERE record_id = ?", (record_id,))
                self._database.execute("DELETE FROM record WHERE id = ?", (record_id,))
        self._count_finished -= len(removed)
        return removed

    def get_note(self, key: str) -> str | None:
        """See `History.get_note`."""
        row = self._database.execute("SELECT value FROM note WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_note(self, key: str, value: str) -> None:
        """See `History.set_note`."""
        with self._transaction(durable=False):
            self._put_note(key, value)

    def _put_note(self, key: str, value: str) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO note (key, value) VALUES (?, ?)", (key, value)
        )

    def close(self) -> None:
        """See `History.close`."""
        with contextlib.suppress(OSError):
            self.set_note("told", str(self.told))
        self._database.close()

    def _scalar(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[None]:
        with _as_os_error(self._path):
            # Takes effect at this commit; it cannot be changed inside a transaction.
            self._database.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


def _refuse_newer(version: int) -> None:
    if version > _FORMAT:
        raise sqlite3.OperationalError(
            f"it was written by a newer release (format {version}, ours is {_FORMAT}): "
            "use that release, or another state directory"
        )


@contextlib.contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """SQLite's word that the disk does not do its part, as the OSError that the port promises."""
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"history {path.name} cannot be used: {error}") from error
