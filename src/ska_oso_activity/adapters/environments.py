"""Virtual environments for git scripts, built once and kept (adapters layer).

Also what building needs, and cloning with it: programs that end in time, and a shelf of things that
are made once and shared. Building runs code of the repository, which is why only allowed
repositories get here; it sees the variables of `_PASSED_ON` and no others of ours.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import selectors
import shutil
import signal
import site
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ska_oso_activity.domain.errors import EnvironmentFailed

COMPLETE = ".complete"
"""Written last: an environment without it was interrupted, and is built anew."""
IDLE_S = 3600.0
"""Seconds since its last use for which nothing is taken off a shelf."""
LAST_WORDS = 500
"""Characters of a program's output that an error repeats."""

_KEPT_OUTPUT = 64 * 1024
_POLL_S = 0.1
_WATCH_S = 0.5
_PASSED_ON = re.compile(
    r"PATH|HOME|TMPDIR|LANG|(PIP|UV|XDG|SSL_CERT)_\w+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|(https?|all|no)_proxy",
    re.IGNORECASE,
)
_DEPENDENCIES = ("pyproject.toml", "poetry.lock", "uv.lock", "setup.py", "setup.cfg")
_BUILT = re.compile(r"^\[(build-system|project)\]", re.MULTILINE)


@dataclass(frozen=True)
class Effort:
    """How long work may go on, and for whom.

    Attributes:
        deadline: of the monotonic clock, in seconds.
        report: told lines of progress.
        cancelled: true once nobody wants the result any more.
    """

    deadline: float
    report: Callable[[str], None]
    cancelled: Callable[[], bool]

    @staticmethod
    def of(
        timeout_s: float, report: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> Effort:
        """An effort of `timeout_s` seconds from now."""
        return Effort(time.monotonic() + timeout_s, report, cancelled)

    def check(self) -> None:
        """Go on.

        Raises:
            EnvironmentFailed: cancelled, or too late.
        """
        if self.cancelled():
            raise EnvironmentFailed("cancelled: nobody waits for the repository or environment")
        if time.monotonic() > self.deadline:
            raise EnvironmentFailed("the repository or environment was not ready in time")


# --- Programs --------------------------------------------------------------------------------


class ProgramFailed(EnvironmentFailed):
    """A program ended with an error; `output` is the end of what it wrote."""

    def __init__(self, what: str, output: str) -> None:
        super().__init__(f"{what} failed: {last_words(output)}")
        self.output = output


def run(
    command: Sequence[str],
    effort: Effort,
    *,
    environment: Mapping[str, str],
    directory: Path,
    watch: Callable[[], None] | None = None,
    tell: bool = False,
) -> str:
    """Run a program to its end and return the end of its output, stdout and stderr as they came.

    It gets a process group of its own, and none of the group is alive when this returns.

    Args:
        watch: called every half second; what it raises ends the program.
        tell: whether lines of output are reported as progress.

    Raises:
        ProgramFailed: it ended with an error.
        EnvironmentFailed: it could not be started, was cancelled or took too long.
    """
    name = command[2] if "-m" in command[1:2] else Path(command[0]).name
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise EnvironmentFailed(f"{name} could not be started: {error.strerror}") from error
    output = _Output(effort.report if tell else None)
    try:
        _follow(process, output, effort, watch or _nothing)
    finally:
        _end(process)
    if process.returncode != 0:
        raise ProgramFailed(name, output.text)
    return output.text


class _Output:
    """The end of a program's output, and its lines as they come."""

    def __init__(self, report: Callable[[str], None] | None) -> None:
        self._report = report
        self._kept = b""
        self._line = b""

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")

    def add(self, data: bytes) -> None:
        self._kept = (self._kept + data)[-_KEPT_OUTPUT:]
        if self._report is None:
            return
        *lines, self._line = (self._line + data).splitlines(keepends=True) or [b""]
        if self._line.endswith((b"\n", b"\r")) or len(self._line) > _KEPT_OUTPUT:
            lines, self._line = [*lines, self._line], b""
        for line in lines:
            text = printable(line.decode("utf-8", "replace"))[:LAST_WORDS]
            if text:
                self._report(text)


def _nothing() -> None:
    """Watch nothing."""


def _follow(
    process: subprocess.Popen[bytes], output: _Output, effort: Effort, watch: Callable[[], None]
) -> None:
    """Read what a program writes until it has ended."""
    if process.stdout is None:
        raise AssertionError("the program has no pipe")
    pipe = process.stdout.fileno()
    watched = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        open_ended = True
        while True:
            effort.check()
            if time.monotonic() - watched > _WATCH_S:
                watch()
                watched = time.monotonic()
            # Asked before the pipe is read, so that the last words are read too. A child of the
            # program may hold the pipe for ever: that is no reason to wait.
            ended = _has_ended(process.pid)
            if open_ended and selector.select(0 if ended else _POLL_S):
                data = os.read(pipe, 65536)
                output.add(data)
                open_ended = bool(data)
                if data:
                    continue
            if ended:
                return
            if not open_ended:
                time.sleep(0.005)


def _has_ended(pid: int) -> bool:
    """Whether a child has ended; it stays a zombie, so that its number is nobody else's yet."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a program's group, and reap the program."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)


def printable(text: str) -> str:
    """Text for an operator's screen: visible characters, single spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def last_words(output: str) -> str:
    """The end of a program's output, cut where a line begins if that can be."""
    kept: list[str] = []
    for line in reversed(output.splitlines()):
        words = printable(line)
        if not words:
            continue
        if kept and sum(map(len, kept)) + len(words) > LAST_WORDS:
            break
        kept.insert(0, words[:LAST_WORDS])
    return "; ".join(kept) or "it said nothing"


# --- The shelf -------------------------------------------------------------------------------


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
                time.sleep(_POLL_S / 2)
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


# --- Environments ----------------------------------------------------------------------------


class Environments:
    """Virtual environments, one for each commit and its dependencies."""

    def __init__(self, directory: Path, timeout_s: float, keep: int = 20) -> None:
        """Environments below `directory`.

        Args:
            timeout_s: longest time a build may take, in seconds.
            keep: how many to keep; ones used within the last hour stay whatever their number.
        """
        self._shelf = Shelf(directory.absolute(), keep, marker=COMPLETE)
        self._timeout_s = timeout_s

    def python_for(
        self,
        key: str,
        checkout: Path,
        report: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Path:
        """The interpreter of the environment of a checkout, built if it is not there yet.

        The platform's packages (tango, numpy, ours) are visible in it, behind its own.

        Args:
            key: repository and commit, as text.

        Raises:
            EnvironmentFailed: the build failed, was cancelled or took too long.
        """
        name = _name(key, checkout)
        python = self._shelf.directory / name / "bin" / "python"
        if self._shelf.ready(name):
            return python
        effort = Effort.of(self._timeout_s, report, cancelled)
        with self._shelf.hold(name, effort):
            if self._shelf.ready(name) is None:
                self._build(self._shelf.directory / name, checkout, effort)
        self._shelf.tidy()
        return python

    def _build(self, path: Path, checkout: Path, effort: Effort) -> None:
        """Build in place, because an environment cannot be moved; mark it when it is whole."""
        try:
            shutil.rmtree(path, ignore_errors=True)
            _create(path, effort)
            _install(path, checkout, effort)
            (path / COMPLETE).touch()
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)
            raise EnvironmentFailed(
                f"the environment could not be written: {error.strerror}"
            ) from error
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise


def _name(key: str, checkout: Path) -> str:
    """A name that changes with anything that the environment depends on."""
    files = [checkout / name for name in _DEPENDENCIES]
    files += sorted(checkout.glob("requirements*.txt"))
    contents = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file() and not file.is_symlink()
    }
    parts = json.dumps([key, contents, sys.version, sys.prefix, _platform_directories()])
    return hashlib.sha256(parts.encode()).hexdigest()[:40]


