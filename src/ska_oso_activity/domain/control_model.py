"""The words of SKA's control model: modes, health, commands, levels of logging (domain layer)."""

from __future__ import annotations

from enum import IntEnum


class AdminMode(IntEnum):
    """Whether the device is in use (ska-control-model)."""

    ONLINE = 0  # in use
    OFFLINE = 1  # takes no new work; what runs goes on
    ENGINEERING = 2  # in use for tests
    NOT_FITTED = 3
    RESERVED = 4


class HealthState(IntEnum):
    """How well the device can do its work (ska-control-model)."""

    OK = 0
    DEGRADED = 1
    FAILED = 2
    UNKNOWN = 3


class ControlMode(IntEnum):
    """Who may control the device (ska-control-model); nothing enforces it."""

    REMOTE = 0
    LOCAL = 1


class SimulationMode(IntEnum):
    """Whether hardware is simulated (ska-control-model); we have none."""

    FALSE = 0
    TRUE = 1


class TestMode(IntEnum):
    """Whether the device is under test (ska-control-model)."""

    NONE = 0
    TEST = 1


class LoggingLevel(IntEnum):
    """How much is logged (ska-control-model)."""

    OFF = 0
    FATAL = 1
    ERROR = 2
    WARNING = 3
    INFO = 4
    DEBUG = 5


class ResultCode(IntEnum):
    """What a command returns, and the code of its result (ska-control-model)."""

    OK = 0
    STARTED = 1
    QUEUED = 2
    FAILED = 3
    UNKNOWN = 4
    REJECTED = 5
    NOT_ALLOWED = 6
    ABORTED = 7


class TaskStatus(IntEnum):
    """What a long-running command is doing (values are on the wire, as ska-tango-base has them).

    STAGING 0, QUEUED 1, IN_PROGRESS 2, ABORTED 3, NOT_FOUND 4, COMPLETED 5, REJECTED 6, FAILED 7.
    """

    STAGING = 0
    QUEUED = 1
    IN_PROGRESS = 2
    ABORTED = 3
    NOT_FOUND = 4
    COMPLETED = 5
    REJECTED = 6
    FAILED = 7


ENDED = frozenset(
    {TaskStatus.ABORTED, TaskStatus.COMPLETED, TaskStatus.REJECTED, TaskStatus.FAILED}
)
"""Statuses of commands that are over."""

IN_USE = frozenset({AdminMode.ONLINE, AdminMode.ENGINEERING})
_AWAY = frozenset({AdminMode.NOT_FITTED, AdminMode.RESERVED})
_IDLE = _AWAY | {AdminMode.OFFLINE}
ADMIN_TRANSITIONS: dict[AdminMode, frozenset[AdminMode]] = {
    AdminMode.ONLINE: IN_USE | {AdminMode.OFFLINE},
    AdminMode.ENGINEERING: IN_USE | {AdminMode.OFFLINE},
    AdminMode.OFFLINE: frozenset(AdminMode),
    AdminMode.NOT_FITTED: _IDLE,
    AdminMode.RESERVED: _IDLE,
}
"""From a mode to those that may be written next."""
