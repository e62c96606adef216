"""Starts a script's process as a fresh interpreter (script host)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ska_oso_activity.script_host.leader import Leader

CHILD = Path(__file__).parent / "child" / "__main__.py"
"""Run by path, so that an interpreter which does not have our package installed runs it too."""


def start_fresh(python: str | None, environment: Mapping[str, str], umask: int) -> Leader:
    """Start an interpreter that waits for its script.

    Args:
        python: the interpreter; None for our own.
        umask: what the script's own files are made with.

    Raises:
        OSError: it cannot be started.
    """
    control, their_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    packets, their_packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stdout, their_stdout = os.pipe()
    stderr, their_stderr = os.pipe()
    fds = [str(their_control.fileno()), str(their_packets.fileno())]
    try:
        process = subprocess.Popen(
            [python or sys.executable, str(CHILD), *fds, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=their_stdout,
            stderr=their_stderr,
            close_fds=True,
            pass_fds=[their_control.fileno(), their_packets.fileno()],
            start_new_session=True,
            umask=umask,
            env=dict(environment),
        )
    except BaseException:
        control.close()
        packets.close()
        os.close(stdout)
        os.close(stderr)
        raise
    finally:
        their_control.close()
        their_packets.close()
        os.close(their_stdout)
        os.close(their_stderr)
    for fd in (stdout, stderr):
        os.set_blocking(fd, False)
    control.setblocking(False)
    packets.setblocking(False)
    return Leader(process.pid, control, packets, {"stdout": stdout, "stderr": stderr}, process.wait)
