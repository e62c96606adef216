"""The few things that only Linux offers, for which Python has no name (script host)."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_LIBC = ctypes.CDLL(None, use_errno=True)


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


def await_adoption(first: int, parent: int, seconds: float) -> None:
    """Wait until `parent` has become our parent in place of the `first` one; then die with it.

    If another one becomes it, or none within `seconds`, we are killed. SIGUSR1 must be blocked: the
    kernel sends it when a parent ends.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
    if os.getppid() == first:
        signal.sigtimedwait({signal.SIGUSR1}, seconds)
    signal.sigtimedwait({signal.SIGUSR1}, 0)  # it came all the same, between the two
    die_with_parent(parent)


def gain_no_privileges() -> None:
    """Have programs that we start, setuid or not, run with no more rights than we have."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_name(name: str) -> None:
    """Show a name of at most 15 bytes in place of the program's, in `ps` and `top`."""
    _prctl(_PR_SET_NAME, name.encode("utf-8", "replace")[:15])


def flush_c_streams() -> None:
    """Write out what C code has printed and the C library still holds."""
    _LIBC.fflush(None)
