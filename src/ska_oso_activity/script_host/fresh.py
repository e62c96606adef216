"""Starts a script's process as a fresh interpreter (script host)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ska_oso_activity.script_host.channels import open_channels
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
    ours, theirs = open_channels()
    fds = (theirs.control, theirs.packets)
    try:
        with sigint_blocked():
            process = subprocess.Popen(
                [python or sys.executable, str(CHILD), *map(str, fds), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=theirs.stdout,
                stderr=theirs.stderr,
                close_fds=True,
                pass_fds=fds,
                start_new_session=True,
                umask=umask,
                env=dict(environment),
            )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Leader(process.pid, ours, process.wait)


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Have a process begin with SIGINT blocked: a stop that comes while its interpreter starts
    waits until that can be told politely.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
