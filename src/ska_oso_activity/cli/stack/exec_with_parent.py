"""Becomes a program that the kernel kills as soon as its parent is gone (cli).

Run as a file by a bare interpreter: `python -I -S exec_with_parent.py PARENT_PID COMMAND...`. It
imports nothing of ours and becomes COMMAND within a few milliseconds. The kernel watches the
parent's *thread* that started us, so the parent starts programs from its main thread.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def become(parent: int, command: list[str]) -> None:
    """Replace this process by `command`, killed when `parent` dies; returns only if it has."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0):
        sys.exit(f"{command[0]}: cannot be tied to its parent: {os.strerror(ctypes.get_errno())}")
    # A parent that died before the line above cannot be told of any more.
    if os.getppid() == parent:
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
