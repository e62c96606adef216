"""Programs that end in time: what cloning and building is done with (adapters layer)."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ska_oso_activity.domain.errors import EnvironmentFailed

LAST_WORDS = 500
"""Characters of a program's output that an error repeats."""

_KEPT_OUTPUT = 64 * 1024
_POLL_S = 0.1
_WATCH_S = 0.5


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
