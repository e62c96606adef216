"""What /proc tells about processes (script host)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
"""These tell of us, not of the process that we look at: it may be there all the same."""


@dataclass(frozen=True)
class Process:
    """One process as /proc showed it.

    Attributes:
        state: one letter; Z is a zombie, ended and not yet waited for.
        started: when it started, in clock ticks since boot. Pid and start name a process for good.
    """

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.state not in "ZX"


Snapshot = Mapping[int, Process]
"""The processes of one moment, by pid."""


def parse_stat(text: str) -> Process:
    """Read the line of /proc/PID/stat; the name in it may hold blanks, brackets and newlines."""
    pid = int(text[: text.index(" ")])
    fields = text[text.rindex(")") + 2 :].split()
    return Process(
        pid=pid,
        state=fields[0],
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        started=int(fields[19]),
    )


def process(pid: int) -> Process | None:
    """The process with that pid; None if there is none.

    Raises:
        OSError: no file can be opened, so there is no telling.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return parse_stat(file.read())
    except ValueError:
        return None
    except OSError as error:
        if error.errno in _NO_DESCRIPTOR:
            raise
        return None


def cpu_seconds(pid: int) -> float | None:
    """Processor time that a process, perhaps ended and not yet waited for, has used."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def snapshot() -> dict[int, Process]:
    """All processes now. Those that come or go meanwhile may be missing.

    Raises:
        OSError: no file can be opened, so there is no telling.
    """
    found = (process(int(name)) for name in os.listdir(PROC) if name.isdecimal())  # noqa: PTH208
    return {each.pid: each for each in found if each is not None}


def descendants(roots: Iterable[int], processes: Snapshot) -> set[int]:
    """The children of `roots`, their children and so on, without `roots` themselves."""
    children: dict[int, list[int]] = {}
    for each in processes.values():
        children.setdefault(each.parent, []).append(each.pid)
    found: set[int] = set()
    left = list(roots)
    while left:
        for pid in children.get(left.pop(), ()):
            if pid not in found:
                found.add(pid)
                left.append(pid)
    return found


def own_children() -> list[int]:
    """The children of this process, zombies included; for a process of a single thread.

    The kernel's own list costs a fraction of a walk through /proc. Nobody but us removes entries
    from it (by waiting for a child), so it is whole.
    """
    pid = os.getpid()
    try:
        text = Path(f"/proc/self/task/{pid}/children").read_text(encoding="ascii")
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return [each.pid for each in snapshot().values() if each.parent == pid]
    return [int(word) for word in text.split()]


def environment_value(pid: int, name: str) -> str | None:
    """A variable of the environment that process `pid` was started with; None if unknown.

    Raises:
        OSError: no file can be opened, so there is no telling.
    """
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError as error:
        if error.errno in _NO_DESCRIPTOR:
            raise
        return None
    prefix = os.fsencode(name) + b"="
    for entry in text.split(b"\0"):
        if entry.startswith(prefix):
            return os.fsdecode(entry[len(prefix) :])
    return None


def machine_identity() -> str:
    """Names this boot and this process namespace: pids noted under another name mean nothing."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    first = process(1)
    namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
    return f"{boot}/{namespace}/{first.started if first else 0}"
