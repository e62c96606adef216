"""What the log is sent to that may be slow: syslog servers, Tango's own logging (devices layer)."""

from __future__ import annotations

import logging
import logging.handlers
import queue
import socket
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import tango
from tango.server import Device

from ska_oso_activity.devices.publisher import on_the_wire
from ska_oso_activity.domain.control_model import LoggingLevel

CONNECT_SECONDS = 1.0
"""How long a syslog server may take to accept a connection, and later to take a line."""
QUEUED_LINES = 10_000
"""Lines that wait for a slow sink; more are left out."""
LAST_LINES_SECONDS = 1.0
"""How long the end of the process waits for lines that are still to be sent."""

_L = LoggingLevel
PYTHON_LEVELS = {
    _L.OFF: logging.CRITICAL + 10,
    _L.FATAL: logging.CRITICAL,
    _L.ERROR: logging.ERROR,
    _L.WARNING: logging.WARNING,
    _L.INFO: logging.INFO,
    _L.DEBUG: logging.DEBUG,
}
TANGO_LEVELS = {
    _L.OFF: tango.LogLevel.LOG_OFF,
    _L.FATAL: tango.LogLevel.LOG_FATAL,
    _L.ERROR: tango.LogLevel.LOG_ERROR,
    _L.WARNING: tango.LogLevel.LOG_WARN,
    _L.INFO: tango.LogLevel.LOG_INFO,
    _L.DEBUG: tango.LogLevel.LOG_DEBUG,
}
SYSLOG_LEVELS = {
    _L.FATAL: logging.handlers.SysLogHandler.LOG_CRIT,
    _L.ERROR: logging.handlers.SysLogHandler.LOG_ERR,
    _L.WARNING: logging.handlers.SysLogHandler.LOG_WARNING,
    _L.INFO: logging.handlers.SysLogHandler.LOG_INFO,
    _L.DEBUG: logging.handlers.SysLogHandler.LOG_DEBUG,
}
"""Severities (RFC 5424, 6.2.1)."""

_FACILITY = logging.handlers.SysLogHandler.LOG_SYSLOG << 3


class BadTarget(ValueError):
    """A logging target that cannot be used."""


class Sink(Protocol):
    """Something that takes lines; only one thread speaks to it."""

    def write(self, level: int, line: str) -> None:
        """Take a line of one of Python's levels.

        Raises:
            OSError: it could not; the next one may do better.
        """

    def close(self) -> None:
        """Let go of it."""


class Unhurried(logging.Handler):
    """Hands lines to a sink that may be slow, from a thread of its own, which also opens it.

    Args:
        open_sink: connects to the sink; it may take long, and raise BadTarget or OSError.
    """

    def __init__(self, open_sink: Callable[[], Sink]) -> None:
        super().__init__()
        self._open_sink = open_sink
        self._opened: futures.Future[None] = futures.Future()
        # Without a limit of its own, so that what ends the thread always finds room.
        self._lines: queue.SimpleQueue[tuple[int, str] | threading.Event | None]
        self._lines = queue.SimpleQueue()
        self._let_go = threading.Event()
        threading.Thread(target=self._work, name="log", daemon=True).start()

    def require_open(self, seconds: float) -> None:
        """Wait until lines can be sent.

        Raises:
            BadTarget: the sink is not what its name says.
            OSError: it cannot be opened, or that takes longer.
        """
        try:
            self._opened.result(seconds)
        except futures.TimeoutError:  # an OSError only from Python 3.11 on
            raise TimeoutError(
                f"it has not answered within {CONNECT_SECONDS:g} s; try again when it does"
            ) from None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._lines.qsize() < QUEUED_LINES:  # what does not keep up holds nothing up
                self._lines.put((record.levelno, self.format(record)))
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait a little for what is still to be sent; Python does so as the process ends."""
        if self._opened.done() and not self._let_go.is_set():
            sent = threading.Event()
            self._lines.put(sent)
            sent.wait(LAST_LINES_SECONDS)

    def close(self) -> None:
        """Take no more; what was taken is sent without anybody waiting for it."""
        if not self._let_go.is_set():
            self._let_go.set()
            self._lines.put(None)
        super().close()

    def _work(self) -> None:
        # Tango wants to know of threads that call it.
        with tango.EnsureOmniThread():
            try:
                sink = self._open_sink()
            except Exception as error:
                self._opened.set_exception(error)
                return
            self._opened.set_result(None)
            try:
                self._hand_on(sink)
            finally:
                sink.close()

    def _hand_on(self, sink: Sink) -> None:
        while (line := self._lines.get()) is not None:
            if isinstance(line, threading.Event):
                line.set()
                continue
            try:
                sink.write(*line)
            except Exception:  # it has told nobody, and cannot: this is the log
                if self._let_go.is_set():
                    return  # nobody asks for the rest, and each line may take as long


class TangoSink:
    """Tango's own logging service, as one device uses it."""

    def __init__(self, device: Device) -> None:
        self._device = device  # the logger is a part of it
        self._logger = device.get_logger()

    def write(self, level: int, line: str) -> None:
        self._logger.log(TANGO_LEVELS[_logging_level(level)], on_the_wire(line))

    def close(self) -> None:
        """Nothing is held."""


