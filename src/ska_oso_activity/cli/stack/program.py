"""Programs that the launcher keeps running, each with its process of the moment (cli)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ska_oso_activity.cli.stack.backoff import Backoff

SHIM = Path(__file__).with_name("exec_with_parent.py")


@dataclass(frozen=True)
class Program:
    """What to run.

    Attributes:
        name: as operators know it, such as `ActivityDevice/01`.
        log: file that its output is appended to.
        directory: its working directory.
        environment: laid over our own.
        pass_fds: descriptors that it inherits, under the same numbers.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()

    def last_words(self) -> str:
        """The last line of its log that says anything."""
        with suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""


class Service:
    """A program that is to be running, and the process that does so now."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
        self.restart_at: float | None = None
        """Monotonic time of the next start; None while it runs or is not to run."""
        self._backoff = Backoff()
        self._started_at = 0.0

    @property
    def pid(self) -> int | None:
        """The process that runs; None if none does."""
        if self.process is None or self.process.returncode is not None:
            return None
        return self.process.pid

    def start(self) -> None:
        """Start a process; it dies with us, whatever happens. Main thread only.

        Raises:
            OSError: no process could be made.
        """
        program = self.program
        self.restart_at = None
        self._started_at = time.monotonic()
        with program.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SHIM), str(os.getpid()), *program.command],
                cwd=program.directory,
                env={**os.environ, **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=program.pass_fds,
                # Ctrl-C in the terminal is for the launcher alone, which stops all in order.
                start_new_session=True,
            )

    def schedule_restart(self) -> float:
        """Plan the next start after an end; returns the seconds until then."""
        now = time.monotonic()
        delay = self._backoff.after(now - self._started_at)
        self.restart_at = now + delay
        return delay
