"""The host's end of the socket to a script's process (script host)."""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from ska_oso_activity.script_host.frames import (
    GREETING,
    PACKET_LIMIT,
    Assembler,
    hung_up,
    packets,
)
from ska_oso_activity.script_host.loop import Loop

PACKETS_A_TURN = 32
"""How many packets one script may send before the others get their turn."""

LAST_TURNS = 64
"""More than what can be waiting. Who still writes at the end was handed the socket by the script,
and is no process of it that can say anything."""

LOG = logging.getLogger(__name__)


class ControlChannel:
    """Sends without blocking, and hands over what bears the token of this one script."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        token: bytes,
        on_message: Callable[[dict[str, Any]], None],
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._on_message = on_message
        self._assembler = Assembler(token)
        self._waiting: deque[bytes] = deque()
        self._open = True
        self._wants_to_write = False
        loop.watch(sock.fileno(), self._read)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message after those that wait."""
        self._waiting.extend(packets(message, GREETING))
        self._write()

    def drain(self) -> None:
        """Read all that is there; the process has ended."""
        for _ in range(LAST_TURNS):
            if not self._open or not self._read():
                return

    def close(self) -> None:
        """Stop reading and writing. The socket is the leader's to close."""
        if self._open:
            self._open = False
            self._loop.unwatch(self._socket.fileno())

    def _write(self) -> None:
        if not self._open:
            return
        try:
            while self._waiting:
                self._socket.send(self._waiting[0])
                self._waiting.popleft()
        except BlockingIOError:
            pass
        except OSError:  # the process closed its end, or is gone: the pidfd tells
            self._waiting.clear()
        if bool(self._waiting) != self._wants_to_write:
            self._wants_to_write = bool(self._waiting)
            on_writable = self._write if self._waiting else None
            self._loop.watch(self._socket.fileno(), self._read, on_writable)

    def _read(self) -> bool:
        """Read some; whether there may be more."""
        for _ in range(PACKETS_A_TURN):
            try:
                packet = self._socket.recv(PACKET_LIMIT)
            except BlockingIOError:
                return False
            except ConnectionResetError:  # it ended without reading all; what it said is still here
                continue
            except OSError:
                packet = b""
            if not packet and hung_up(self._socket):
                self.close()
                return False
            message = self._assembler.feed(packet)
            if message is not None:
                self._hand_over(message)
        return True

    def _hand_over(self, message: dict[str, Any]) -> None:
        """A message that cannot be dealt with costs none of those after it."""
        try:
            self._on_message(message)
        except Exception:
            LOG.exception("a script's message cannot be understood: %s", sorted(message))
