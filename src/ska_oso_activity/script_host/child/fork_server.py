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

from ska_oso_activity.script_host import orders
from ska_oso_activity.script_host.channels import ScriptEnds
from ska_oso_activity.script_host.child.newborn import begin_life, open_pipes, own_pipes
from ska_oso_activity.script_host.child.rehearsal import rehearse
from ska_oso_activity.script_host.child.shown import show
from ska_oso_activity.script_host.environment import MARK
from ska_oso_activity.script_host.linux import die_with_parent

REHEARSALS = 20
"""How often to run what each forked process will run: Python adapts its code to what it meets, and
that is then done once for all of them."""

_HOST_GONE = 3
"""Exit code of a process in between that has nobody to take an order from."""

PRELOADED = ("numpy", "tango")
"""Imported if they are installed."""


def serve(fd: int, host: int) -> tuple[int, int, int]:
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
        rehearse(host)
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
            between, ends = _take_order(orderer, server)
            orderer.detach()  # it is closed with all that is not ours
            begin_life(between, host, ends, pipes)
            return ends.control, ends.packets, host
        _, status = os.waitpid(between, 0)
        if status == _HOST_GONE << 8:
            os._exit(0)


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


def _take_order(orderer: socket.socket, server: int) -> tuple[int, ScriptEnds]:
    """Wait for one order, and fork: returns, in the process that was ordered, its parent.

    The one in between ends at once, so that the host, which adopts orphans, becomes the parent. It
    answers before that: the host knows of every child that it has. It is forked ahead of time, so
    an order takes the time of a single fork.
    """
    die_with_parent(server)
    packet, fds, _, _ = socket.recv_fds(orderer, orders.PACKET_LIMIT, 4, socket.MSG_CMSG_CLOEXEC)
    if not packet:
        os._exit(_HOST_GONE)
    order = orders.decode(packet)
    between = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            return between, ScriptEnds(*fds)
        answer: dict[str, object] = {"pid": pid}
    except OSError as error:
        answer = {"failed": str(error)}
    try:
        orders.send(orderer, {"order": order.get("order"), **answer})
    finally:  # also if the host is gone
        os._exit(0)
