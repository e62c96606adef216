"""Where a script's words go: stdout, stderr and logging, in one order (script's process)."""

from __future__ import annotations

import io
import logging
import socket
import sys
import threading
from typing import TYPE_CHECKING

from ska_oso_activity.script_host.frames import OUTPUT_HEAD, PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined,unused-ignore]

STDOUT, STDERR, LOG = 1, 2, 3
"""Numbers of the streams. For the first two, also the descriptor that native code writes to."""


class PacketStream(io.RawIOBase):
    """Sends what is written to the host at once, so that nothing is lost when the script dies."""

    def __init__(self, sock: socket.socket, stream: int) -> None:
        super().__init__()
        self._socket = sock
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data).cast("B")
        head = OUTPUT_HEAD.pack(self._stream, threading.get_native_id())
        for start in range(0, len(view), PIECE_BYTES):
            try:
                self._socket.send(head + view[start : start + PIECE_BYTES])
            except OSError:  # the host is gone, or the script closed our descriptor
                break
        return len(view)


class PacketHandler(logging.Handler):
    """Sends log records to the host, in order with what is printed."""

    def __init__(self, stream: PacketStream) -> None:
        super().__init__()
        self._stream = stream
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._stream.write((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except Exception:
            self.handleError(record)


def redirect(sock: socket.socket) -> None:
    """Have print, sys.stderr and logging write to the host.

    Descriptors 1 and 2 themselves are pipes to the host: what native code and other programs write
    arrives too.
    """
    sys.stdout = sys.__stdout__ = _text(PacketStream(sock, STDOUT))  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _text(PacketStream(sock, STDERR))  # type: ignore[misc]
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(PacketHandler(PacketStream(sock, LOG)))


def _text(raw: PacketStream) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        raw,  # type: ignore[arg-type] # it has no name
        encoding="utf-8",
        errors="backslashreplace",
        write_through=True,
    )
