"""The host's door: one device server at a time, the newest that attached (script host)."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable

from ska_oso_activity.script_host.directory import UnsafeDirectory, check_peer
from ska_oso_activity.script_host.loop import Loop
from ska_oso_activity.script_host.messages import LineReader, Message, NotAMessage, encode

READ_BYTES = 256 * 1024
ACCEPT_PAUSE = 1.0
"""Seconds."""


LOG = logging.getLogger(__name__)


class Connection:
    """One accepted connection. Sending never blocks: what the socket does not take waits."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_message: Callable[[Connection, Message], None],
        on_closed: Callable[[Connection], None],
        on_drained: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._on_message = on_message
        self._on_closed = on_closed
        self._on_drained = on_drained
        self._reader = LineReader()
        self._waiting = bytearray()
        self._open = True
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._read)

    @property
    def backlog(self) -> int:
        """Bytes that wait to be taken by the socket."""
        return len(self._waiting)

    def send(self, line: bytes) -> None:
        """Send a message after those that wait."""
        if not self._open:
            return
        blocked = bool(self._waiting)
        self._waiting += line
        if not blocked:
            self._flush()

    def close(self) -> None:
        """Close it, with a last try to send what waits. `on_closed` is not called."""
        if not self._open:
            return
        self._open = False
        self._loop.unwatch(self._socket.fileno())
        with contextlib.suppress(OSError):
            self._socket.send(self._waiting)
        self._socket.close()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._waiting)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lost()
            return
        del self._waiting[:sent]
        writable = self._writable if self._waiting else None
        self._loop.watch(self._socket.fileno(), self._read, writable)

    def _writable(self) -> None:
        self._flush()
        if self._open and not self._waiting:
            self._on_drained(self)

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        try:
            messages = self._reader.feed(data)
        except NotAMessage as error:
            LOG.warning("a server is cut off: %s", error)
            self._lost()
            return
        for message in messages:
            if self._open:
                self._on_message(self, message)

    def _lost(self) -> None:
        if self._open:
            self.close()
            self._on_closed(self)


class Door:
    """Listens, checks who comes, and keeps the one server that has said hello last."""

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        on_attached: Callable[[Connection], None],
        on_message: Callable[[Message], None],
        on_detached: Callable[[], None],
        on_drained: Callable[[Connection], None],
    ) -> None:
        self.current: Connection | None = None
        self._loop = loop
        self._listener = listener
        self._on_attached = on_attached
        self._on_message = on_message
        self._on_detached = on_detached
        self._on_drained = on_drained
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Let nobody in any more, and let go of the server."""
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        if self.current:
            self.current.close()
            self.current = None

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.watch(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            # Probably no descriptor is free: the connection waits, and would call us at once.
            LOG.warning("a server could not attach: %s", error)
            self._loop.unwatch(self._listener.fileno())
            self._loop.call_later(ACCEPT_PAUSE, self._listen)
            return
        try:
            check_peer(sock)
        except UnsafeDirectory as error:
            LOG.warning("a connection is refused: %s", error)
            sock.close()
            return
        Connection(self._loop, sock, self._received, self._closed, self._drained)

    def _received(self, connection: Connection, message: Message) -> None:
        if connection is self.current:
            self._on_message(message)
        elif "hello" in message:
            LOG.info("a server has attached: %s", {key: message[key] for key in sorted(message)})
            if self.current:
                LOG.warning("it takes the place of the one before")
                self.current.send(encode({"kind": "replaced"}))
                self.current.close()
            self.current = connection
            self._on_attached(connection)

    def _closed(self, connection: Connection) -> None:
        if connection is self.current:
            LOG.info("the server is gone")
            self.current = None
            self._on_detached()

    def _drained(self, connection: Connection) -> None:
        if connection is self.current:
            self._on_drained(connection)
