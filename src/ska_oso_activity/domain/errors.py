"""Every error an operator can act on, each with its reason code (domain layer).

The codes are section 5 of the Tango interface. An error's text says what was asked, what is true
now and what would be accepted; it is translated to a Tango error in one place only, at the device.
"""

from __future__ import annotations

from enum import Enum


class Reason(str, Enum):
    """Reason codes: why an activity failed or stopped, or why a request was refused."""

    # Failures: the activity ends FAILED with one of these.
    SB_NOT_FOUND = "SB_NOT_FOUND"
    SB_INVALID = "SB_INVALID"
    ODA_UNAVAILABLE = "ODA_UNAVAILABLE"
    ACTIVITY_NOT_FOUND = "ACTIVITY_NOT_FOUND"
    SCRIPT_NOT_ALLOWED = "SCRIPT_NOT_ALLOWED"
    SCRIPT_NOT_FOUND = "SCRIPT_NOT_FOUND"
    SCRIPT_LOAD_ERROR = "SCRIPT_LOAD_ERROR"
    ENVIRONMENT_ERROR = "ENVIRONMENT_ERROR"
    SCRIPT_ERROR = "SCRIPT_ERROR"
    SCRIPT_DIED = "SCRIPT_DIED"
    SUBARRAY_BUSY = "SUBARRAY_BUSY"
    EXECUTOR_UNAVAILABLE = "EXECUTOR_UNAVAILABLE"
    EXECUTOR_LOST = "EXECUTOR_LOST"
    TIMEOUT = "TIMEOUT"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    # A stop.
    STOPPED_BY_REQUEST = "STOPPED_BY_REQUEST"
    # Refusals only: nothing was created.
    INVALID_REQUEST = "INVALID_REQUEST"
    NO_CAPACITY = "NO_CAPACITY"
    NO_SPACE = "NO_SPACE"
    NOT_ONLINE = "NOT_ONLINE"
    UNKNOWN_ACTIVITY = "UNKNOWN_ACTIVITY"
    WRONG_STATE = "WRONG_STATE"

    def __str__(self) -> str:
        return self.value


class ActivityError(Exception):
    """Base of all errors that reach an operator.

    Attributes:
        reason: the code, one of `Reason`.
    """

    reason: Reason = Reason.INTERNAL_ERROR

    def __init__(self, message: str | None = None, *, reason: Reason | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        if reason is not None:
            self.reason = reason


class InvalidRequest(ActivityError):
    """The request is malformed, or asks for something that cannot be."""

    reason = Reason.INVALID_REQUEST


class SubarrayBusy(ActivityError):
    """Another activity holds the subarray."""

    reason = Reason.SUBARRAY_BUSY


class NoCapacity(ActivityError):
    """There is no room for another activity now."""

    reason = Reason.NO_CAPACITY


class NoSpace(ActivityError):
    """The disk takes no record, so nothing can be accepted."""

    reason = Reason.NO_SPACE


class NotOnline(ActivityError):
    """The device's adminMode accepts no new work."""

    reason = Reason.NOT_ONLINE


class UnknownActivity(ActivityError):
    """No activity, procedure or check is known by that id."""

    reason = Reason.UNKNOWN_ACTIVITY


class WrongState(ActivityError):
    """The state machine does not allow this now."""

    reason = Reason.WRONG_STATE


class SchedulingBlockNotFound(ActivityError):
    """The archive has no such Scheduling Block."""

    reason = Reason.SB_NOT_FOUND


class SchedulingBlockInvalid(ActivityError):
    """The Scheduling Block cannot be read as one."""

    reason = Reason.SB_INVALID


class OdaUnavailable(ActivityError):
    """The archive does not answer."""

    reason = Reason.ODA_UNAVAILABLE


class ActivityNotFound(ActivityError):
    """The Scheduling Block has no activity of that name."""

    reason = Reason.ACTIVITY_NOT_FOUND


class ScriptNotAllowed(ActivityError):
    """The script is not from an allowed place."""

    reason = Reason.SCRIPT_NOT_ALLOWED


class ScriptNotFound(ActivityError):
    """There is no such script file."""

    reason = Reason.SCRIPT_NOT_FOUND


class ScriptLoadError(ActivityError):
    """The script does not compile, or its import fails, or it has nothing to start."""

    reason = Reason.SCRIPT_LOAD_ERROR


class EnvironmentFailed(ActivityError):
    """The script's repository or environment could not be made ready."""

    reason = Reason.ENVIRONMENT_ERROR


class ExecutorUnavailable(ActivityError):
    """The executor cannot be asked; nothing was delivered to it."""

    reason = Reason.EXECUTOR_UNAVAILABLE


class ExecutorUncertain(ExecutorUnavailable):
    """The executor did not answer, and it may or may not have received the command."""


class ExecutorLost(ActivityError):
    """The script was running and its host is gone."""

    reason = Reason.EXECUTOR_LOST


class StateMachineError(ActivityError):
    """A transition that the table does not have was attempted: a defect of ours."""
