"""A script's first process, as the host holds it (script host)."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from ska_oso_activity.script_host.channels import HostEnds
from ska_oso_activity.script_host.death import DeathWatch
from ska_oso_activity.script_host.frames import GREETING, TOKEN_BYTES, packets
from ska_oso_activity.script_host.loop import Loop


@dataclass(eq=False)
class Leader:
    """The process that runs the script; it leads its own session and process group.

    Attributes:
        ends: the ways to it.
        wait: collects the dead process and returns its code, or minus its signal.
        token: what its messages bear.
    """

    pid: int
    ends: HostEnds
    wait: Callable[[], int]
    token: bytes = field(default_factory=partial(secrets.token_bytes, TOKEN_BYTES), repr=False)
    _greeted: bool = field(default=False, repr=False)
    _watch: DeathWatch | None = field(default=None, repr=False)

    def greet(self) -> None:
        """Tell the process its token, once; it can wait for its script from then on."""
        if not self._greeted:
            self._greeted = True
            with contextlib.suppress(OSError):  # it is gone, which will be told
                for packet in packets({"kind": "hello", "token": self.token.hex()}, GREETING):
                    self.ends.control.send(packet)

    def watch(self, loop: Loop, on_death: Callable[[], None]) -> None:
        """Call back once, when the process and all its threads have ended; only this call."""
        self.unwatch()
        self._watch = DeathWatch(loop, self.pid, on_death)

    def unwatch(self) -> None:
        """No call when it ends."""
        if self._watch:
            self._watch.cancel()
            self._watch = None

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the process group: the process and what it started, unless that moved out.

        Only called before `wait`, while the pid cannot be anybody else's.
        """
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        """Give the descriptors back."""
        self.unwatch()
        self.ends.close()
