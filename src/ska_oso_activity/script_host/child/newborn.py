"""What a forked process does to be as a fresh interpreter is (script's process)."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import sys
import threading
from dataclasses import dataclass
from typing import Any

from ska_oso_activity.script_host.channels import ScriptEnds
from ska_oso_activity.script_host.child.shown import WAITING, show
from ska_oso_activity.script_host.environment import MARK


@dataclass(frozen=True)
class OwnPipe:
    """A pipe that a library opened for itself when it was imported, as omniORB does.

    Forked processes would share it, and wake each other.

    Attributes:
        readers, writers: descriptors of its ends, and the flags of each.
    """

    readers: dict[int, int]
    writers: dict[int, int]

    def renew(self) -> None:
        """Put a new pipe in its place."""
        for new, places in zip(os.pipe(), (self.readers, self.writers), strict=True):
            for fd, flags in places.items():
                os.dup2(new, fd, inheritable=False)
                fcntl.fcntl(fd, fcntl.F_SETFL, flags)
            os.close(new)


def open_pipes() -> dict[int, str]:
    """What pipe is behind each descriptor of one."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):  # the descriptor that listed them
            what = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
            if what.startswith("pipe:"):
                found[int(name)] = what
    return found


def own_pipes(before: dict[int, str]) -> list[OwnPipe]:
    """The pipes that are open now and were not before."""
    found: dict[str, OwnPipe] = {}
    for fd, what in open_pipes().items():
        if before.get(fd) != what:
            pipe = found.setdefault(what, OwnPipe({}, {}))
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            reads = flags & os.O_ACCMODE == os.O_RDONLY
            (pipe.readers if reads else pipe.writers)[fd] = flags
    return list(found.values())


def begin_life(ends: ScriptEnds, pipes: list[OwnPipe]) -> None:
    """Become a process with a session, descriptors and random numbers of its own.

    Args:
        ends: our ends of the channels to the host.
        pipes: the pipes of libraries.
    """
    show(WAITING, WAITING, os.environ[MARK])
    os.setsid()
    os.dup2(ends.stdout, 1)
    os.dup2(ends.stderr, 2)
    keep = {0, 1, 2, ends.control, ends.packets}
    for pipe in pipes:
        pipe.renew()
        keep.update(pipe.readers, pipe.writers)
    _close_all_but(keep)
    _renew_secrets()
    gc.enable()


def _close_all_but(keep: set[int]) -> None:
    kept = sorted(keep)
    for one, next_one in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        if next_one > one + 1:  # to `closerange`, an empty range at 0 is everything
            os.closerange(one + 1, next_one)


def _renew_secrets() -> None:
    """What siblings must not have in common. Python sees to its own random numbers itself."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()
    threading.main_thread()._set_native_id()  # type: ignore[attr-defined] # the first one's is there
    processes: Any = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.current_process().authkey = os.urandom(32)
        processes.ORIGINAL_DIR = None
