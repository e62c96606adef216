"""Where the log goes: the targets of loggingTargets, and the sinks behind them (devices layer)."""

from __future__ import annotations

import logging
import logging.handlers
import queue
import socket
import stat
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import tango
from tango.server import Device

from ska_oso_activity.devices.control_model import LoggingLevel
from ska_oso_activity.devices.log_format import SkaFormatter

MAX_TARGETS = 4
FILE_BYTES = 1024 * 1024
"""A log file that has become so long is put aside; two such are kept beside the newest."""
CONNECT_SECONDS = 2.0
"""How long a syslog server may take to accept a connection."""
QUEUED_LINES = 10_000
"""Lines that wait for a slow sink; more are left out."""

PYTHON_LEVELS = {
    LoggingLevel.OFF: logging.CRITICAL + 10,
    LoggingLevel.FATAL: logging.CRITICAL,
    LoggingLevel.ERROR: logging.ERROR,
    LoggingLevel.WARNING: logging.WARNING,
    LoggingLevel.INFO: logging.INFO,
    LoggingLevel.DEBUG: logging.DEBUG,
}
TANGO_LEVELS = {
    LoggingLevel.OFF: tango.LogLevel.LOG_OFF,
    LoggingLevel.FATAL: tango.LogLevel.LOG_FATAL,
    LoggingLevel.ERROR: tango.LogLevel.LOG_ERROR,
    LoggingLevel.WARNING: tango.LogLevel.LOG_WARN,
    LoggingLevel.INFO: tango.LogLevel.LOG_INFO,
    LoggingLevel.DEBUG: tango.LogLevel.LOG_DEBUG,
}
_FORMS = (
    "console::cout, file::<path>, syslog::udp://<host>:<port>, syslog::tcp://<host>:<port>, "
    "syslog::file://<socket> and tango::logger"
)


class BadTarget(ValueError):
    """A logging target that cannot be used."""


def read_targets(texts: list[str], device_name: str) -> list[str]:
    """Targets in full: `file` becomes `file::<device>.log`.

    Raises:
        BadTarget: of an unknown type, or without the name that it needs.
    """
    targets: list[str] = []
    defaults = {
        "console": "cout",
        "file": f"{device_name.replace('/', '_')}.log",
        "syslog": "",
        "tango": "logger",
    }
    for text in filter(None, (each.strip() for each in texts)):
        kind, _, name = text.partition("::")
        if kind not in defaults:
            raise BadTarget(f"{text!r} is no logging target: possible are {_FORMS}")
        name = name or defaults[kind]
        if kind in {"console", "tango"} and name != defaults[kind]:
            raise BadTarget(f"{text!r} is no logging target: {kind}::{defaults[kind]} is")
        if kind == "syslog":
            _syslog_address(name)
        if f"{kind}::{name}" not in targets:
            targets.append(f"{kind}::{name}")
    if len(targets) > MAX_TARGETS:
        raise BadTarget(f"{len(targets)} logging targets were given, and {MAX_TARGETS} is the most")
    return targets


class ProcessLog:
    """The log of this process, which the devices in it share.

    stderr has it as long as no device logs to a console target, so that it is never lost or twice
    there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._devices: dict[str, tuple[LoggingLevel, list[str]]] = {}
        self._sinks: dict[str, logging.Handler] = {}
        self._formatter = SkaFormatter()
        self._stderr: logging.Handler | None = None

    def begin(self) -> None:
        """Log to stderr; called once, by the program."""
        root = logging.getLogger()
        if self._stderr is None and not root.handlers:
            self._stderr = logging.StreamHandler(sys.stderr)
            self._stderr.setFormatter(self._formatter)
            root.addHandler(self._stderr)
            root.setLevel(logging.INFO)

    def configure(self, device: Device, level: LoggingLevel, targets: list[str]) -> None:
        """Have a device's part of the log go to these targets from now on.

        Raises:
            BadTarget: one cannot be opened; all stays as it was.
        """
        name = device.get_name().lower()
        with self._lock:
            opened: dict[str, logging.Handler] = {}
            try:
                for target in targets:
                    key = _key(target, name)
                    if key not in self._sinks:
                        opened[key] = self._open(target, device)
            except BadTarget:
                for handler in opened.values():
                    handler.close()
                raise
            self._sinks.update(opened)
            self._devices[name] = (level, targets)
            device.get_logger().set_level(TANGO_LEVELS[level])
            self._settle()

    def forget(self, device: Device) -> None:
        """A device is let go."""
        with self._lock:
            self._devices.pop(device.get_name().lower(), None)
            self._settle()

    def _settle(self) -> None:
        """Have each sink take what its devices ask for, and close those of no device."""
        root = logging.getLogger()
        levels: dict[str, int] = {}
        for name, (level, targets) in self._devices.items():
            for key in (_key(target, name) for target in targets):
                levels[key] = min(PYTHON_LEVELS[level], levels.get(key, 1000))
        for key in list(self._sinks):
            handler = self._sinks[key]
            if key in levels:
                handler.setLevel(levels[key])
                if handler not in root.handlers:
                    root.addHandler(handler)
            else:
                root.removeHandler(handler)
                del self._sinks[key]
                handler.close()
        # What a device is called is said where it is the only one.
        names = list(self._devices)
        self._formatter.tags = f"tango-device:{names[0]}" if len(names) == 1 else ""
        if names:
            lowest = min(PYTHON_LEVELS[level] for level, _ in self._devices.values())
            root.setLevel(lowest)
        if self._stderr is not None:
            if any(key.startswith("console::") for key in levels):
                root.removeHandler(self._stderr)
            elif self._stderr not in root.handlers:
                root.addHandler(self._stderr)

    def _open(self, target: str, device: Device) -> logging.Handler:
        kind, _, name = target.partition("::")
        handler: logging.Handler
        try:
            if kind == "console":
                handler = logging.StreamHandler(sys.stdout)
            elif kind == "file":
                _require_log_file(Path(name))
                handler = logging.handlers.RotatingFileHandler(
                    name, maxBytes=FILE_BYTES, backupCount=2, encoding="utf-8"
                )
            elif kind == "syslog":
                handler = _Unhurried(_syslog(name))
            else:
                handler = _Unhurried(_TangoHandler(device))
        except OSError as error:
            raise BadTarget(f"logging target {target} cannot be used: {error}") from error
        handler.setFormatter(self._formatter)
        return handler


PROCESS_LOG = ProcessLog()
"""That of this process."""


def _key(target: str, device_name: str) -> str:
    """What tells sinks apart: devices share them, but for Tango's own logger."""
    return f"{target} {device_name}" if target.startswith("tango::") else target