class SyslogSink:
    """A syslog server; a lost connection is made again at the next line.

    Python's own SysLogHandler connects without a limit, and before 3.11 only once.

    Args:
        name: URL of the server, see `syslog_address`.

    Raises:
        BadTarget: there is no such socket on this machine.
        OSError: it does not answer.
    """

    def __init__(self, name: str) -> None:
        self._address, self._kind = syslog_address(name)
        if isinstance(self._address, str) and not Path(self._address).is_socket():
            raise BadTarget(f"{self._address} is no socket of a syslog server")
        # Streams are cut into lines; a datagram ends with NUL, as Python's handler has it.
        self._end = b"\n" if self._kind == socket.SOCK_STREAM else b"\0"
        self._socket: socket.socket | None = self._connect()

    def write(self, level: int, line: str) -> None:
        priority = _FACILITY | SYSLOG_LEVELS[_logging_level(level)]
        text = f"<{priority}>{line}".encode("utf-8", "backslashreplace") + self._end
        try:
            if self._socket is None:
                self._socket = self._connect()
            self._socket.sendall(text)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        if isinstance(self._address, str):
            found = socket.socket(socket.AF_UNIX, self._kind)
            where: str | tuple[object, ...] = self._address
        elif self._kind == socket.SOCK_STREAM:
            return socket.create_connection(self._address, CONNECT_SECONDS)
        else:
            family, _, _, _, where = socket.getaddrinfo(*self._address, type=self._kind)[0]
            found = socket.socket(family, self._kind)
        try:
            found.settimeout(CONNECT_SECONDS)
            found.connect(where)
        except OSError:
            found.close()
            raise
        return found


def _logging_level(level: int) -> LoggingLevel:
    """What SKA calls one of Python's levels, or a level between two of them."""
    return next((each for each in SYSLOG_LEVELS if level >= PYTHON_LEVELS[each]), _L.DEBUG)


def syslog_address(name: str) -> tuple[str | tuple[str, int], socket.SocketKind]:
    """Where a syslog server is, from the name of a target.

    Raises:
        BadTarget: it is not a URL of the kinds we know.
    """
    try:
        url = urlsplit(name)
        if url.scheme == "file" and url.path:
            return url.path, socket.SOCK_DGRAM
        if url.scheme in {"udp", "tcp"} and url.hostname:
            kind = socket.SOCK_DGRAM if url.scheme == "udp" else socket.SOCK_STREAM
            return (url.hostname, url.port or logging.handlers.SYSLOG_UDP_PORT), kind
    except ValueError as error:
        raise BadTarget(f"syslog::{name} is no logging target: {error}") from error
    raise BadTarget(
        f"syslog::{name} is no logging target: a syslog target names its server, as "
        "syslog::udp://<host>:<port>, syslog::tcp://<host>:<port> or syslog::file:///dev/log"
    )