def _create(path: Path, effort: Effort) -> None:
    uv = shutil.which("uv")
    effort.report("creating a virtual environment")
    if uv:
        command = [uv, "venv", "--quiet", "--python", sys.executable, str(path)]
    else:
        command = [sys.executable, "-m", "venv", str(path)]
    path.parent.mkdir(parents=True, exist_ok=True)
    run(command, effort, environment=_environment(), directory=path.parent, tell=True)
    # Lines of a .pth file come behind the environment's own packages, so those win.
    (packages,) = (path / "lib").glob("python*/site-packages")
    lines = "".join(f"{directory}\n" for directory in _platform_directories())
    (packages / "ska_oso_activity_platform.pth").write_text(lines, encoding="utf-8")


def _install(path: Path, checkout: Path, effort: Effort) -> None:
    if _is_package(checkout):
        # A copy, because building leaves files behind and the checkout is shared.
        source = path / "source"
        shutil.copytree(checkout, source, symlinks=True)
        what = [str(source)]
    elif (checkout / "requirements.txt").is_file():
        source = checkout
        what = ["-r", str(checkout / "requirements.txt")]
    else:
        effort.report("the repository names nothing to install")
        return
    python = str(path / "bin" / "python")
    uv = shutil.which("uv")
    effort.report("installing what the repository needs")
    if uv:
        command = [uv, "pip", "install", "--python", python, *what]
    else:
        command = [python, "-m", "pip", "install", "--no-input", "--progress-bar", "off", *what]
    run(command, effort, environment=_environment(), directory=source, tell=True)
    if source != checkout:
        shutil.rmtree(source)


def _is_package(checkout: Path) -> bool:
    """Whether the repository itself can be installed; many a pyproject.toml only sets up tools."""
    if (checkout / "setup.py").is_file() or (checkout / "setup.cfg").is_file():
        return True
    project = checkout / "pyproject.toml"
    return project.is_file() and bool(_BUILT.search(project.read_text("utf-8", "replace")))


def _platform_directories() -> list[str]:
    """Where the running interpreter finds packages, ours included when it is installed editable."""
    found = [*site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        found.append(site.getusersitepackages())
    found.append(str(Path(__file__).parents[2]))
    return [directory for directory in dict.fromkeys(found) if Path(directory).is_dir()]


def _environment() -> dict[str, str]:
    """The variables that an installer needs; secrets that we were started with are not for it."""
    passed_on = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    return {
        **passed_on,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "UV_NO_PROGRESS": "1",
    }
