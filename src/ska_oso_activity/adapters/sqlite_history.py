"""History on disk, in an embedded SQLite database (adapters layer; port `History`).

One file per device. A write-ahead log makes a commit cheap (about 10 us, measured) and a synced
commit affordable (about 0.15 ms); the caller says which one a fact needs. Nobody else can open the
file meanwhile: SQLite needs no memory shared through the disk, and a second server is refused.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import sqlite3
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ska_oso_activity.adapters import sqlite_salvage
from ska_oso_activity.adapters.last_numbers import LastNumbers
from ska_oso_activity.adapters.sqlite_room import LOG_PAGES, Room, lay_out_log
from ska_oso_activity.adapters.sqlite_salvage import PAGE_SIZE
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
    seq INTEGER PRIMARY KEY, body TEXT NOT NULL, crc INTEGER NOT NULL, told INTEGER);
CREATE INDEX IF NOT EXISTS finished_record ON record (finished) WHERE finished;
CREATE INDEX IF NOT EXISTS first_event ON record (first_seq);
"""
# `told` is the greatest seq that was known to have been pushed when the event was written.

_INSERT_RECORD = "INSERT INTO record (id, finished, first_seq, body, crc) VALUES (?, ?, ?, ?, ?)"
_PUT_RECORD = (
    f"{_INSERT_RECORD} ON CONFLICT (id) DO UPDATE SET "
    "finished = excluded.finished, body = excluded.body, crc = excluded.crc"
)
_INSERT_EVENT = "INSERT INTO event (seq, body, crc, told) VALUES (?, ?, ?, ?)"

EVENTS_PER_RECORD = 30
"""How many events are kept for each record that is kept, at the most."""

LOST_NUMBERS = 1000
"""How many ids and seqs after the last one found are taken to have been lost with a database,
where nothing else tells how many there were."""

LOG_LENGTH = 2000
"""Pages after which the log is brought into the database, which takes some 10 ms."""

PAGES_PER_RECORD = 8
"""Pages set aside for what is to come of a record that is not finished, beside its own length: a
dozen events, a longer record."""

PAGES_IN_HAND = 32
"""Pages set aside for everything else."""

_FORMAT = 1
"""Version of the schema, in `PRAGMA user_version` and in the note `format`."""

_MOST = 2**62
"""Greatest number that is believed."""


