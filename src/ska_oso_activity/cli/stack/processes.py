"""What Linux tells about processes, and asks of a launcher (cli)."""

from __future__ import annotations

import ctypes
import os
import signal
from collections import defaultdict
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


def adopt_orphans() -> None:
    """From now on descendants whose parents die become our children, to be waited for."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become the reaper of orphaned processes")


def descendants(ancestor: int) -> set[int]:
    """The processes below `ancestor` at this moment, dead ones that nobody has reaped left out."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            parent = _living_parent(entry)
            if parent is not None:
                children[parent].append(int(entry.name))
    found: set[int] = set()
    level = [ancestor]
    while level:
        level = [child for pid in level for child in children[pid] if child not in found]
        found.update(level)
    return found


def _living_parent(entry: Path) -> int | None:
    """The parent of a process of /proc; None if the process is gone or dead."""
    try:
        stat = (entry / "stat").read_bytes()
    except OSError:
        return None
    # The command's name, in parentheses, may hold anything, parentheses too.
    state, parent = stat[stat.rindex(b")") + 2 :].split()[:2]
    return None if state in {b"Z", b"X"} else int(parent)


def kill_all(pids: set[int]) -> None:
    """Kill processes; those that are gone meanwhile are no trouble."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def describe_end(returncode: int) -> str:
    """How a child ended, such as `exit code 1` or `signal SIGKILL`, from Popen's `returncode`."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"signal {-returncode}"
