"""The way from a script's process to its host (script's process)."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from typing import Any

from ska_oso_activity.script_host.frames import (
    GREETING,
    PACKET_LIMIT,
    Assembler,
    hung_up,
    packets,
)


class HostGone(Exception):
    """The host has closed its end."""


class Channel:
    """Messages to and from the host."""

    def __init__(self, sock: socket.socket) -> None:
        """Wait for the host's greeting, which holds the token that our messages carry."""
        self._socket = sock
        self._owner = os.getpid()
        self._assembler = Assembler(GREETING)
        # Reentrant: a signal handler of the script may report while a report is on its way.
        self._lock = threading.RLock()
        self._token = bytes.fromhex(self.receive("hello")["token"])

    def send(self, kind: str, **fields: Any) -> None:
        """Report something. A forked copy of us has nothing to report; it is silent."""
        if os.getpid() != self._owner:
            return
        with self._lock, contextlib.suppress(OSError):
            for packet in packets({"kind": kind, **fields}, self._token):
                self._socket.send(packet)

    def send_state(self, state: str, **more: Any) -> None:
        """Report a state, one of `outcome.STATES`, and anything else that belongs to it."""
        self.send("state", state=state, **more)

    def require_state(self, state: str, **more: Any) -> None:
        """Report a state without which nothing may follow: the host goes by what it was told.

        Raises:
            OSError: it could not be.
        """
        with self._lock:
            for packet in packets({"kind": "state", "state": state, **more}, self._token):
                self._socket.send(packet)

    def has_news(self, seconds: float) -> bool:
        """Whether there is something to receive, waiting so long for it."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(1000 * seconds))

    def receive(self, kind: str) -> dict[str, Any]:
        """Wait for a message of that kind.

        Raises:
            HostGone: none will come.
        """
        while True:
            packet = self._socket.recv(PACKET_LIMIT)
            if not packet and hung_up(self._socket):
                raise HostGone
            message = self._assembler.feed(packet)
            if message is not None and message.get("kind") == kind:
                return message
