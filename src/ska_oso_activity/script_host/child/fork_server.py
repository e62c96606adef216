"""The fork server: a process that has imported what scripts need, and forks itself for each.

It has one thread and never initialises Tango: only such a process can be forked without harm.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from functools import partial

from ska_oso_activity.script_host import orders
from ska_oso_activity.script_host.channels import ScriptEnds
from ska_oso_activity.script_host.child.newborn import begin_life, open_pipes, own_pipes
from ska_oso_activity.script_host.child.rehearsal import rehearse
from ska_oso_activity.script_host.child.shown import WAITING, show
from ska_oso_activity.script_host.environment import MARK
from ska_oso_activity.script_host.linux import die_with_parent

BATCH = 8
"""How many processes, if so many are ordered at once, share one in between."""

REHEARSALS = 20
"""How often to run what each forked process will run: Python adapts its code to what it meets, and
that is then done once for all of them."""

_HOST_GONE = 3
"""Exit code of a process in between that has nobody to take an order from."""

PRELOADED = ("numpy", "tango")
"""Imported if they are installed."""


def serve(fd: int, host: int) -> tuple[int, int, int, Callable[[], None]]:
    """Fork for the host until it is gone.

    Args:
        fd: descriptor of the socket on which orders come.
        host: the host's pid.

    Returns:
        In each forked process: the arguments of `run.main`.
    """
    die_with_parent(host)
    # The first is a script's own to unblock, as in a fresh interpreter; by the second, a newborn
    # process is told that its parent has changed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGUSR1})
    orderer = socket.socket(fileno=fd)
    os.set_inheritable(fd, False)
    known = set(sys.modules)
    before = open_pipes()
    _preload()
    pipes = own_pipes(before)
    for _ in range(REHEARSALS):
        rehearse(host, "rehearsal")
    show("fork server", "fork server", os.environ[MARK])
    gc.disable()
    gc.collect()
    gc.freeze()  # so that collecting in a child does not copy what they all share
    orders.send(orderer, {"ready": _names(set(sys.modules) - known)})
    server = os.getpid()
    while True:
        threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
        if threads != 1:
            text = f"it has {threads} threads, and cannot be forked"
            orders.send(orderer, {"refused": text})
            os._exit(1)
        between = os.fork()
        if between == 0:
            between, ends = _take_orders(orderer, server)
            orderer.detach()  # it is closed with all that is not ours
            begin_life(between, host, ends, pipes)
            return ends.control, ends.packets, host, partial(_rehearse_once_more, host)
        _, status = os.waitpid(between, 0)
        if status == _HOST_GONE << 8:
            os._exit(0)


def _rehearse_once_more(host: int) -> None:
    """In a process that waits: the memory that is written to is its own from then on, not shared,
    so that its script need not wait for the copying of it.
    """
    rehearse(host, WAITING)
    show(WAITING, WAITING, os.environ[MARK])


def _preload() -> None:
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # scripts that need it will say so
        except Exception:
            traceback.print_exc()


def _names(modules: set[str]) -> list[str]:
    return sorted({name.partition(".")[0] for name in modules})


def _take_orders(orderer: socket.socket, server: int) -> tuple[int, ScriptEnds]:
    """Wait for orders, and fork for each: returns, in a process that was ordered, its parent.

    The one in between ends as soon as no order waits, so that the host, which adopts orphans,
    becomes the parent. It answers before that: the host knows of every child that it has. It is
    forked ahead of time, so an order takes the time of a single fork.
    """
    die_with_parent(server)
    between = os.getpid()
    for number in range(BATCH):
        try:
            packet, fds = orders.receive(orderer, wait=number == 0)
        except BlockingIOError:
            break
        if not packet:
            os._exit(_HOST_GONE)
        ends = ScriptEnds(*fds)
        try:
            pid = os.fork()
            if pid == 0:
                return between, ends
            answer: dict[str, object] = {"pid": pid}
        except OSError as error:
            answer = {"failed": str(error)}
        try:
            orders.send(orderer, {"order": orders.decode(packet).get("order"), **answer})
        except OSError:
            os._exit(_HOST_GONE)
        ends.close()
    os._exit(0)
