"""The fork server: a process that has imported what scripts need, and forks itself for each.

It has one thread and never initialises Tango: only such a process can be forked without harm.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from ska_oso_activity.script_host import orders
from ska_oso_activity.script_host.channels import ScriptEnds
from ska_oso_activity.script_host.child.newborn import (
    OwnPipe,
    begin_life,
    open_pipes,
    own_pipes,
)
from ska_oso_activity.script_host.child.rehearsal import rehearse
from ska_oso_activity.script_host.child.shown import WAITING, show
from ska_oso_activity.script_host.environment import MARK
from ska_oso_activity.script_host.linux import die_with_parent, fork_sibling

REHEARSALS = 20
"""How often to run what each forked process will run: Python adapts its code to what it meets, and
that is then done once for all of them."""

PRELOADED = ("numpy", "tango")
"""Imported if they are installed. Handlers that they gave the C library (`pthread_atfork`) are not
called in our processes, see `fork_sibling`: with one thread, and Tango not initialised, they have
nothing to put in order."""


def serve(fd: int, host: int) -> tuple[int, int, int, Callable[[], None]]:
    """Fork for the host until it is gone.

    Args:
        fd: descriptor of the socket on which orders come.
        host: the host's pid.

    Returns:
        In each forked process: the arguments of `run.main`.
    """
    die_with_parent(host)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a script's own to unblock
    orderer = socket.socket(fileno=fd)
    os.set_inheritable(fd, False)
    preloaded, pipes = _preload()
    for _ in range(REHEARSALS):
        rehearse(host, "rehearsal")
    show("fork server", "fork server", os.environ[MARK])
    gc.disable()
    gc.collect()
    gc.freeze()  # so that collecting in a child does not copy what they all share
    orders.send(orderer, {"ready": preloaded})
    while True:
        packet, fds = orders.receive(orderer)
        if not packet:
            os._exit(0)
        ends = ScriptEnds(*fds)
        answer = _fork(orderer)
        if answer == {"pid": 0}:
            orderer.detach()  # it is closed with all that is not ours
            begin_life(ends, pipes)
            return ends.control, ends.packets, host, partial(_rehearse_once_more, host)
        ends.close()
        try:
            orders.send(orderer, {"order": orders.decode(packet).get("order"), **answer})
        except OSError:  # the host is gone
            os._exit(0)


def _fork(orderer: socket.socket) -> dict[str, object]:
    """Fork a child of the host's; the answer to the order: its pid (in it 0), or what is wrong."""
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    if threads != 1:
        _refuse(orderer, f"it has {threads} threads, and cannot be forked")
    try:
        return {"pid": fork_sibling()}
    except OSError as error:
        if error.errno == errno.ENOSYS:
            _refuse(orderer, str(error))
        return {"failed": str(error)}


def _refuse(orderer: socket.socket, text: str) -> NoReturn:
    """Have the host know that no fork server is of use here."""
    orders.send(orderer, {"refused": text})
    os._exit(1)


def _rehearse_once_more(host: int) -> None:
    """In a process that waits: the memory that is written to is its own from then on, not shared,
    so that its script need not wait for the copying of it.
    """
    rehearse(host, WAITING)
    show(WAITING, WAITING, os.environ[MARK])


def _preload() -> tuple[list[str], list[OwnPipe]]:
    """Import what scripts need; returns the names of what is there then, and pipes opened for it.

    What it needs for that is forgotten here: forgetting it in a forked process would have that copy
    the memory of all the names.
    """
    known = set(sys.modules)
    before = open_pipes()
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # scripts that need it will say so
        except Exception:
            traceback.print_exc()
    names = sorted({name.partition(".")[0] for name in set(sys.modules) - known})
    return names, own_pipes(before)
