"""How a simulated device answers a command (simulators; no Tango)."""

from __future__ import annotations

from dataclasses import dataclass

from ska_oso_activity.domain.control_model import ResultCode


@dataclass(frozen=True)
class Answer:
    """What a command returns: `[[code], [text]]`.

    Attributes:
        text: the command's id if it was accepted, else why it was not.
    """

    code: int
    text: str

    @property
    def accepted(self) -> bool:
        return self.code in {ResultCode.QUEUED, ResultCode.STARTED}


class NotAllowed(Exception):
    """The command is refused by an exception (a DevFailed), before it is looked at."""


class BadArgument(ValueError):
    """An argument that TMC would not take; the message says what was expected."""


def exception(device: str, code: int, text: str) -> Answer:
    """How a command ends that went wrong in a device, in TMC's words."""
    return Answer(code, f"{EXCEPTION}: {device}: {text}")


COMPLETED = Answer(ResultCode.OK, "Command Completed")
EXCEPTION = "Exception occurred on the following devices"
TIMED_OUT = "Timeout has occurred, command failed"
ABORTED = "Command has been aborted"
