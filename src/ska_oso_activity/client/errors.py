"""What goes wrong for a caller of our devices, as exceptions by reason (client)."""

from __future__ import annotations

from ska_oso_activity.domain.errors import Reason


class ClientError(Exception):
    """Base of all errors of the client library; the text is one sentence for an operator.

    Attributes:
        request_id: what `run` sent, or would have sent, with the request; None: it was not `run`.
    """

    request_id: str | None = None


class DeviceAway(ClientError):
    """A device, or the Tango database, does not answer.

    What was asked may or may not have been done: `ActivityClient.run` and `stop` ask again by
    themselves, for as long as their `patience`.
    """


class AmbiguousDevice(ClientError):
    """The ActivityDevice to talk to must be named."""


class CommandForgotten(ClientError):
    """The device was restarted and no longer knows a long-running command; the activity it does.

    Attributes:
        command_id: of that command; `get` still finds its activity by it.
    """

    def __init__(self, message: str, command_id: str = "") -> None:
        super().__init__(message)
        self.command_id = command_id


class OutOfTime(ClientError, TimeoutError):
    """What was waited for did not happen within the caller's `timeout`; it may still happen."""


class Interrupted(ClientError):
    """The waiting was ended from outside, as a cancelled asyncio task does."""


class Refused(ClientError):
    """A device refused: nothing was changed.

    Attributes:
        reason: the code (section "Reason codes" of the Tango interface); None if it gave none.
    """

    def __init__(self, message: str, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class InvalidRequest(Refused):
    """The request is malformed, or asks for something that cannot be."""


class SubarrayBusy(Refused):
    """Another activity holds the subarray."""


class NoCapacity(Refused):
    """There is no room for another activity now; later there may be."""


class NoSpace(Refused):
    """The disk of the device takes no record."""


class NotOnline(Refused):
    """The adminMode of the device accepts no new work."""


class UnknownActivity(Refused):
    """The device knows no activity by that id, or nothing runs on that subarray."""


class WrongState(Refused):
    """The activity is not in a state that allows this."""


_BY_REASON: dict[Reason, type[Refused]] = {
    Reason.INVALID_REQUEST: InvalidRequest,
    Reason.SUBARRAY_BUSY: SubarrayBusy,
    Reason.NO_CAPACITY: NoCapacity,
    Reason.NO_SPACE: NoSpace,
    Reason.NOT_ONLINE: NotOnline,
    Reason.UNKNOWN_ACTIVITY: UnknownActivity,
    Reason.WRONG_STATE: WrongState,
}


class CommandFailed(ClientError):
    """The device accepted a command and could not do it.

    Attributes:
        reason: the code; None if it gave none.
    """

    def __init__(self, message: str, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.reason = reason if reason is not None else _reason_in(message)


def refused(text: str, reason: str | None = None) -> Refused:
    """The exception for a refusal.

    Args:
        text: the device's sentence; that of a long-running command begins with its code.
        reason: the code of a DevFailed, if there is one; those of Tango itself count as none.
    """
    known = _reason_in(text if reason is None else reason)
    return (Refused if known is None else _BY_REASON.get(known, Refused))(text, known)


def _reason_in(text: str) -> Reason | None:
    code = text.partition(":")[0]
    return Reason(code) if code in Reason.__members__ else None