class SqliteHistory:
    """Records and events of one device.

    Args:
        path: the database file; its directory is made, private to us.
        keep: how many finished records are kept, the newest.

    Space for what is to come of unfinished records is held in the files, see `Room`.

    A damaged record is dropped alone. A database that SQLite finds damaged is set aside; what can
    still be read of it is taken over into a new one. By a new epoch clients see that written
    history may have been lost: then, and after a crash of the machine, which may have taken what
    was written and not yet synced.

    Raises:
        OSError: the directory or the file cannot be used.
    """

    def __init__(self, path: Path, *, keep: int = 1000) -> None:
        self._path = path
        self._keep = keep
        self._damaged: set[tuple[str, int]] = set()
        self._synced: bool | None = None
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._opened = contextlib.ExitStack()
        self._last = LastNumbers(path.with_name(f"{path.name}-last"))
        try:
            self._last.take_up()
            with _as_os_error(path):
                lost = self._open_or_salvage()
                self._take_stock()
                self.epoch = self._take_up_epoch(lost=lost | self._pass_over_lost_numbers())
                self._last.note(self.next_id() - 1, self.last_seq())
        except BaseException:
            self._opened.close()
            self._last.close()
            raise

    # --- Opening -----------------------------------------------------------------------------

    def _open_or_salvage(self) -> bool:
        """Open the database; whether written history may have been lost with an old one."""
        try:
            self._open()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # What SQLite says of a damaged name may not be text.
            if isinstance(error, sqlite3.DatabaseError) and not _is_damage(error):
                raise
            aside = self._set_aside(error)
            self._open()
            self._salvage(aside)
            return True
        return False

    def _open(self) -> None:
        is_new = not self._path.exists()
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._opened.callback(os.close, file)
        try:
            logged = 0 if is_new else _look_at(self._path)
            self._database = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=5.0
            )
            self._opened.callback(self._database.close)
            self._set_up(logged)
            self._room = Room(self._database, self._path, file)
            self._room.take_up(LOG_LENGTH)
        except BaseException:
            if is_new and os.fstat(file).st_size == 0:
                self._path.unlink()
            raise

    def _set_up(self, logged: int) -> None:
        database = self._database
        # Bytes: a damaged text need not be one.
        database.text_factory = bytes
        for setting in (
            f"page_size={PAGE_SIZE}",
            "locking_mode=EXCLUSIVE",
            "journal_mode=WAL",
            "secure_delete=OFF",
            "cache_spill=OFF",
        ):
            database.execute(f"PRAGMA {setting}").fetchall()
        self._synced = None
        _refuse_newer(database)
        if logged:
            _require_whole_log(database, logged)
        _require_sound(database)
        database.executescript(_SCHEMA)
        columns = [row[1] for row in database.execute("PRAGMA table_info(event)")]
        if b"told" not in columns:  # one of the first weeks
            database.execute("ALTER TABLE event ADD COLUMN told INTEGER")
        _require_schema(database)
        _require_writable(database)
        if _version(database) != _FORMAT:
            database.execute(f"PRAGMA user_version={_FORMAT}")

    def _take_stock(self) -> None:
        self._count_finished = self._scalar("SELECT count(*) FROM record WHERE finished")
        self._last_finished = self._scalar("SELECT coalesce(max(finished), 0) FROM record")
        self._unfinished: dict[int, int] = {}
        """Of each unfinished record, the pages that are set aside for it."""
        self._set_aside_pages = 0
        for number, length in self._rows("SELECT id, length(body) FROM record WHERE NOT finished"):
            self._promise(number, PAGES_PER_RECORD + _pages(length))
        newest = self._scalar(
            "SELECT coalesce((SELECT told FROM event ORDER BY seq DESC LIMIT 1), 0)"
        )
        self.told = max(newest, self._number_note("told"))

    def _set_aside(self, error: Exception) -> Path:
        aside = self._path.with_name(f"{self._path.name}.unreadable-{file_stamp(utc_now())}")
        _log.error("history %s cannot be read (%s): set aside as %s", self._path, error, aside)
        # While it is open: who closes a database last removes its log.
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").rename(f"{aside}{suffix}")
        self._opened.close()
        return aside

    def _salvage(self, aside: Path) -> None:
        """Take over what can be read of a damaged database."""
        records: dict[int, tuple[Any, ...]] = {}
        events: dict[int, tuple[Any, ...]] = {}
        for key, values in sqlite_salvage.rows(aside):
            match values:
                case (None, int(finished), int() | None as first, bytes(body), int(crc)) if (
                    _is_whole(key, body, crc)
                ):
                    records[key] = (key, finished, first, body.decode("ascii"), crc)
                case (None, bytes(body), int(crc), *told) if _is_whole(key, body, crc):
                    events[key] = (key, body.decode("ascii"), crc, told[0] if told else None)
        # Numbers that were lost must not be given again.
        lost = 0 if self._last.found else LOST_NUMBERS

        def put() -> None:
            self._database.executemany(_INSERT_RECORD, [records[key] for key in sorted(records)])
            self._database.executemany(_INSERT_EVENT, [events[key] for key in sorted(events)])
            self._put_note("trimmed_id", str(max(records, default=0) + lost))
            self._put_note("trimmed_seq", str(max(events, default=0) + lost))

        length = sum(len(row[3]) for row in records.values()) + sum(
            len(row[1]) for row in events.values()
        )
        self._write(put, durable=True, pages=2 * _pages(length) + len(records) + len(events))
        _log.error("%d records and %d events of it were saved", len(records), len(events))

    def _pass_over_lost_numbers(self) -> bool:
        """Give no number again that was used; whether some that were used are gone."""
        lost = self._last.record_id >= self.next_id() or self._last.seq > self.last_seq()
        if lost:
            _log.error(
                "history %s ends with record %d and event %d, and had come to %d and %d",
                self._path,
                self.next_id() - 1,
                self.last_seq(),
                self._last.record_id,
                self._last.seq,
            )
            self.set_note("trimmed_id", str(max(self._last.record_id, self.next_id() - 1)))
            self.set_note("trimmed_seq", str(max(self._last.seq, self.last_seq())))
        return lost

    def _take_up_epoch(self, *, lost: bool) -> str:
        """The identity of this history: a new one where written history may have been lost."""
        boot = _boot_id()
        kept = self.get_note("epoch")
        crashed = self.get_note("open_since") not in (None, "", boot)
        epoch = kept if kept is not None and not crashed and not lost else uuid.uuid4().hex
        for key, value in (("epoch", epoch), ("open_since", boot)):
            if self.get_note(key) != value:
                self.set_note(key, value)
        return epoch

    # --- Writing -----------------------------------------------------------------------------

    def append(
        self,
        record_id: int,
        record: Mapping[str, Any],
        event: tuple[int, Mapping[str, Any]] | None,
        *,
        finished: bool,
        durable: bool,
        reserve: bool = False,
    ) -> None:
        """See `History.append`."""
        body, crc = _sealed(record_id, record)
        pages = _pages(len(body))
        before = self._unfinished.get(record_id, 0)
        after = 0 if finished else PAGES_PER_RECORD + pages
        self._make_sure_of_space(pages, before, after, reserve=reserve)
        was_finished = 0 if before else self._finished(record_id)
        order = (was_finished or self._last_finished + 1) if finished else 0
        seq = None if event is None else event[0]
        sealed = None if event is None else (seq, *_sealed(event[0], event[1]), self.told)

        def put() -> None:
            database = self._database
            database.execute(_PUT_RECORD, (record_id, order, seq, body, crc))
            if sealed is not None:
                database.execute(_INSERT_EVENT, sealed)

        self._write(put, durable=durable, pages=pages)
        self._last.note(record_id, seq or 0)
        self._last_finished = max(self._last_finished, order)
        self._count_finished += bool(order) - bool(was_finished)
        self._promise(record_id, after)

    def _make_sure_of_space(self, pages: int, before: int, after: int, *, reserve: bool) -> None:
        """See that what is set aside for others stays so.

        Args:
            before, after: the pages set aside for this record until now, and from now on.
        """
        if reserve:
            self._room.require_disk()
        elif pages <= max(before, PAGES_PER_RECORD):
            return
        kept = self._set_aside_pages - before + after + (PAGES_IN_HAND if reserve else 0)
        with _as_os_error(self._path):
            self._room.require(kept + pages, LOG_PAGES + pages)

    def _promise(self, record_id: int, pages: int) -> None:
        self._set_aside_pages += pages - self._unfinished.pop(record_id, 0)
        if pages:
            self._unfinished[record_id] = pages

    def _finished(self, record_id: int) -> int:
        if record_id > self._last.record_id:
            return 0
        rows = self._rows("SELECT finished FROM record WHERE id = ?", (record_id,))
        return int(rows[0][0]) if rows else 0

    def require_room(self) -> None:
        """See `History.require_room`."""
        with _as_os_error(self._path):
            self._room.require_disk()
            self._room.require(self._set_aside_pages + PAGES_IN_HAND)

    def _write(self, work: Callable[[], None], *, durable: bool, pages: int = 0) -> None:
        """Do some work on the database, whole or not at all; on a full disk in what we hold.

        Args:
            pages: about how many it may need, if these are many.

        Raises:
            OSError: the disk does not take it.
        """
        try:
            self._commit(work, durable=durable)
        except sqlite3.Error as error:
            if not _is_lack_of_space(error):
                raise _os_error(self._path, error) from error
            self._room.reuse_log()
            with contextlib.suppress(OSError):
                self._room.require(PAGES_IN_HAND + pages, LOG_PAGES + pages)
            with _as_os_error(self._path):
                self._room.give(PAGES_IN_HAND + pages)
                self._commit(work, durable=durable)

    def _commit(self, work: Callable[[], None], *, durable: bool) -> None:
        database = self._database
        if durable is not self._synced:
            # Takes effect at this commit; it cannot be changed inside a transaction.
            database.execute("PRAGMA synchronous=FULL" if durable else "PRAGMA synchronous=NORMAL")
            self._synced = durable
        database.execute("BEGIN IMMEDIATE")
        try:
            work()
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                if database.in_transaction:
                    database.execute("ROLLBACK")
            raise

    def trim(self) -> list[int]:
        """See `History.trim`."""
        surplus = self._count_finished - self._keep
        if surplus <= 0:
            return []
        removed = [
            row[0]
            for row in self._rows(
                "SELECT id FROM record WHERE finished ORDER BY finished LIMIT ?", (surplus,)
            )
        ]

        def remove() -> None:
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

        self._write(remove, durable=False)
        self._count_finished -= len(removed)
        return removed

    def set_note(self, key: str, value: str) -> None:
        """See `History.set_note`."""
        self._write(lambda: self._put_note(key, value), durable=False)

    def _put_note(self, key: str, value: str) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO note (key, value) VALUES (?, ?)", (key, value)
        )

    def close(self) -> None:
        """See `History.close`."""

        def put() -> None:
            self._put_note("told", str(self.told))
            self._put_note("open_since", "")

        with contextlib.suppress(OSError):
            self._write(put, durable=True)
        self._opened.close()
        # SQLite has removed the log; whoever starts next, on a full disk perhaps, needs one.
        with contextlib.suppress(OSError):
            lay_out_log(self._path)
        self._last.close()

    # --- Reading -----------------------------------------------------------------------------

    def record(self, record_id: int) -> dict[str, Any] | None:
        """See `History.record`."""
        rows = self._rows("SELECT id, body, crc FROM record WHERE id = ?", (record_id,))
        return next((json.loads(text) for text in self._whole("record", rows)), None)

    def records(self) -> Iterable[dict[str, Any]]:
        """See `History.records`."""
        rows = self._rows("SELECT id, body, crc FROM record ORDER BY id")
        return map(json.loads, self._whole("record", rows))

    def events_since(self, seq: int, limit: int | None = None) -> list[dict[str, Any]]:
        """See `History.events_since`."""
        return [json.loads(text) for text in self.event_texts_since(seq, limit)]

    def event_texts_since(self, seq: int, limit: int | None = None) -> list[str]:
        """See `History.event_texts_since`."""
        rows = self._rows(
            "SELECT seq, body, crc FROM event WHERE seq > ? ORDER BY seq LIMIT ?",
            (max(-1, min(seq, _MOST)), -1 if limit is None else limit),
        )
        return list(self._whole("event", rows))

    def _whole(self, what: str, rows: Iterable[Sequence[Any]]) -> Iterator[str]:
        """The texts in these rows; one that is not as it was written is passed over alone."""
        for number, body, crc in rows:
            if _is_whole(number, body, crc):
                yield body.decode("ascii")
            elif (what, number) not in self._damaged:
                self._damaged.add((what, number))
                _log.error("%s %d of %s is damaged: it is dropped", what, number, self._path)

    def last_seq(self) -> int:
        """See `History.last_seq`."""
        kept = self._scalar("SELECT coalesce(max(seq), 0) FROM event")
        return max(kept, self._number_note("trimmed_seq"))

    def next_id(self) -> int:
        """See `History.next_id`."""
        kept = self._scalar("SELECT coalesce(max(id), 0) FROM record")
        return max(kept, self._number_note("trimmed_id")) + 1

    def get_note(self, key: str) -> str | None:
        """See `History.get_note`."""
        rows = self._rows("SELECT value FROM note WHERE key = ?", (key,))
        value = rows[0][0] if rows else None
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else None

    def _number_note(self, key: str) -> int:
        text = self.get_note(key) or ""
        return int(text) if text.isascii() and text.isdigit() and int(text) <= _MOST else 0

    def _scalar(self, query: str) -> int:
        return int(self._rows(query)[0][0])

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        with _as_os_error(self._path):
            return self._database.execute(query, values).fetchall()


