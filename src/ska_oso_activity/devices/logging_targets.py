"""Where the log goes: the targets of loggingTargets (devices layer)."""

from __future__ import annotations

import logging
import logging.handlers
import stat
import sys
import threading
import time
from pathlib import Path

from tango.server import Device

from ska_oso_activity.devices.log_format import SkaFormatter
from ska_oso_activity.devices.log_sinks import (
    CONNECT_SECONDS,
    PYTHON_LEVELS,
    TANGO_LEVELS,
    BadTarget,
    SyslogSink,
    TangoSink,
    Unhurried,
    syslog_address,
)
from ska_oso_activity.domain.control_model import LoggingLevel

__all__ = ["MAX_TARGETS", "PROCESS_LOG", "BadTarget", "ProcessLog", "read_targets"]

MAX_TARGETS = 4
FILE_BYTES = 1024 * 1024
"""A log file that has become so long is put aside; two such are kept beside the newest."""

_FORMS = (
    "console::cout, file::<path>, syslog::udp://<host>:<port>, syslog::tcp://<host>:<port>, "
    "syslog::file://<socket> and tango::logger"
)


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
            syslog_address(name)
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
            new = {_key(each, name): each for each in targets}
            new = {key: target for key, target in new.items() if key not in self._sinks}
            self._sinks.update(self._open_all(new, device))
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

    def _open_all(self, targets: dict[str, str], device: Device) -> dict[str, logging.Handler]:
        """The sinks of these targets, in `CONNECT_SECONDS` or not at all.

        Raises:
            BadTarget: one cannot be opened.
        """
        deadline = time.monotonic() + CONNECT_SECONDS
        opened: dict[str, logging.Handler] = {}
        target = ""
        try:
            for key, target in targets.items():
                opened[key] = self._open(target, device)
            for key, handler in opened.items():
                target = targets[key]
                if isinstance(handler, Unhurried):  # they connect at the same time
                    handler.require_open(max(0.0, deadline - time.monotonic()))
        except (OSError, ValueError) as error:  # ValueError: no name that can be looked up
            for handler in opened.values():
                handler.close()
            if isinstance(error, BadTarget):
                raise
            raise BadTarget(f"logging target {target} cannot be used: {error}") from error
        return opened

    def _open(self, target: str, device: Device) -> logging.Handler:
        kind, _, name = target.partition("::")
        handler: logging.Handler
        if kind == "console":
            handler = logging.StreamHandler(sys.stdout)
        elif kind == "file":
            _require_log_file(Path(name))
            handler = logging.handlers.RotatingFileHandler(
                name, maxBytes=FILE_BYTES, backupCount=2, encoding="utf-8"
            )
        elif kind == "syslog":
            handler = Unhurried(lambda: SyslogSink(name))
        else:
            handler = Unhurried(lambda: TangoSink(device))
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
