"""What our processes hold and use, as the kernel tells it."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from benchmarks.client import PATIENCE
from benchmarks.report import Usage
from benchmarks.stack import Stack

ROLES = {
    "databaseds": "Tango database",
    "devices.activity_device": "ActivityDevice",
    "devices.script_execution": "ScriptExecution",
    "ska_oso_activity.script_host": "script host",
    "ska_oso_activity.cli": "launcher",
}
"""What the command lines of our processes hold, and what we call the processes."""
WAITING = "fork server and warm children"
"""All other processes that are there while no script runs."""
SCRIPTS = "scripts, with what they started"
MIB = 1024 * 1024
Holdings = dict[str, dict[str, float]]
T = TypeVar("T")


def in_order(found: dict[str, T]) -> dict[str, T]:
    """The same, with our processes in the order of ROLES, and others after them."""
    names = [*ROLES.values(), *found]
    return {name: found[name] for name in names if name in found}


def settle(stack: Stack) -> None:
    """Wait until no script is left, and what follows the last one's end is done."""
    deadline = time.monotonic() + PATIENCE
    seen, since = stack.family(), time.monotonic()
    while time.monotonic() - since < 1.0 and time.monotonic() < deadline:
        time.sleep(0.05)
        if stack.family() != seen:
            seen, since = stack.family(), time.monotonic()


def holdings(stack: Stack) -> Holdings:
    """What each process holds."""
    found: Holdings = {}
    for pid in stack.family():
        with suppress(OSError):
            resident_pages = int(_proc(pid, "statm").split()[1])
            held = {
                "descriptors": _entries(pid, "fd"),
                "threads": _entries(pid, "task"),
                "children": len(_children(pid)),
                "RSS, MiB": round(resident_pages * os.sysconf("SC_PAGE_SIZE") / MIB, 1),
            }
            others = found.get(_role(pid), dict.fromkeys(held, 0))
            found[_role(pid)] = {key: others[key] + value for key, value in held.items()}
    return in_order(found)


def compare(before: Holdings, after: Holdings) -> list[Usage]:
    """What was held before and after; a process that is not there holds nothing."""
    nothing = dict.fromkeys(next(iter(after.values())), 0.0)
    return [
        Usage(role, before.get(role, nothing), after.get(role, nothing))
        for role in dict.fromkeys([*before, *after])
    ]


def disk(stack: Stack) -> tuple[int, float]:
    """Files in the state directory, and how many MiB they have."""
    sizes = []
    for path in stack.state.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                sizes.append(path.stat().st_size)
    return len(sizes), sum(sizes) / MIB


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """Time that each of our processes has been on a core, and dead scripts altogether."""
    used = {}
    for pid in stack.family():
        role = _role(pid)
        with suppress(OSError):
            used[role] = used.get(role, 0.0) + time.clock_gettime(_cpu_clock(pid))
        if role == "script host":
            ticks = _proc(pid, "stat").rpartition(")")[2].split()[13:15]
            used[SCRIPTS] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return in_order(used)


def idle_cpu(stack: Stack, seconds: float) -> dict[str, float]:
    """The share of one core, in percent, that each process takes while nothing is asked of it."""
    before = cpu_seconds(stack)
    time.sleep(seconds)
    after = cpu_seconds(stack)
    roles = [role for role in (*ROLES.values(), WAITING) if role in after and role in before]
    return {role: 100 * (after[role] - before[role]) / seconds for role in roles}


def _cpu_clock(pid: int) -> int:
    """The CPU clock of a process, see clock_getcpuclockid(3).

    Unlike /proc/PID/stat it tells nanoseconds, which a process that is idle needs.
    """
    return ~pid << 3 | 2


def _role(pid: int) -> str:
    words = _proc(pid, "cmdline").replace("\0", " ")
    return next((role for part, role in ROLES.items() if part in words), WAITING)


def _children(pid: int) -> list[str]:
    return [
        child
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def _entries(pid: int, folder: str) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/{folder}").iterdir())


def _proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
