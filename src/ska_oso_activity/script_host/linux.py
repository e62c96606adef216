"""The few things that only Linux offers, for which Python has no name (script host)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_TID_ADDRESS = 40

_CLONE_PARENT = 0x00008000
_CLONE_CHILD_CLEARTID = 0x00200000
_CLONE_CHILD_SETTID = 0x01000000
_CLONE_CALLS = {"x86_64": (56, 3), "aarch64": (220, 4)}
"""Number of the system call, and which of its arguments is the child's thread id, by machine."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYSCALL = ctypes.PyDLL(None, use_errno=True).syscall
"""Called without letting go of Python's lock: nothing may run between it and Python's hooks."""
_SYSCALL.restype = ctypes.c_long


def _prctl(option: int, value: int | bytes) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"prctl {option}")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (a child subreaper)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Be killed when process `parent`, which started us, ends; at once if it already has.

    The kernel watches the *thread* that started us, so that one must live as long as its process.
    Changing the user undoes it.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def fork_sibling() -> int:
    """Fork; our parent is the new process's parent too, at once, as `CLONE_PARENT` has it.

    It does what the C library's `fork` and `os.fork` do in a process of one thread: the C library's
    note of its thread's id is renewed, and Python's hooks run on both sides.

    Returns:
        The new process's id; in the new process 0.

    Raises:
        OSError: it cannot be done: for now, or (ENOSYS) ever on this machine.
    """
    known = platform.libc_ver()[0] == "glibc"  # others keep another thing at that address
    number, place = _CLONE_CALLS.get(platform.machine(), (0, 0)) if known else (0, 0)
    thread_id = ctypes.c_void_p()
    if not number or _LIBC.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(thread_id), 0, 0, 0) != 0:
        raise OSError(errno.ENOSYS, f"a sibling cannot be forked on {platform.machine()}")
    arguments = [ctypes.c_void_p()] * 5
    flags = _CLONE_PARENT | _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID | signal.SIGCHLD
    arguments[0] = ctypes.c_void_p(flags)
    arguments[place] = thread_id
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(_SYSCALL(ctypes.c_long(number), *arguments))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    error = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, os.strerror(error))
    return pid


def gain_no_privileges() -> None:
    """Have programs that we start, setuid or not, run with no more rights than we have."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_name(name: str) -> None:
    """Show a name of at most 15 bytes in place of the program's, in `ps` and `top`."""
    _prctl(_PR_SET_NAME, name.encode("utf-8", "replace")[:15])


def flush_c_streams() -> None:
    """Write out what C code has printed and the C library still holds."""
    _LIBC.fflush(None)
