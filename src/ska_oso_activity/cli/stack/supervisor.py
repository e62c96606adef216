"""Keeps programs running until it is told to stop, and leaves no process behind (cli)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from ska_oso_activity.cli.errors import LaunchError
from ska_oso_activity.cli.stack.processes import (
    adopt_orphans,
    descendants,
    describe_end,
    kill_all,
)
from ska_oso_activity.cli.stack.program import Program, Service
from ska_oso_activity.cli.stack.signals import STOP_SIGNALS, Signals

T = TypeVar("T")

CHECK_INTERVAL = 0.05
STOP_LIMIT = 5.0
ORPHAN_LIMIT = 6.0
"""Seconds for the script host to stop its scripts politely: their grace (3 s), 2, a reserve."""


class StopRequested(Exception):
    """SIGINT, SIGTERM or SIGHUP came before the stack was up."""


class Supervisor:
    """Starts programs, starts them again when they die, stops them. Main thread, once per process.

    While entered this process takes signals through a pipe and adopts orphans of its descendants.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._signals = Signals()
        self._services: list[Service] = []
        self._stop_signals = 0

    def __enter__(self) -> Supervisor:
        self._signals.__enter__()
        adopt_orphans()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._signals.__exit__(kind, error, traceback)

    def start(self, program: Program) -> Service:
        """Start a program and look after it."""
        service = Service(program)
        try:
            service.start()
        except OSError as error:
            raise LaunchError(f"{program.name} cannot be started: {error}") from error
        self._services.append(service)
        return service

    def wait_for(self, check: Callable[[], T | None], *, otherwise: str, seconds: float) -> T:
        """Wait while the programs start, until `check` returns something true; returns that.

        Raises:
            StopRequested: a signal came first.
            LaunchError: a program ended, or `seconds` have passed; the text says which.
        """
        deadline = time.monotonic() + seconds
        while not (found := check()):
            self._wait(CHECK_INTERVAL)
            if self._stop_signals:
                raise StopRequested
            for service, end in self._reap():
                program = service.program
                raise LaunchError(
                    f"{program.name} ended while starting ({end}); its log, {program.log}, ends: "
                    f"{program.last_words()}"
                )
            if time.monotonic() > deadline:
                logs = ", ".join(str(service.program.log) for service in self._services)
                raise LaunchError(f"{otherwise} after {seconds:.0f} s; the logs: {logs}")
        return found

    def supervise(self) -> None:
        """Keep all programs running until a signal asks to stop."""
        while not self._stop_signals:
            self._wait(self._seconds_to_next_start())
            for service, end in self._reap():
                self._plan_restart(service, f"ended ({end})")
            for service in self._services:
                if service.restart_at is not None and service.restart_at <= time.monotonic():
                    self._restart(service)

    def wait_until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait while programs end; false after `seconds`, or at a second signal."""
        return self._gone_within(seconds, done)

    def stop(self, service: Service) -> None:
        """End a program: ask, then kill. A second signal to the launcher leaves out the asking."""
        service.restart_at = None
        if service.pid is not None:
            os.kill(service.pid, signal.SIGTERM)
            if not self._gone_within(STOP_LIMIT, lambda: service.pid is None):
                self._say(f"{service.program.name} does not end on SIGTERM; it is killed")
                os.kill(service.pid, signal.SIGKILL)
                self._gone_within(STOP_LIMIT, lambda: service.pid is None, patient=True)

    def end_orphans(self) -> None:
        """Wait for processes that outlived the programs that started them, then kill them."""
        if self._gone_within(ORPHAN_LIMIT, lambda: not self._orphans()):
            return
        self._say(f"{len(self._orphans())} processes outlived their server; they are killed")
        deadline = time.monotonic() + STOP_LIMIT
        # Killing a parent makes its children ours: again until there are none.
        while (left := self._orphans()) and time.monotonic() < deadline:
            kill_all(left)
            self._wait(CHECK_INTERVAL)
            self._reap()

    def _orphans(self) -> set[int]:
        own = {service.pid for service in self._services if service.pid is not None}
        below = set[int]().union(*(descendants(pid) for pid in own))
        return descendants(os.getpid()) - own - below

    def _gone_within(
        self, seconds: float, gone: Callable[[], bool], *, patient: bool = False
    ) -> bool:
        """Whether `gone` became true in time; a second stop signal ends the patience."""
        deadline = time.monotonic() + seconds
        while True:
            self._reap()
            if gone():
                return True
            if time.monotonic() > deadline or (self._stop_signals > 1 and not patient):
                return False
            self._wait(min(deadline - time.monotonic(), CHECK_INTERVAL))

    def _wait(self, seconds: float | None) -> None:
        if self._signals.wait(seconds) & STOP_SIGNALS:
            self._stop_signals += 1

    def _seconds_to_next_start(self) -> float | None:
        starts = [s.restart_at for s in self._services if s.restart_at is not None]
        return min(starts) - time.monotonic() if starts else None

    def _plan_restart(self, service: Service, why: str) -> None:
        delay = service.schedule_restart()
        program = service.program
        self._say(f"{program.name} {why}; started again in {delay:.1f} s; its log: {program.log}")

    def _restart(self, service: Service) -> None:
        try:
            service.start()
        except OSError as error:
            self._plan_restart(service, f"cannot be started ({error})")

    def _reap(self) -> list[tuple[Service, str]]:
        """Take note of all children that ended: the services among them, with how they did."""
        ended: list[tuple[Service, str]] = []
        while True:
            try:
                # Look without taking: a service's end belongs to its Popen object.
                seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return ended
            if seen is None:
                return ended
            service = next((s for s in self._services if s.pid == seen.si_pid), None)
            if service is None or service.process is None:
                os.waitpid(seen.si_pid, 0)
            else:
                ended.append((service, describe_end(service.process.wait())))
