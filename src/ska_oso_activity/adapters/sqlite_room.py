"""Disk space that a SQLite database holds in advance (adapters layer).

What was accepted must be recorded to its end although the disk is full by then. So space is taken
while there is some, inside the two files that are written: pages of the database that hold nothing
of worth, and a write-ahead log (WAL) that is longer than what it holds. SQLite may not lengthen the
database by itself. Nobody else can take that space, as they could what a file of its own gave up.

File systems that write every change to a new place (btrfs, ZFS) need space for that all the same.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ska_oso_activity.adapters.sqlite_salvage import PAGE_SIZE

DISK_FLOOR = 1024 * 1024
"""With less than so many bytes left, a disk is full."""

LOG_PAGES = 250
"""How many pages the log can take at the least, whatever the disk says."""

STEP = 128
"""Pages that are held beyond what is asked for, once there are too few."""

SHARE_OF_DISK = 64
"""The log is brought into the database before it is longer than the disk by so much."""

_LOG_HEADER, _FRAME_HEADER = 32, 24
_IN_A_PAGE = PAGE_SIZE - 4
"""What a page takes of a long value."""

PIECE = 64
"""Pages that are held, and let go of, together."""

_OF_A_PIECE = 2
"""Pages of those that SQLite may need for itself."""

_HELD = "held"
"""Notes of this name and a number are worth nothing but their length."""


class Room:
    """The space of one database, which only its owner's connection uses.

    Args:
        file: a descriptor of the database file. To close it drops SQLite's locks on the file, so it
            stays open for as long as the connection.
    """

    def __init__(self, database: sqlite3.Connection, path: Path, file: int) -> None:
        self._database = database
        self._path = path
        self._file = file
        self._log_pages = 0
        self._is_allocated = False
        self._held: list[int] = []

    def take_up(self, longest_log: int) -> None:
        """Hold what the files have grown to, and a log of the usual length, if the disk lets us.

        Args:
            longest_log: pages after which the log is brought into the database; on a small disk
                earlier.
        """
        disk = os.fstatvfs(self._file)
        share = disk.f_blocks * disk.f_frsize // SHARE_OF_DISK // PAGE_SIZE or longest_log
        length = min(max(LOG_PAGES, share), longest_log)
        self._do(f"PRAGMA wal_autocheckpoint={length}")
        lengths = self._database.execute(
            "SELECT length(value) FROM note WHERE key BETWEEN ? AND ? ORDER BY key",
            (_name(0), _name(10**8 - 1)),
        )
        self._held = [length // _IN_A_PAGE for (length,) in lengths]
        self._close_to_growth()
        with contextlib.suppress(OSError):
            self._allocate(LOG_PAGES)

    def require(self, pages: int, log_pages: int = LOG_PAGES) -> None:
        """Have so many pages in the database that are free or held, and so long a log.

        Raises:
            OSError: the disk has no space for them.
        """
        if not self._is_allocated or log_pages > self._log_pages:
            self._allocate(max(log_pages, LOG_PAGES))
        if self._room() < pages:
            while self._room() < pages + STEP:
                self._grow()

    def give(self, pages: int) -> None:
        """Let go of what is held until so many pages are free, as far as it goes."""
        while self._held and self._number("freelist_count") < pages:
            self._do("DELETE FROM note WHERE key = ?", _name(len(self._held)))
            self._held.pop()

    def require_disk(self) -> None:
        """See that the disk is not full, and the file still the one that others would find.

        Raises:
            OSError: it is not so.
        """
        disk = os.fstatvfs(self._file)
        if disk.f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, f"the disk of {self._path} can only be read")
        left = (disk.f_bavail if os.geteuid() else disk.f_bfree) * disk.f_frsize
        if disk.f_blocks and left < DISK_FLOOR:
            raise OSError(
                errno.ENOSPC,
                f"the disk of {self._path} is full: {left // 1024} KiB are left, and "
                f"{DISK_FLOOR // 1024} KiB are asked for",
            )
        ours = os.fstat(self._file)
        if ours.st_nlink == 0 or not os.path.samestat(ours, self._found()):
            raise OSError(errno.ESTALE, f"{self._path} was taken away or exchanged while in use")

    def reuse_log(self) -> None:
        """Bring the log into the database, so that it begins anew."""
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def _found(self) -> os.stat_result:
        try:
            return self._path.stat()
        except FileNotFoundError:
            raise OSError(errno.ESTALE, f"{self._path} was taken away while in use") from None

    def _allocate(self, log_pages: int) -> None:
        with _as_full(self._path):
            os.posix_fallocate(self._file, 0, self._number("page_count") * PAGE_SIZE)
            lay_out_log(self._path, log_pages)
        self._log_pages = max(log_pages, self._log_pages)
        self._is_allocated = True

    def _room(self) -> int:
        return self._number("freelist_count") + sum(self._held)

    def _grow(self) -> None:
        """Hold a piece more: of free pages, or of new ones, which are had on disk first."""
        there = self._number("page_count")
        with _as_full(self._path):
            os.posix_fallocate(self._file, 0, (there + PIECE) * PAGE_SIZE)
        self._do(f"PRAGMA max_page_count={there + PIECE}")
        try:
            try:
                self._hold_piece()
            except sqlite3.OperationalError:
                self.reuse_log()
                self._hold_piece()
        except sqlite3.OperationalError as error:
            raise OSError(errno.ENOSPC, f"{self._path} cannot grow: {error}") from error
        finally:
            self._close_to_growth()

    def _hold_piece(self) -> None:
        self._do(
            "INSERT INTO note (key, value) VALUES (?, zeroblob(?))",
            _name(len(self._held) + 1),
            (PIECE - _OF_A_PIECE) * _IN_A_PAGE,
        )
        self._held.append(PIECE - _OF_A_PIECE)

    def _do(self, statement: str, *values: object) -> None:
        """One statement, which is a transaction of its own."""
        self._database.execute(statement, values).fetchall()

    def _close_to_growth(self) -> None:
        self._do(f"PRAGMA max_page_count={self._number('page_count')}")

    def _number(self, pragma: str) -> int:
        return int(self._database.execute(f"PRAGMA {pragma}").fetchone()[0])


def _name(number: int) -> str:
    """Notes are in the order of their names."""
    return f"{_HELD} {number:08}"


def lay_out_log(database: Path, pages: int = LOG_PAGES) -> None:
    """Have the log of a database take its space on disk; SQLite sees by checksums where it ends.

    Raises:
        OSError: the disk has none.
    """
    log = os.open(f"{database}-wal", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(log, 0, _LOG_HEADER + pages * (_FRAME_HEADER + PAGE_SIZE))
    finally:
        os.close(log)


@contextlib.contextmanager
def _as_full(path: Path) -> Iterator[None]:
    """What fallocate says, with the file's name."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno, f"no space can be set aside for {path}: {error.strerror}"
        ) from error
