"""Starts a script's process as a fresh interpreter (script host)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from ska_oso_activity.script_host.leader import Leader

CHILD = Path(__file__).parent / "child" / "__main__.py"
"""Run by path, so that an interpreter which does not have our package installed runs it too.

After an upgrade in place it may be of a later release than the host that starts it: what host and
child tell each other is only ever added to."""


def start_fresh(python: str | None, environment: Mapping[str, str], umask: int) -> Leader:
    """Start an interpreter that waits for its script.

    Args:
        python: the interpreter; None for our own.
        umask: what the script's own files are made with.

    Raises:
        OSError: it cannot be started.
    """
    with ExitStack() as theirs, ExitStack() as ours:
        control, their_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.callback(control.close)
        theirs.callback(their_control.close)
        packets, their_packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.callback(packets.close)
        theirs.callback(their_packets.close)
        stdout, their_stdout = os.pipe()
        ours.callback(os.close, stdout)
        theirs.callback(os.close, their_stdout)
        stderr, their_stderr = os.pipe()
        ours.callback(os.close, stderr)
        theirs.callback(os.close, their_stderr)
        fds = (their_control.fileno(), their_packets.fileno())
        # A stop that comes while the interpreter starts waits until that can be told politely.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        ours.callback(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
        process = subprocess.Popen(
            [python or sys.executable, str(CHILD), *map(str, fds), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=their_stdout,
            stderr=their_stderr,
            close_fds=True,
            pass_fds=fds,
            start_new_session=True,
            umask=umask,
            env=dict(environment),
        )
        ours.pop_all()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for fd in (stdout, stderr):
        os.set_blocking(fd, False)
    control.setblocking(False)
    packets.setblocking(False)
    return Leader(process.pid, control, packets, {"stdout": stdout, "stderr": stderr}, process.wait)
