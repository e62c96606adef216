"""Scheduling Blocks as files for scripts (adapters layer; port `BlockFiles`)."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from pathlib import Path

from ska_oso_activity.domain.errors import EnvironmentFailed
from ska_oso_activity.domain.procedure import BlockContent
from ska_oso_activity.domain.times import file_stamp, utc_now


class PrivateBlockFiles:
    """Writes `<directory>/<sbd_id>-<version>-<timestamp>.json` for the script's user alone.

    The directory must be ours: a real directory, owned by us, writable by nobody else. Anybody
    could have made it first in a place like /tmp, to read or exchange what scripts are given.

    Args:
        directory: made if it is not there.
        user: who scripts run as, if not as we do: files are given to that user, who may pass
            through the directory and not list it. Directories above must let that user through.
    """

    def __init__(self, directory: Path, user: str = "") -> None:
        self._directory = directory
        self._user = user
        self._mode = 0o711 if user else 0o700

    def check(self) -> None:
        """Make the directory, and make sure that it is ours.

        Raises:
            EnvironmentFailed: it is not, or it cannot be made.
        """
        os.close(self._open_directory())

    def write(self, block: BlockContent) -> Path:
        """See `BlockFiles.write`."""
        directory = self._open_directory()
        try:
            for _ in range(100):
                name = self._name(block)
                with contextlib.suppress(FileExistsError):
                    self._write(directory, name, block.content.encode("utf-8"))
                    return self._directory / name
        except (OSError, UnicodeError, KeyError) as error:
            raise EnvironmentFailed(
                f"the Scheduling Block could not be written for the script: {error}"
            ) from error
        finally:
            os.close(directory)
        raise EnvironmentFailed("no free name was found for the Scheduling Block's file")

    def remove(self, path: str) -> None:
        """See `BlockFiles.remove`."""
        with contextlib.suppress(OSError):
            Path(path).unlink()

    @staticmethod
    def _name(block: BlockContent) -> str:
        version = 1 if block.version is None else block.version
        return f"{block.sbd_id or 'draft'}-{version}-{file_stamp(utc_now())}.json"

    def _write(self, directory: int, name: str, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                if self._user:
                    os.fchown(descriptor, pwd.getpwnam(self._user).pw_uid, -1)
        except (OSError, KeyError):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)
            raise

    def _open_directory(self) -> int:
        try:
            self._directory.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self._directory.mkdir(mode=0o700)
            descriptor = os.open(
                self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            )
        except OSError as error:
            raise EnvironmentFailed(
                f"the directory for Scheduling Blocks cannot be used ({error}): "
                "see the property SchedulingBlockDirectory"
            ) from error
        status = os.fstat(descriptor)
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid != os.geteuid() or mode & 0o066:
            os.close(descriptor)
            raise EnvironmentFailed(
                f"the directory for Scheduling Blocks {self._directory} is not private to this "
                f"user (owner and mode {self._mode:04o} are asked for): remove it, or set the "
                "property SchedulingBlockDirectory to another"
            )
        if mode != self._mode:
            os.fchmod(descriptor, self._mode)
        return descriptor