def _sealed(number: int, value: Mapping[str, Any]) -> tuple[str, int]:
    """JSON, and a checksum of it under its number."""
    body = strict_json.dumps(value)
    return body, zlib.crc32(body.encode("ascii"), number & 0xFFFFFFFF)


def _is_whole(number: int, body: object, crc: object) -> bool:
    if not isinstance(body, bytes):
        return False
    # The number was left out in the first weeks.
    return zlib.crc32(body, number & 0xFFFFFFFF) == crc or zlib.crc32(body) == crc


def _pages(length: int) -> int:
    return length // PAGE_SIZE + 1


def _look_at(path: Path) -> int:
    """How many pages the log of a database that is there has for it."""
    if path.stat().st_size == 0:
        raise sqlite3.DatabaseError("the file is empty, which ours never is")
    return sqlite_salvage.read_log(path).length


def _require_whole_log(database: sqlite3.Connection, logged: int) -> None:
    _, found, _ = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if found < logged:
        raise sqlite3.DatabaseError(f"of {logged} pages in its log, it can read {found}")


def _require_sound(database: sqlite3.Connection) -> None:
    found = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != b"ok":
        raise sqlite3.DatabaseError(" ".join(found.decode("utf-8", "replace").split()))


def _require_schema(database: sqlite3.Connection) -> None:
    """See that the tables are those that we make."""
    query = "SELECT CAST(name AS BLOB), CAST(sql AS BLOB) FROM sqlite_master ORDER BY name"
    with contextlib.closing(sqlite3.connect(":memory:")) as model:
        model.executescript(_SCHEMA)
        if database.execute(query).fetchall() != model.execute(query).fetchall():
            raise sqlite3.DatabaseError("its tables are not ours")


