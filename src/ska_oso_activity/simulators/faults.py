"""What a simulated device can be told to do wrong (simulators; no Tango).

Names and numbers of the faults are those of the helper devices that TMC's own tests use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.control_model import ResultCode
from ska_oso_activity.simulators.answers import BadArgument
from ska_oso_activity.simulators.obs_state import ObsState


class FaultType(IntEnum):
    """How commands go wrong."""

    NONE = 0
    NOT_ALLOWED_BEFORE_QUEUING = 1  # a DevFailed
    FAILED_RESULT = 2  # [[3], [message]] at once; obsState passes through target_obsstates
    LONG_RUNNING_EXCEPTION = 3  # fails after the delay, and obsState goes back
    STUCK_IN_INTERMEDIATE_STATE = 4  # stays there, and no result ever comes
    STUCK_IN_OBSSTATE = 5  # stays there, and the command fails
    NOT_ALLOWED_AFTER_QUEUING = 6  # accepted, then REJECTED


FREEING = frozenset({"Abort", "Restart"})
DEFAULT_MESSAGE = "Device is defective, cannot process command completely."


@dataclass(frozen=True)
class Defect:
    """What is wrong with a device now, and with which of its commands.

    Attributes:
        result: code of the failure.
        intermediate_state: where to get stuck; None: in the command's own transitional state.
        target_obsstates: states to pass through, and to end in.
        commands: commands that it is about; none: all but Abort and Restart, so that what is
            stuck can be freed.
        hang: seconds for which a command does not answer, before anything else.
        die_at: state on whose entry the process ends; None: it does not.
    """

    fault: FaultType = FaultType.NONE
    message: str = DEFAULT_MESSAGE
    result: int = ResultCode.FAILED
    intermediate_state: ObsState | None = None
    target_obsstates: tuple[ObsState, ...] = ()
    commands: frozenset[str] = field(default_factory=frozenset)
    hang: float = 0.0
    die_at: ObsState | None = None

    def concerns(self, command: str) -> bool:
        return command in self.commands if self.commands else command not in FREEING


HEALTHY = Defect()
KEYS = frozenset({
    *("enabled", "fault_type", "error_message", "result", "intermediate_state"),
    *("target_obsstates", "commands", "hang", "die_at"),
})  # fmt: skip


def read_defect(text: str) -> Defect:
    """Take SetDefective's argument.

    Raises:
        BadArgument: it is not an object of the known keys and values.
    """
    try:
        told = strict_json.loads(text)
    except strict_json.NotJson as error:
        raise BadArgument(f"it is not JSON: {error}") from error
    if not isinstance(told, Mapping):
        raise BadArgument(f"it is not an object, but {type(told).__name__}")
    unknown = sorted(set(told) - KEYS)
    if unknown:
        raise BadArgument(f"unknown keys: {', '.join(unknown)}; known: {', '.join(sorted(KEYS))}")
    if not told.get("enabled", False):
        return HEALTHY
    hang = told.get("hang", 0.0)
    if isinstance(hang, bool) or not isinstance(hang, (int, float)) or hang < 0:
        raise BadArgument(f"hang is {hang!r:.80}; seconds are expected")
    try:
        return Defect(
            fault=_member(FaultType, told.get("fault_type", 0)),
            message=str(told.get("error_message", DEFAULT_MESSAGE)),
            result=int(_member(ResultCode, told.get("result", ResultCode.FAILED))),
            intermediate_state=_state(told.get("intermediate_state")),
            target_obsstates=tuple(
                _member(ObsState, each) for each in told.get("target_obsstates") or ()
            ),
            commands=frozenset(map(str, told.get("commands") or ())),
            hang=float(hang),
            die_at=_state(told.get("die_at")),
        )
    except (TypeError, ValueError) as error:
        raise BadArgument(str(error)) from error


_Enum = TypeVar("_Enum", bound=IntEnum)


def _state(value: Any) -> ObsState | None:
    return None if value is None else _member(ObsState, value)


def _member(enum: type[_Enum], value: Any) -> _Enum:
    """A member by its number or its name."""
    if isinstance(value, str) and value in enum.__members__:
        return enum[value]
    if isinstance(value, int) and not isinstance(value, bool) and value in list(enum):
        return enum(value)
    known = ", ".join(f"{each.value} {each.name}" for each in enum)
    raise BadArgument(f"{value!r:.80} is no {enum.__name__}; possible are {known}")
