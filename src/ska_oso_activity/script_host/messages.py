"""The messages between the script host and a device server: one JSON object a line.

Both sides open with `hello`. Unknown kinds and unknown keys are ignored, so that a server of one
release can talk to the host of another: new things are added, old ones keep their meaning.

Server to host: `launch` (a script's whole specification), `start`, `stop`, `forget`, `ack`; `pool`
(how many processes are to wait for scripts); `ping`, answered by `pong` if `hello` says so.
Host to server: events (`state`, `progress`, `message`, `output`, `end`), each with a `procedure_id`
and a number `n` that rises within the procedure; `replaced`, when another server took over;
`ending`, when the host itself ends.
"""

from __future__ import annotations

import json
from typing import Any

PROTOCOL = 1
"""What `hello` says. Raised only by a release that cannot talk to older ones."""

LINE_LIMIT = 32 * 1024 * 1024
"""Longest message, in bytes."""

Message = dict[str, Any]


class NotAMessage(ValueError):
    """What came is not one of our messages."""


def encode(message: Message) -> bytes:
    """The line that carries a message."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


class LineReader:
    """Cuts a stream of bytes into messages."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes.

        Raises:
            NotAMessage: the stream is not of our making, and not to be read further.
        """
        *whole, rest = data.split(b"\n")
        messages = []
        for piece in whole:
            messages.append(_decode(b"".join([*self._pieces, piece])))
            self._pieces, self._size = [], 0
        self._pieces.append(rest)
        self._size += len(rest)
        if self._size > self._limit:
            raise NotAMessage(f"a line is longer than {self._limit} bytes")
        return messages


def _decode(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NotAMessage(f"{line[:80]!r} is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise NotAMessage(f"{line[:80]!r} is not a JSON object")
    return message
