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
from ska_oso_activity.script_host.child.newborn import OwnPipes, begin_life
from ska_oso_activity.script_host.linux import die_with_parent, set_name

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
    set_name("fork server")
    orderer = socket.socket(fileno=fd)
    os.set_inheritable(fd, False)
    known = set(sys.modules)
    pipes = OwnPipes()
    _preload()
    pipes.find_new()
    gc.disable()
    gc.collect()
    gc.freeze()  # so that collecting in a child does not copy what they all share
    orders.send(orderer, {"ready": _names(set(sys.modules) - known)})
    while True:
        packet, fds, _, _ = socket.recv_fds(
            orderer, orders.PACKET_LIMIT, 4, socket.MSG_CMSG_CLOEXEC
        )
        if not packet:
            os._exit(0)  # the host is gone
        ends = ScriptEnds(*fds)
        if _fork(orderer, orders.decode(packet).get("order")):
            orderer.detach()  # it is closed with all that is not ours
            begin_life(host, ends, pipes)
            return ends.control, ends.packets, host
        ends.close()


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


def _fork(orderer: socket.socket, order: object) -> bool:
    """Fork twice, so that the host, which adopts orphans, becomes the parent; whether we are new.

    The answer is on its way before the process can become the host's child: the host knows every
    child that it has.
    """
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    if threads != 1:
        text = f"it has {threads} threads, and cannot be forked"
        orders.send(orderer, {"order": order, "refused": text})
        return False
    try:
        between = os.fork()
    except OSError as error:
        orders.send(orderer, {"order": order, "failed": str(error)})
        return False
    if between:
        os.waitpid(between, 0)
        return False
    try:
        pid = os.fork()
        if pid == 0:
            return True
        orders.send(orderer, {"order": order, "pid": pid})
    except OSError as error:  # no process was made, or the host is gone
        try:
            orders.send(orderer, {"order": order, "failed": str(error)})
        finally:
            os._exit(1)
    os._exit(0)
