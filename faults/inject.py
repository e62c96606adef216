"""Makes things go wrong, and lets them be right again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import tango

from faults import disk, plan
from faults.plan import Fault
from faults.stack import Stack

WAIT = 5.0
"""Seconds for a process to be there, or gone, so that the fault can be done at all."""


class NotPossible(Exception):
    """The fault has nothing that it could be done to at this moment."""


def inject(
    stack: Stack, fault: Fault, script: Callable[[], int | None], sleep: Callable[[float], object]
) -> str:
    """Do it, and take it back if it is one that lasts; returns what was done.

    Args:
        script: the pid of the script of the activity at which the fault is aimed.
        sleep: waits, while others may note the time.

    Raises:
        NotPossible: there is no such process now.
    """
    if fault.target == plan.FILES:
        return _damage(stack, fault)
    if fault.target == plan.DISK:
        disk.fill(stack.state)
        sleep(fault.seconds)
        disk.make_room(stack.state)
        return "filled"
    if fault.target == plan.ARCHIVE:
        return _spoil_archive(stack, fault, sleep)
    if fault.what.startswith("SIG"):
        pid = script() if fault.target == plan.SCRIPT else stack.pid_of(fault.target)
        return _signal(pid, fault, sleep)
    return _command(stack, fault)


def _signal(pid: int | None, fault: Fault, sleep: Callable[[float], object]) -> str:
    if pid is None:
        raise NotPossible(f"there is no {fault.target}")
    try:
        os.kill(pid, signal.Signals[fault.what])
        if fault.what == "SIGSTOP":
            sleep(fault.seconds)
            os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        raise NotPossible(f"{fault.target} is gone") from None
    return f"process {pid}"


def _command(stack: Stack, fault: Fault) -> str:
    try:
        if fault.what == "Init":
            tango.DeviceProxy(stack.devices[fault.target]).command_inout("Init")
        else:
            admin = tango.DeviceProxy(stack.admin(fault.target))
            if fault.what == "DevRestart":
                admin.command_inout("DevRestart", stack.devices[fault.target].split("/", 3)[3])
            else:
                admin.command_inout(fault.what)
    except tango.DevFailed as failed:
        return str(failed.args[0].desc).splitlines()[0]
    return "done"


def _spoil_archive(stack: Stack, fault: Fault, sleep: Callable[[float], object]) -> str:
    aside = stack.oda.with_name("oda-aside")
    # Blocks are added, and the archive is taken away, by one thread at a time.
    with stack.archive_lock:
        stack.oda.rename(aside)
        try:
            if fault.what == "garbage":
                stack.oda.write_bytes(b"\0" * 1000)
            sleep(fault.seconds)
        finally:
            with suppress(FileNotFoundError):
                stack.oda.unlink()
            aside.rename(stack.oda)
    return "back"


# --- Damage


def _damage(stack: Stack, fault: Fault) -> str:
    """Kill a server, damage one of its files while it is down, and let it be started again."""
    dice = Random(fault.dice)
    server = dice.choice(plan.SERVERS)
    pid = stack.pid_of(server)
    if pid is None:
        raise NotPossible(f"there is no {server}")
    os.kill(stack.launcher_pid, signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGKILL)
        _wait_until_dead(pid)
        path, offset = _damage_a_file(stack, server, fault.what, dice)
    finally:
        os.kill(stack.launcher_pid, signal.SIGCONT)
    return f"{path.name} of {server} at byte {offset}"


def _damage_a_file(stack: Stack, server: str, what: str, dice: Random) -> tuple[Path, int]:
    folder = "activity" if server == plan.ACTIVITY_DEVICE else "script-execution"
    files = sorted(
        path
        for pattern in ("*.db*", "host/ends/*")
        for path in (stack.state / folder).glob(pattern)
        if path.stat().st_size > 0 and not path.name.endswith("-shm")
    )
    if not files:
        raise NotPossible(f"{server} has no files")
    path = dice.choice(files)
    data = bytearray(path.read_bytes())
    offset = dice.randrange(len(data))
    if what == "flip":
        data[offset] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
    else:
        path.write_bytes(data[:offset])
    return path, offset


def _wait_until_dead(pid: int) -> None:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return
        if stat[stat.rindex(")") + 2] in "ZX":
            return
        time.sleep(0.002)
    raise NotPossible(f"process {pid} does not die")
