"""How much a device logs and where to: loggingLevel, loggingTargets (devices layer)."""

from __future__ import annotations

import logging
import threading
from typing import Any

import tango
from tango import AttrWriteType
from tango.server import attribute, device_property

from ska_oso_activity.devices.logging_targets import (
    MAX_TARGETS,
    PROCESS_LOG,
    BadTarget,
    read_targets,
)
from ska_oso_activity.devices.operating_device import OperatingDevice
from ska_oso_activity.devices.publisher import on_the_wire
from ska_oso_activity.domain.control_model import LoggingLevel

_log = logging.getLogger(__name__)
DEFAULT_TARGET = "tango::logger"


class LoggingDevice(OperatingDevice):
    """A device whose logging clients can change."""

    _logs: tuple[LoggingLevel, list[str]]
    """loggingLevel and loggingTargets as last written."""
    _logs_lock: threading.Lock
    """Held from a look at them until others hold."""

    LoggingLevelDefault = device_property(
        dtype="DevUShort",
        default_value=int(LoggingLevel.INFO),
        doc="loggingLevel at the start: 0 OFF, 1 FATAL, 2 ERROR, 3 WARNING, 4 INFO, 5 DEBUG.",
    )
    LoggingTargetsDefault = device_property(
        dtype=(str,), default_value=[DEFAULT_TARGET], doc="loggingTargets at the start."
    )

    loggingLevel = attribute(
        name="loggingLevel",
        dtype=LoggingLevel,
        access=AttrWriteType.READ_WRITE,
        doc="The least serious messages that are logged.",
    )
    loggingTargets = attribute(
        name="loggingTargets",
        dtype=(str,),
        max_dim_x=MAX_TARGETS,
        access=AttrWriteType.READ_WRITE,
        doc="Where the log goes: console::cout, file::<path>, syslog::<url>, tango::logger.",
    )

    def init_device(self) -> None:
        """Start, or start again."""
        if "_logs" not in vars(self):
            self._logs = (LoggingLevel.INFO, [DEFAULT_TARGET])
            self._logs_lock = threading.Lock()
        super().init_device()

    def first_values(self) -> dict[str, Any]:
        """See `LrcDevice.first_values`."""
        return {
            **super().first_values(),
            "loggingLevel": LoggingLevel.INFO,
            "loggingTargets": [DEFAULT_TARGET],
        }

    def begin_logging(self) -> str | None:
        """Log as the properties say; what is wrong with them, if anything is."""
        try:
            level = LoggingLevel(self.LoggingLevelDefault)
            targets = read_targets(list(self.LoggingTargetsDefault), self.get_name())
            self._log_to(level, targets)
        except ValueError as error:
            self._log_to(LoggingLevel.INFO, [DEFAULT_TARGET])
            return f"properties LoggingLevelDefault, LoggingTargetsDefault: {error}"
        return None

    def end_logging(self) -> None:
        """Let go of the targets."""
        PROCESS_LOG.forget(self)

    def read_loggingLevel(self) -> LoggingLevel:
        return self._logs[0]

    def write_loggingLevel(self, value: int) -> None:
        self._log_to(LoggingLevel(value), None)

    def read_loggingTargets(self) -> list[str]:
        return [on_the_wire(each) for each in self._logs[1]]

    def write_loggingTargets(self, value: list[str]) -> None:
        try:
            targets = read_targets([str(each) for each in value], self.get_name())
            self._log_to(None, targets)
        except BadTarget as error:
            tango.Except.throw_exception(
                "PyDs_PythonError",
                on_the_wire(f"LoggingTargetError: {error}; loggingTargets stays as it was"),
                "write_loggingTargets",
            )

    def _log_to(self, level: LoggingLevel | None, targets: list[str] | None) -> None:
        """Log so from now on; None: as until now.

        Raises:
            BadTarget: a target cannot be opened; all stays as it was.
        """
        with self._logs_lock:
            before = self._logs
            level = before[0] if level is None else level
            targets = before[1] if targets is None else targets
            PROCESS_LOG.configure(self, level, targets)
            self._logs = (level, targets)
            news: list[tuple[str, Any]] = []
            if level != before[0]:
                news.append(("loggingLevel", level))
            if targets != before[1]:
                news.append(("loggingTargets", targets))
            if news:
                self.publisher.publish(news)
