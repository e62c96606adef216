"""What a forked process does to be as a fresh interpreter is (script's process)."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import sys
from typing import Any

from ska_oso_activity.script_host.channels import ScriptEnds
from ska_oso_activity.script_host.child.confinement import WAITING
from ska_oso_activity.script_host.linux import await_adoption, set_name

ADOPTION_SECONDS = 5.0
"""How long the process in between may take to end, which it does at once."""


class OwnPipes:
    """Pipes that libraries opened for themselves when they were imported, as omniORB does.

    Forked processes would share them, and wake each other.
    """

    def __init__(self) -> None:
        self._known = self._open()
        self._new: dict[int, str] = {}

    def find_new(self) -> None:
        """All pipes that are open now and were not before belong to libraries."""
        now = self._open()
        self._new = {fd: pipe for fd, pipe in now.items() if self._known.get(fd) != pipe}

    def renew(self) -> set[int]:
        """Put a new pipe in the place of each; returns the descriptors."""
        ends: dict[str, dict[int, list[int]]] = {}
        for fd, pipe in self._new.items():
            mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
            ends.setdefault(pipe, {}).setdefault(mode, []).append(fd)
        for places in ends.values():
            for new, mode in zip(os.pipe(), (os.O_RDONLY, os.O_WRONLY), strict=True):
                for fd in places.get(mode, ()):
                    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
                    os.dup2(new, fd, inheritable=False)
                    fcntl.fcntl(fd, fcntl.F_SETFL, flags)
                os.close(new)
        return set(self._new)

    @staticmethod
    def _open() -> dict[int, str]:
        return {fd: what for fd, what in _descriptors().items() if what.startswith("pipe:")}


def begin_life(host: int, ends: ScriptEnds, pipes: OwnPipes) -> None:
    """Become a child of the host with a session, descriptors and random numbers of our own."""
    set_name(WAITING)
    os.setsid()
    os.dup2(ends.stdout, 1)
    os.dup2(ends.stderr, 2)
    keep = {0, 1, 2, ends.control, ends.packets, *pipes.renew()}
    for fd in _descriptors():
        if fd not in keep:
            with contextlib.suppress(OSError):  # the descriptor that listed them
                os.close(fd)
    _renew_secrets()
    gc.enable()
    await_adoption(host, ADOPTION_SECONDS)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})


def _renew_secrets() -> None:
    """What siblings must not have in common. Python sees to its own random numbers itself."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()
    processes: Any = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.current_process().authkey = os.urandom(32)
        processes.ORIGINAL_DIR = None


def _descriptors() -> dict[int, str]:
    """What is behind our open descriptors."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):  # the descriptor that listed them
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
    return found
