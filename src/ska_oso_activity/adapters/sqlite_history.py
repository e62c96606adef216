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
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ska_oso_activity.adapters.sqlite_salvage import readable_rows
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.times import file_stamp, utc_now

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS note (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
    id INTEGER PRIMARY KEY,
    finished INTEGER NOT NULL, -- 0, or a number that tells the order in which they finished
    first_seq INTEGER, -- of its events
    body TEXT NOT NULL,
    crc INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY, body TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS finished_record ON record (finished) WHERE finished;
CREATE INDEX IF NOT EXISTS first_event ON record (first_seq);
"""
EVENTS_PER_RECORD = 30
"""How many events are kept for each record that is kept, at the most."""

LOST_NUMBERS = 1000
"""How many ids and seqs after the last one found are taken to have been lost with a database."""

_FORMAT = 1
"""Version of the schema, in `PRAGMA user_version`."""


class SqliteHistory:
    """Records and events of one device.

    Args:
        path: the database file; its directory is made, private to us.
        keep: how many finished records are kept, the newest.

    A damaged record is dropped alone. A database that SQLite finds damaged is set aside; what can
    still be read of it is taken over into a new one, with a new epoch: clients see by the epoch
    that written history may have been lost. So it is after a crash of the machine, which may have
    taken what was written and not yet synced.

    Raises:
        OSError: the directory or the file cannot be used.
    """

    def __init__(self, path: Path, *, keep: int = 1000) -> None:
        self._path = path
        self._keep = keep
        self._damaged: set[tuple[str, int]] = set()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _as_os_error(path):
            try:
                self._database = self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                aside = self._set_aside(error)
                self._database = self._open()
                self._salvage(aside)
            self.epoch = self._take_up_epoch()
        self.told = int(self.get_note("told") or 0)
        self._count_finished = self._scalar("SELECT count(*) FROM record WHERE finished")
        self._last_finished = self._scalar("SELECT coalesce(max(finished), 0) FROM record")

    def _open(self) -> sqlite3.Connection:
        if self._path.exists() and self._path.stat().st_size == 0:
            raise sqlite3.DatabaseError("the file is empty, which ours never is")
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
            _require_sound(database)
        except BaseException:
            database.close()
            raise
        return database

    def _set_aside(self, error: sqlite3.DatabaseError) -> Path:
        aside = self._path.with_name(f"{self._path.name}.unreadable-{file_stamp(utc_now())}")
        _log.error("history %s cannot be read (%s): set aside as %s", self._path, error, aside)
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").rename(f"{aside}{suffix}")
        return aside

    def _salvage(self, aside: Path) -> None:
        """Take over what can be read of a damaged database."""
        insert = {
            "record": "INSERT INTO record (id, finished, first_seq, body, crc) VALUES (?,?,?,?,?)",
            "event": "INSERT INTO event (seq, body, crc) VALUES (?,?,?)",
        }
        columns = {"record": "id, finished, first_seq, body, crc", "event": "seq, body, crc"}
        last = {"record": 0, "event": 0}
        with self._transaction(durable=True):
            for table, key in (("record", "id"), ("event", "seq")):
                for row in readable_rows(aside, table, key, columns[table]):
                    self._database.execute(insert[table], row)
                    last[table] = row[0]
            # Numbers that were lost must not be given again.
            self._put_note("trimmed_id", str(last["record"] + LOST_NUMBERS))
            self._put_note("trimmed_seq", str(last["event"] + LOST_NUMBERS))
        saved = [self._scalar(f"SELECT count(*) FROM {table}") for table in insert]  # noqa: S608
        _log.error("%d records and %d events of it were saved", *saved)

    def _take_up_epoch(self) -> str:
        """The identity of this history: a new one where written history may have been lost."""
        boot = _boot_id()
        kept = self.get_note("epoch")
        crashed = self.get_note("open_since") not in (None, "", boot)
        epoch = kept if kept is not None and not crashed else uuid.uuid4().hex
        self.set_note("epoch", epoch)
        self.set_note("open_since", boot)
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
            seq = None if event is None else event[0]
            self._database.execute(
                "INSERT INTO record (id, finished, first_seq, body, crc) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET finished = excluded.finished, "
                "body = excluded.body, crc = excluded.crc",
                (record_id, order, seq, *_sealed(record)),
            )
            if event is not None:
                self._database.execute(
                    "INSERT INTO event (seq, body, crc) VALUES (?, ?, ?)", (seq, *_sealed(event[1]))
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
        rows = self._database.execute(
            "SELECT id, body, crc FROM record WHERE id = ?", (record_id,)
        ).fetchall()
        return next(iter(self._opened("record", rows)), None)

    def records(self) -> Iterable[dict[str, Any]]:
        """See `History.records`."""
        rows = self._database.execute("SELECT id, body, crc FROM record ORDER BY id").fetchall()
        return self._opened("record", rows)

    def events_since(self, seq: int, limit: int | None = None) -> list[dict[str, Any]]:
        """See `History.events_since`."""
        rows = self._database.execute(
            "SELECT seq, body, crc FROM event WHERE seq > ? ORDER BY seq LIMIT ?",
            (max(-1, min(seq, 2**62)), -1 if limit is None else limit),
        ).fetchall()
        return list(self._opened("event", rows))

    def _opened(self, what: str, rows: Iterable[tuple[int, str, int]]) -> Iterator[dict[str, Any]]:
        """The JSON in these rows; one that is not as it was written is passed over alone."""
        for number, body, crc in rows:
            if _crc(body) != crc:
                if (what, number) not in self._damaged:
                    self._damaged.add((what, number))
                    _log.error("%s %d of %s is damaged: it is dropped", what, number, self._path)
                continue
            yield json.loads(body)

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
            self._database.executemany("DELETE FROM record WHERE id = ?", [(n,) for n in removed])
            # Events go from the oldest on, so that their numbers have no gaps; those of a record
            # that stays for very long hold up the others only so far.
            first_kept = self._scalar(
                "SELECT coalesce((SELECT first_seq FROM record WHERE first_seq NOT NULL "
                "ORDER BY first_seq LIMIT 1), 0)"
            )
            horizon = max(first_kept, self.last_seq() - EVENTS_PER_RECORD * self._keep)
            self._database.execute("DELETE FROM event WHERE seq < ?", (horizon,))
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
        with contextlib.suppress(OSError), self._transaction(durable=True):
            self._put_note("told", str(self.told))
            self._put_note("open_since", "")
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


def _sealed(value: Mapping[str, Any]) -> tuple[str, int]:
    body = strict_json.dumps(value)
    return body, _crc(body)


def _crc(body: str) -> int:
    return zlib.crc32(body.encode("utf-8", "replace"))


def _require_sound(database: sqlite3.Connection) -> None:
    found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _boot_id() -> str:
    """Which start of the machine this is."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "unknown"


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
