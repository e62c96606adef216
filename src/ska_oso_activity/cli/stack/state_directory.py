"""The directory that holds all durable files of a stack, used by one launcher at a time (cli)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ska_oso_activity.cli.errors import LaunchError

LONGEST_PATH = 400
"""Bytes; SQLite opens no file whose path has more than 512."""
LOG_LIMIT = 10 * 1024 * 1024
"""Bytes; a log that is larger at the start of the stack is put aside as `.1`."""


@dataclass(frozen=True)
class StateDirectory:
    """Where the parts of a stack keep their files; `path` is absolute."""

    path: Path

    @property
    def database(self) -> Path:
        """The Tango database's SQLite file."""
        return self.path / "tango.db"

    @property
    def default_oda(self) -> Path:
        """The filesystem ODA, unless another is named."""
        return self.path / "oda"

    def log(self, program: str) -> Path:
        """The log of a program, such as `ActivityDevice`."""
        return self.path / "logs" / f"{program}.log"

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Make the directory and hold it against other launchers.

        Raises:
            LaunchError: another launcher has it, or it cannot be made or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.path / "logs").mkdir(exist_ok=True)
            # Opened by Python, so not inherited: no child can hold the lock when we are gone.
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LaunchError(f"the state directory cannot be used: {error}") from error
        try:
            self._lock(lock)
            for log in (self.path / "logs").glob("*.log"):
                if log.stat().st_size > LOG_LIMIT:
                    log.replace(log.with_suffix(".log.1"))
            yield
        finally:
            os.close(lock)

    def _lock(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            raise LaunchError(
                f"the state directory {self.path} is in use by another `ska-oso-activity up` "
                f"(process {holder}): stop that one, or choose another with --state-dir"
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())


def state_directory(path: Path) -> StateDirectory:
    """The state directory at `path`, which may be relative and need not exist.

    Raises:
        LaunchError: the path is longer than what the parts of a stack can work with.
    """
    path = path.resolve()
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise LaunchError(
            f"the path of the state directory has {len(os.fsencode(path))} bytes; "
            f"{LONGEST_PATH} are possible: {path}"
        )
    return StateDirectory(path)
