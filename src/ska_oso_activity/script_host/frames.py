"""What host and script's process exchange, as packets on two SOCK_SEQPACKET sockets.

On one, messages. A packet is the secret token, a flag (`+` more follows, `.` last) and a piece of
the message's JSON. A packet that does not begin with the token was not written by our code and is
ignored, so whatever a script writes to the descriptor means nothing.

On the other, output. A packet is the number of the stream, who writes, and a piece of text.
"""

from __future__ import annotations

import fcntl
import json
import select
import socket
import struct
import termios
from collections.abc import Iterator
from typing import Any

TOKEN_BYTES = 16
GREETING = b"\0" * TOKEN_BYTES
"""Token of the packets towards the script's process, the first of which hands over the real one."""

PIECE_BYTES = 32 * 1024
"""Well below what a socket's buffer takes; larger packets could be refused."""

PACKET_LIMIT = TOKEN_BYTES + 1 + PIECE_BYTES
MESSAGE_LIMIT = 16 * 1024 * 1024
"""Largest message, in bytes of JSON."""

OUTPUT_HEAD = struct.Struct("<BI")
"""Stream, and id of the thread that writes (one that no other thread of any process has)."""

OUTPUT_PACKET_LIMIT = OUTPUT_HEAD.size + PIECE_BYTES

_MORE, _LAST = b"+", b"."


def packets(message: dict[str, Any], token: bytes) -> Iterator[bytes]:
    """The packets that carry a message."""
    payload = json.dumps(message, separators=(",", ":")).encode("ascii")
    for start in range(0, len(payload), PIECE_BYTES):
        last = start + PIECE_BYTES >= len(payload)
        yield token + (_LAST if last else _MORE) + payload[start : start + PIECE_BYTES]


class Assembler:
    """Puts the packets of one sender together again."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._pieces = bytearray()

    def feed(self, packet: bytes) -> dict[str, Any] | None:
        """The message that `packet` completes; None if it is not yet whole, or not ours."""
        head, flag = packet[:TOKEN_BYTES], packet[TOKEN_BYTES : TOKEN_BYTES + 1]
        if head != self._token or flag not in (_MORE, _LAST):
            return None
        self._pieces += packet[TOKEN_BYTES + 1 :]
        if len(self._pieces) > MESSAGE_LIMIT:
            self._pieces.clear()
        if flag == _MORE:
            return None
        payload = bytes(self._pieces)
        self._pieces.clear()
        try:
            message = json.loads(payload)
        except (ValueError, RecursionError):
            return None
        return message if isinstance(message, dict) else None


def hung_up(sock: socket.socket) -> bool:
    """Whether the other end is closed and all is read: an empty packet reads just like that."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    if not poll.poll(0):
        return False
    left = fcntl.ioctl(sock, termios.FIONREAD, bytes(4))
    return not any(left)
