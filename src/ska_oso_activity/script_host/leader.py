"""A script's first process, and the ways to it that the host holds (script host)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ska_oso_activity.script_host.loop import Loop, Timer

POLL_SECONDS = 0.01
"""How soon a death is seen where the kernel has no pidfd."""


@dataclass
class Leader:
    """The process that runs the script; it leads its own session and process group.

    Attributes:
        control: where host and process exchange messages (SOCK_SEQPACKET).
        packets: what Python code writes; a packet is a stream's number and bytes.
        pipes: read ends of descriptors 1 and 2, by stream, for all that is not Python.
        wait: collects the dead process and returns its code, or minus its signal.
    """

    pid: int
    control: socket.socket
    packets: socket.socket
    pipes: Mapping[str, int]
    wait: Callable[[], int]
    _pidfd: int = -1
    _poll: Timer | None = field(default=None, repr=False)

    def watch(self, loop: Loop, on_death: Callable[[], None]) -> None:
        """Call back once, when the process and all its threads have ended."""
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except (OSError, AttributeError):  # before Linux 5.3
            self._check_by_and_by(loop, on_death)
            return

        def ended() -> None:
            loop.unwatch(self._pidfd)
            on_death()

        loop.watch(self._pidfd, ended)

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the process group: the process and what it started, unless that moved out.

        Only called before `wait`, while the pid cannot be anybody else's.
        """
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        """Give the descriptors back."""
        self.control.close()
        self.packets.close()
        for fd in self.pipes.values():
            os.close(fd)
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def _check_by_and_by(self, loop: Loop, on_death: Callable[[], None]) -> None:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if os.waitid(os.P_PID, self.pid, flags) is not None:
            on_death()
        else:
            self._poll = loop.call_later(
                POLL_SECONDS, lambda: self._check_by_and_by(loop, on_death)
            )
