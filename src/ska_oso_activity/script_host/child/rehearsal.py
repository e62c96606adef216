"""Runs a script that does nothing, so that the one to come finds all it needs at hand.

A forked process shares its memory with the fork server until it writes to it, and then has to wait
for a copy of each page; running Python code writes to most of what it touches. While a process
waits for its script there is time for that.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

from ska_oso_activity.script_host.child import rehearsed
from ska_oso_activity.script_host.child.channel import Channel
from ska_oso_activity.script_host.child.interrupts import Interrupts
from ska_oso_activity.script_host.child.run import run_script
from ska_oso_activity.script_host.frames import GREETING, TOKEN_BYTES, packets

SCRIPT = str(Path(rehearsed.__file__))


def rehearse(host: int) -> None:
    """Run it as `run.main` runs a script, and leave no trace of it in the interpreter."""
    path, arguments, finders = sys.path[:], sys.argv, sys.meta_path[:]
    modules = set(sys.modules)
    cwd = os.open(".", os.O_PATH | os.O_CLOEXEC)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        for message in _messages():
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
        for name in set(sys.modules) - modules:
            del sys.modules[name]


def _messages() -> list[dict[str, Any]]:
    arguments = {"args": [1], "kwargs": {"more": 2}}
    order = {"procedure_id": 0, "script_path": SCRIPT, "init": arguments, "limits": {}}
    return [
        {"kind": "hello", "token": bytes(TOKEN_BYTES).hex()},
        {"kind": "load", **order, "variables": dict(os.environ)},
        {"kind": "start", "function": "main", "args": arguments},
    ]