def _require_log_file(path: Path) -> None:
    """Refuse to write a log into what is not one.

    Raises:
        BadTarget: the file holds something else.
    """
    if not path.exists():
        return
    if not stat.S_ISREG(path.stat().st_mode):
        raise BadTarget(f"{path} is no file: give the path of a log, or of a file to be")
    with path.open("rb") as file:
        start = file.read(2)
    if start not in (b"", b"1|"):
        raise BadTarget(f"{path} is not a log of ours (its lines begin with '1|'): name another")


# --- Sinks -----------------------------------------------------------------------------------


class _Unhurried(logging.Handler):
    """Hands lines to a sink that may be slow, from a thread of its own."""

    def __init__(self, sink: logging.Handler) -> None:
        super().__init__()
        self._sink = sink
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(QUEUED_LINES)
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            plain = logging.LogRecord(
                record.name, record.levelno, record.pathname, record.lineno, line, None, None
            )
            self._lines.put_nowait(plain)
        except queue.Full:
            pass  # a sink that does not keep up must not hold up the device
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            self._lines.get_nowait()
            self._lines.put_nowait(None)
        self._thread.join(1.0)
        super().close()

    def _work(self) -> None:
        # Tango wants to know of threads that call it.
        with tango.EnsureOmniThread():
            while True:
                record = self._lines.get()
                if record is None:
                    break
                self._sink.emit(record)
            self._sink.close()


class _TangoHandler(logging.Handler):
    """Hands lines to Tango's own logging service."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self._logger = device.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.CRITICAL:
            level = tango.LogLevel.LOG_FATAL
        elif record.levelno >= logging.ERROR:
            level = tango.LogLevel.LOG_ERROR
        elif record.levelno >= logging.WARNING:
            level = tango.LogLevel.LOG_WARN
        elif record.levelno >= logging.INFO:
            level = tango.LogLevel.LOG_INFO
        else:
            level = tango.LogLevel.LOG_DEBUG
        text = record.getMessage().encode("latin-1", "backslashreplace").decode("latin-1")
        self._logger.log(level, text)


class _SyslogHandler(logging.handlers.SysLogHandler):
    """Sends lines to a syslog server; a lost connection is made again at the next line."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() + ("\n" if self.socktype == socket.SOCK_STREAM else "")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        lost: socket.socket | None = getattr(self, "socket", None)
        self.socket = None  # as the handler itself marks a connection that is to be made
        if lost is not None:
            lost.close()


def _syslog(name: str) -> logging.Handler:
    address, kind = _syslog_address(name)
    if isinstance(address, str):
        if not Path(address).is_socket():
            raise BadTarget(f"{address} is no socket of a syslog server")
    elif kind == socket.SOCK_STREAM:
        # The handler would wait for a minute and more.
        socket.create_connection(address, CONNECT_SECONDS).close()
    handler = _SyslogHandler(address, logging.handlers.SysLogHandler.LOG_SYSLOG, kind)
    handler.append_nul = kind != socket.SOCK_STREAM
    return handler


def _syslog_address(name: str) -> tuple[str | tuple[str, int], socket.SocketKind]:
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
