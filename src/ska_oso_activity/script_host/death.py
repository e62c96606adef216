"""Tells when a process has ended (script host)."""

from __future__ import annotations

import os
from collections.abc import Callable

from ska_oso_activity.script_host.loop import Loop, Timer

POLL_SECONDS = 0.01
"""How soon a death is seen where the kernel has no pidfd."""


class DeathWatch:
    """Calls back once, when a child of ours and all its threads have ended."""

    def __init__(self, loop: Loop, pid: int, on_death: Callable[[], None]) -> None:
        self._loop = loop
        self._pid = pid
        self._on_death = on_death
        self._pidfd = -1
        self._poll: Timer | None = None
        try:
            self._pidfd = os.pidfd_open(pid)
        except (OSError, AttributeError):  # before Linux 5.3, or there is no such process any more
            self._poll = loop.call_later(0, self._check_by_and_by)
            return
        loop.watch(self._pidfd, self._ended)

    def cancel(self) -> None:
        """No call any more, and the descriptor is given back; also after the call."""
        if self._poll:
            self._poll.cancel()
        if self._pidfd >= 0:
            self._loop.unwatch(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _ended(self) -> None:
        self.cancel()
        self._on_death()

    def _check_by_and_by(self) -> None:
        if has_ended(self._pid):
            self._on_death()
        else:
            self._poll = self._loop.call_later(POLL_SECONDS, self._check_by_and_by)


def has_ended(pid: int) -> bool:
    """Whether a child of ours has ended."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # it is not our child any more
        return True
