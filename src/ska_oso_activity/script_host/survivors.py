"""Ends what a host that was killed left behind; used by its server and by the next host."""

from __future__ import annotations

import logging
import os

from ska_oso_activity.script_host.directory import HostDirectory, HostIdentity
from ska_oso_activity.script_host.environment import MARK
from ska_oso_activity.script_host.procfs import (
    Snapshot,
    environment_value,
    machine_identity,
    process,
)
from ska_oso_activity.script_host.sweep import kill_until_gone

LOG = logging.getLogger(__name__)

SECONDS = 1.5
"""Nothing is alive 2 s after a host was killed; the rest is for noticing it."""


class LeaderNote:
    """A leader, remembered on disk for as long as it runs: its session is found by its number.

    Where the disk takes no note, its processes can still be found by their mark.
    """

    def __init__(self, directory: HostDirectory, pid: int) -> None:
        """Make the note."""
        self._path = f"{directory.leaders}/{pid}.0"
        try:
            found = process(pid)
            self._path = f"{directory.leaders}/{pid}.{found.started if found else 0}"
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            LOG.warning("process %d is not noted as running: %s", pid, error)

    def remove(self) -> None:
        """The leader is gone."""
        try:
            os.unlink(self._path)  # noqa: PTH108 - said faster than with a path
        except FileNotFoundError:
            pass
        except OSError as error:
            LOG.warning("%s stays noted as running: %s", self._path, error)


def end_survivors(directory: HostDirectory) -> list[int]:
    """Kill every process of the scripts of the host that last owned the directory.

    They are known by the mark in their environment, and by the session, process group or ancestor
    that they share with a marked process or with a leader that the host noted. The caller holds
    the directory's lock: there is no living host.

    Returns:
        Pids that could not be killed.

    Raises:
        OSError: it cannot be seen what is left; to be tried again.
    """
    identity = directory.read_identity()
    if identity is None or identity.machine != machine_identity():
        return []
    leaders = _noted_leaders(directory)
    left = kill_until_gone(lambda processes: _survivors(identity, leaders, processes), SECONDS)
    for path in directory.leaders.iterdir():
        path.unlink(missing_ok=True)
    return left


def _noted_leaders(directory: HostDirectory) -> dict[int, int]:
    noted = (path.name.partition(".") for path in directory.leaders.iterdir())
    return {
        int(pid): int(start) for pid, _, start in noted if pid.isdecimal() and start.isdecimal()
    }


def _survivors(identity: HostIdentity, leaders: dict[int, int], processes: Snapshot) -> set[int]:
    prefix = f"{identity.host}:"
    # While members of a session live, its number is not given to a new process. So if a leader's
    # pid belongs to somebody else now, its session is gone, and the number means nothing.
    sessions = {
        pid
        for pid, started in leaders.items()
        if pid not in processes or processes[pid].started == started
    }
    found = {
        pid
        for pid, each in processes.items()
        if each.session in sessions
        or each.group in sessions
        or (environment_value(pid, MARK) or "").startswith(prefix)
    }
    mates = {processes[pid].session for pid in found} - {os.getsid(0), 0}
    found |= {pid for pid, each in processes.items() if each.session in mates}
    return found - {os.getpid()}
