"""Runs a script that does nothing, so that those to come find all they need at hand.

Python adapts code to what it meets while it runs it, fills caches, and reserves memory. What the
fork server has done is done for all processes that it forks: they start faster, and write to less
of the memory that they share with it.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from ska_oso_activity.script_host.child import rehearsed
from ska_oso_activity.script_host.child.channel import Channel
from ska_oso_activity.script_host.child.interrupts import Interrupts
from ska_oso_activity.script_host.child.loading import module_name
from ska_oso_activity.script_host.child.run import run_script
from ska_oso_activity.script_host.frames import GREETING, TOKEN_BYTES, packets

SCRIPT = str(rehearsed.__file__)
NAME = module_name(SCRIPT)


def rehearse(host: int, name: str) -> None:
    """Run it as `run.main` runs a script, and leave no trace of it in the interpreter.

    Args:
        name: what this process shows itself as meanwhile.
    """
    path, arguments, finders = sys.path[:], sys.argv, sys.meta_path[:]
    cwd = os.open(".", os.O_PATH | os.O_CLOEXEC)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        for message in _messages(name):
            for packet in packets(message, GREETING):
                theirs.send(packet)
        channel = Channel(ours)
        run_script(channel, channel.receive("load"), Interrupts(), host)
    finally:
        ours.close()
        theirs.close()
        os.fchdir(cwd)
        os.close(cwd)
        sys.path[:], sys.argv, sys.meta_path[:] = path, arguments, finders
        sys.modules.pop(NAME, None)


def _messages(name: str) -> list[dict[str, Any]]:
    arguments = {"args": [1], "kwargs": {"more": 2}}
    order = {
        "procedure_id": 0,
        "name": name,
        "script_path": SCRIPT,
        "init": arguments,
        "limits": {},
    }
    return [
        {"kind": "hello", "token": bytes(TOKEN_BYTES).hex()},
        {"kind": "load", **order, "variables": dict(os.environ)},
        {"kind": "start", "function": "main", "args": arguments},
    ]
