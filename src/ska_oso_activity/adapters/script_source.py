"""The door that scripts come through: files, decided by their real paths (adapters layer).

Nothing is allowed that no property lists (promise P10). Whoever can write below an allowed root can
have code run; what the door keeps out is everything else that a block's text could name.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ska_oso_activity.application.ports import GitRepositories, LocatedScript
from ska_oso_activity.domain.errors import EnvironmentFailed, ScriptNotAllowed, ScriptNotFound
from ska_oso_activity.domain.scheduling_block import path_of_file_uri
from ska_oso_activity.domain.script import FileSystemScript, GitScript, InlineScript, Script

SCRIPT_LIMIT = 1024 * 1024
"""Largest script, in bytes."""
INLINE_KEPT = 200
"""How many inline scripts stay on disk; the oldest go first."""


class OutsideRoots(Exception):
    """The real path is not beneath any of the directories."""


class NotARegularFile(OSError):
    """It is a directory, a device, a FIFO or a socket."""


class FileTooLarge(OSError):
    """It is larger than the limit."""


class Roots:
    """Directories that files may come from.

    Both sides are compared by real path, so neither `..` nor a symbolic link leads out, and a root
    may itself be a link. No directories means that nothing is allowed.
    """

    def __init__(self, directories: Iterable[Path]) -> None:
        """Keep the directories, which need not exist yet.

        Raises:
            ValueError: one is not absolute (an empty property would allow wherever we were
                started).
        """
        self._directories = tuple(directories)
        for directory in self._directories:
            if not directory.is_absolute():
                raise ValueError(
                    f"an allowed root must be an absolute path, not {str(directory)!r}"
                )

    def covers(self, path: str | Path) -> bool:
        """Whether the real path of `path` is beneath a root; it need not exist."""
        return self._inside(os.path.realpath(path))

    def open(self, path: str | Path, limit: int) -> tuple[BinaryIO, Path]:
        """Open a regular file of at most `limit` bytes; returns it and its real path.

        Raises:
            OutsideRoots: it is not beneath a root; said before anything tells whether it exists.
            NotARegularFile, FileTooLarge: as they say.
            OSError: it is missing, or may not be read.
        """
        real = os.path.realpath(path)
        if not self._inside(real):
            raise OutsideRoots
        # Looked at before it is opened: opening a FIFO or a device is felt at its other end.
        if not stat.S_ISREG(os.lstat(real).st_mode):
            raise NotARegularFile
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        file = os.fdopen(descriptor, "rb")
        try:
            self._check_opened(file, limit)
        except BaseException:
            file.close()
            raise
        return file, Path(real)

    def read(self, path: str | Path, limit: int) -> bytes:
        """The content of a regular file of at most `limit` bytes; raises what `open` raises."""
        file, _ = self.open(path, limit)
        with file:
            content = file.read(limit + 1)
        # It may have grown since, or have no size to speak of, as files of /proc.
        if len(content) > limit:
            raise FileTooLarge
        return content

    def _check_opened(self, file: BinaryIO, limit: int) -> None:
        """Judge what was opened, whatever somebody put in its place meanwhile."""
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise NotARegularFile
        if not self._inside(str(Path(f"/proc/self/fd/{file.fileno()}").readlink())):
            raise OutsideRoots
        if found.st_size > limit:
            raise FileTooLarge

    def _inside(self, real: str) -> bool:
        return any(
            Path(real).is_relative_to(os.path.realpath(directory))
            for directory in self._directories
        )


class ScriptDoor:
    """Implements `ports.ScriptSource` for files, git repositories and inline scripts."""

    def __init__(
        self,
        roots: Sequence[Path],
        allow_inline: bool,
        git: GitRepositories,
        inline_directory: Path,
    ) -> None:
        """A door that allows scripts beneath `roots`; git scripts are `git`'s to judge.

        Args:
            inline_directory: where inline scripts are written; made when first needed.

        Raises:
            ValueError: a root is not an absolute path.
        """
        self._roots = Roots(roots)
        self._allow_inline = allow_inline
        self._git = git
        self._inline_directory = inline_directory

    def admit(self, script: Script) -> LocatedScript | None:
        """Check a script against the policy; see `ports.ScriptSource`."""
        if isinstance(script, GitScript):
            self._git.admit(script)
        elif isinstance(script, InlineScript):
            self._admit_inline(script)
        else:
            return LocatedScript(self._find(script), script.to_json())
        return None

    def locate(
        self, script: Script, *, report: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> LocatedScript:
        """Check again, and say where the script lies; see `ports.ScriptSource`."""
        if isinstance(script, GitScript):
            return self._git.locate(script, report=report, cancelled=cancelled)
        if isinstance(script, InlineScript):
            path = self._write_inline(self._admit_inline(script))
        else:
            path = self._find(script)
        return LocatedScript(path, script.to_json())

    def needs_environment(self, script: Script) -> bool:
        """Whether the script comes from a repository."""
        return isinstance(script, GitScript)

    def _find(self, script: FileSystemScript) -> Path:
        path = path_of_file_uri(script.uri)
        if path is None:
            raise ScriptNotAllowed(
                f"script {script.uri!r:.200} is not of the form file:///absolute/path.py"
            )
        return open_script(self._roots, path, script.uri, "an allowed root (property ScriptRoots)")

    def _admit_inline(self, script: InlineScript) -> bytes:
        if not self._allow_inline:
            raise ScriptNotAllowed(
                "inline scripts are not allowed here (property AllowInlineScripts): "
                "name a script in a file or a repository"
            )
        try:
            content = script.content.encode("utf-8")
        except UnicodeError as error:
            raise ScriptNotAllowed("the inline script is not text: it holds surrogates") from error
        if len(content) > SCRIPT_LIMIT:
            raise ScriptNotAllowed(f"the inline script is larger than {SCRIPT_LIMIT} bytes")
        return content

    def _write_inline(self, content: bytes) -> Path:
        directory = self._inline_directory
        path = directory / f"{hashlib.sha256(content).hexdigest()}.py"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_foreign(directory)
            descriptor, temporary = tempfile.mkstemp(prefix=".", dir=directory)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(temporary).replace(path)
            _drop_oldest(directory, INLINE_KEPT)
        except OSError as error:
            raise EnvironmentFailed(
                f"the inline script could not be written: {error.strerror}"
            ) from error
        return path


def open_script(roots: Roots, path: str | Path, shown: str, place: str) -> Path:
    """Check a script's file and return its real path.

    Args:
        shown: the script as its user named it; messages hold no other path.
        place: what `roots` are, for the message.

    Raises:
        ScriptNotAllowed: not beneath the roots, not a regular file, unreadable or too large.
        ScriptNotFound: it should be beneath the roots, and is not there.
    """
    try:
        file, real = roots.open(path, SCRIPT_LIMIT)
    except OutsideRoots:
        raise ScriptNotAllowed(f"script {shown!r:.200} is not beneath {place}") from None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ScriptNotFound(f"there is no script {shown!r:.200}") from error
    except NotARegularFile as error:
        raise ScriptNotAllowed(f"script {shown!r:.200} is not a regular file") from error
    except FileTooLarge as error:
        raise ScriptNotAllowed(
            f"script {shown!r:.200} is larger than {SCRIPT_LIMIT} bytes"
        ) from error
    except OSError as error:
        raise ScriptNotAllowed(f"script {shown!r:.200} cannot be read: {error.strerror}") from error
    file.close()
    return real


def _refuse_foreign(directory: Path) -> None:
    """Refuse a directory in which another user could swap a script under our hands."""
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(0, "its directory is not ours alone")


def _drop_oldest(directory: Path, kept: int) -> None:
    scripts = sorted(directory.glob("*.py"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in scripts[kept:]:
        with suppress(OSError):
            path.unlink()
