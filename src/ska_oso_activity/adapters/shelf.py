"""A shelf of directories that are made once and shared: clones, environments (adapters layer)."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ska_oso_activity.adapters.programs import Effort
from ska_oso_activity.domain.errors import EnvironmentFailed

IDLE_S = 3600.0
"""Seconds since its last use for which nothing is taken off a shelf."""

_POLL_S = 0.05


class Shelf:
    """Directories that are made once, shared, and kept while there is room.

    Safe between threads, processes and crashes: whoever makes one holds a file lock of its name,
    which the kernel lets go with its process, so an unfinished one without a lock is rubbish.
    """

    def __init__(self, directory: Path, keep: int, *, marker: str | None = None) -> None:
        """A shelf of `keep` finished directories, more only while they are in use.

        Args:
            marker: the file that makes one finished; None: its name does, once it is renamed from
                `partial`.
        """
        self.directory = directory
        self._locks = directory / ".locks"  # hidden, so that nobody takes it for one of ours
        self._keep = keep
        self._marker = marker

    def make(self) -> Path:
        """The directory itself, made if it is missing.

        Raises:
            EnvironmentFailed: it cannot be made.
        """
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentFailed(f"the cache cannot be made: {error.strerror}") from error
        return self.directory

    def ready(self, name: str) -> Path | None:
        """The finished directory of that name, noted as used now, or None."""
        path = self.directory / name
        if not self._finished(path):
            return None
        with suppress(OSError):
            os.utime(path)
        # Looked at again: it may just have been taken off the shelf.
        return path if self._finished(path) else None

    def partial(self, name: str) -> Path:
        """Where to make a directory that is renamed when finished."""
        return self.directory / f"{name}.partial"

    @contextmanager
    def hold(self, name: str, effort: Effort) -> Iterator[None]:
        """Be the only one who makes the directory of that name.

        Raises:
            EnvironmentFailed: cancelled or too late while another one makes it.
        """
        self.make()
        try:
            while (lock := self._try_lock(name)) is None:
                effort.check()
                time.sleep(_POLL_S)
        except OSError as error:
            raise EnvironmentFailed(f"the cache cannot be used: {error.strerror}") from error
        try:
            yield
        finally:
            self._unlock(name, lock)

    def tidy(self) -> None:
        """Remove rubbish, and what was not used for longest beyond the number to keep."""
        finished: list[tuple[float, Path]] = []
        for path in self._shelved():
            with suppress(OSError):
                if self._finished(path):
                    finished.append((path.stat().st_mtime, path))
                else:
                    self._remove(path, path.name.removesuffix(".partial"))
        for _, path in sorted(finished, reverse=True)[self._keep :]:
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > IDLE_S:
                    self._remove(path, path.name)

    def _shelved(self) -> list[Path]:
        with suppress(OSError):
            return [path for path in self.directory.iterdir() if not path.name.startswith(".")]
        return []

    def _finished(self, path: Path) -> bool:
        if self._marker is not None:
            return (path / self._marker).is_file()
        return path.is_dir() and not path.name.endswith(".partial")

    def _remove(self, path: Path, name: str) -> None:
        """Remove a directory that nobody is making."""
        lock = self._try_lock(name)
        if lock is None:
            return
        try:
            # First unfinished, then gone: half a directory is never taken for a whole one.
            if self._marker is not None:
                (path / self._marker).unlink(missing_ok=True)
            elif not path.name.endswith(".partial"):
                path = path.rename(self.partial(name))
            shutil.rmtree(path, ignore_errors=True)
        finally:
            self._unlock(name, lock)

    def _try_lock(self, name: str) -> int | None:
        path = self._locks / name
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last holder may have removed the file between our opening and locking it.
            if os.fstat(lock).st_ino == path.stat().st_ino:
                return lock
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(lock)
        return None

    def _unlock(self, name: str, lock: int) -> None:
        (self._locks / name).unlink(missing_ok=True)
        os.close(lock)