def _require_writable(database: sqlite3.Connection) -> None:
    """See that SQLite would write the file, as we may: its first bytes say whether it should."""
    try:
        query = "INSERT OR REPLACE INTO note (key, value) VALUES ('format', ?)"
        database.execute(query, (str(_FORMAT),))
    except sqlite3.DatabaseError as error:
        if _is_damage(error):
            raise


def _boot_id() -> str:
    """Which start of the machine this is."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "unknown"


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _refuse_newer(database: sqlite3.Connection) -> None:
    version = _version(database)
    if version > _FORMAT:
        # It says so twice, or it is damaged.
        query = "SELECT value FROM note WHERE key = 'format'"
        if (str(version).encode(),) in database.execute(query):
            raise OSError(
                f"it was written by a newer release (format {version}, ours is {_FORMAT}): "
                "use that release, or another state directory"
            )


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the fault is in the file, not with the disk or with somebody who has it open."""
    known = ("locked", "full", "I/O", "unable to open")
    return not isinstance(error, sqlite3.OperationalError) or not _says(error, *known)


def _is_lack_of_space(error: sqlite3.Error) -> bool:
    """Whether it may help to take less space; an I/O error is what some file systems call it."""
    return _says(error, "full", "I/O")


def _says(error: sqlite3.Error, *words: str) -> bool:
    return any(word in str(error) for word in words)


def _os_error(path: Path, error: sqlite3.Error) -> OSError:
    number = errno.ENOSPC if _says(error, "full") else errno.EIO
    return OSError(number, f"history {path.name} cannot be used: {error}")


@contextlib.contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """SQLite's word that the disk does not do its part, as the OSError that the port promises."""
    try:
        yield
    except sqlite3.Error as error:
        raise _os_error(path, error) from error
