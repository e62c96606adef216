"""Activities: their states, the table of transitions, and the facts told about them.

Domain layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any

from ska_oso_activity.domain.arguments import FunctionArguments
from ska_oso_activity.domain.errors import Reason, StateMachineError


class ActivityState(IntEnum):
    """What an activity is doing, as the person watching would say it (values are on the wire)."""

    NONE = 0  # there is no activity yet
    REQUESTED = 1  # accepted and on disk, nothing done yet
    PREPARING = 2  # fetching the block, building the environment, loading, running init
    READY = 3  # init has run; main can start
    RUNNING = 4  # main is running
    STOPPING = 5  # a stop was asked for; the script is on its way out
    SUCCEEDED = 6  # main returned
    FAILED = 7  # it cannot go on; `reason` says why
    STOPPED = 8  # ended by a stop
    UNKNOWN = 9  # the executor cannot be asked; the truth is found when it is back


TERMINAL = frozenset({ActivityState.SUCCEEDED, ActivityState.FAILED, ActivityState.STOPPED})
"""States that nothing follows."""

STOPPABLE = frozenset(ActivityState) - TERMINAL - {ActivityState.NONE}
"""States of an activity that is not finished."""

_S = ActivityState
TRANSITIONS: Mapping[ActivityState, frozenset[ActivityState]] = {
    _S.NONE: frozenset({_S.REQUESTED}),
    _S.REQUESTED: frozenset({_S.PREPARING, _S.STOPPING, _S.FAILED, _S.UNKNOWN}),
    _S.PREPARING: frozenset({_S.READY, _S.STOPPING, _S.FAILED, _S.UNKNOWN}),
    _S.READY: frozenset({_S.RUNNING, _S.STOPPING, _S.FAILED, _S.UNKNOWN}),
    _S.RUNNING: frozenset({_S.SUCCEEDED, _S.STOPPING, _S.FAILED, _S.UNKNOWN}),
    _S.STOPPING: frozenset({_S.STOPPED, _S.SUCCEEDED, _S.FAILED, _S.UNKNOWN}),
    _S.UNKNOWN: frozenset({_S.PREPARING, _S.READY, _S.RUNNING, _S.STOPPING}) | TERMINAL,
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.STOPPED: frozenset(),
}
"""The state machine: from a state to those that may follow it."""


ABORT_ENDED = frozenset({"COMPLETE", "FAILED", "STOPPED"})
"""States of an abort script's procedure after which the lane is free again."""


class Delivery(str, Enum):
    """How far the command that makes an activity's process has come."""

    NONE = "NONE"  # nothing was sent: a stop needs nobody's help
    SENDING = "SENDING"  # it is being tried; a failed attempt delivered nothing
    UNCERTAIN = "UNCERTAIN"  # it was sent and not answered
    DELIVERED = "DELIVERED"  # the executor has it


@dataclass(frozen=True)
class ActivityEvent:
    """One transition of one activity, a fact taken at the moment it happened.

    Attributes:
        seq: rises by one per event within an epoch.
        time: UTC, ISO 8601 with microseconds and `Z`.
    """

    epoch: str
    seq: int
    time: str
    activity_id: int
    command_id: str
    state: str
    previous_state: str
    sbd_id: str | None
    sbd_version: int | None
    activity_name: str
    subarray_id: int | None
    sbi_id: str | None
    executor: str | None
    procedure_id: int | None
    reason: str | None
    message: str


@dataclass
class Activity:
    """One run of one activity of a Scheduling Block, from request to end.

    Owned by the activity register, which alone changes it. Field names are those of the summary
    that GetActivity gives (section 2.2 of the Tango interface); the last group is for us alone.
    """

    activity_id: int
    command_id: str
    activity_name: str
    sbd_id: str | None = None
    sb_uri: str = ""
    command_ids: list[str] = field(default_factory=list)
    request_id: str | None = None
    requested_by: str | None = None
    comment: str | None = None
    state: ActivityState = ActivityState.NONE
    activity_states: list[tuple[str, str]] = field(default_factory=list)
    sbd_version: int | None = None
    subarray_id: int | None = None
    prepare_only: bool = False
    create_env: bool = False
    script_args: FunctionArguments = field(default_factory=dict)
    script: dict[str, Any] | None = None
    sbi_id: str | None = None
    executor: str | None = None
    procedure_id: int | None = None
    progress: float = 0.0
    message: str = ""
    reason: Reason | None = None
    error: str | None = None
    stacktrace: str | None = None
    result: Any = None
    abort: dict[str, Any] | None = None
    output_tail: list[dict[str, Any]] = field(default_factory=list)

    # For us alone.
    telescope: str | None = None
    execution_id: str | None = None
    """The `request_id` of PrepareProcess, chosen with the executor when the request is accepted:
    whatever is forgotten by a crash, the same executor is asked for the same procedure."""
    delivery: Delivery = Delivery.NONE
    runtime_args: FunctionArguments = field(default_factory=dict)
    """The request's own arguments, as the SBI records them."""
    start_requested: bool = False
    """main is to run (not `prepare_only`, or StartActivity was accepted)."""
    start_sent: bool = False
    """The executor has StartProcess."""
    sbi_settled: bool = False
    """The SBI exists, or none is due."""
    failing: dict[str, str] | None = None
    """Reason and error of a failure that waits for the script's process to be gone."""
    stop_requested: bool = False
    run_abort: bool = False
    abort_skipped: str | None = None
    """Why no abort script follows the stop, where one was asked for."""
    over_time: str = ""
    """When the abort script had ended, if there was one."""
    was_ready: bool = False
    """READY was reached: from then on a stop may run the abort script."""

    @property
    def finished(self) -> bool:
        """Whether the activity has reached a terminal state."""
        return self.state in TERMINAL

    @property
    def abort_pending(self) -> bool:
        """Whether the abort script is still to end; the lane is held until then."""
        return self.abort is not None and self.abort.get("state") not in ABORT_ENDED

    @property
    def holds_lane(self) -> bool:
        """Whether this activity holds its subarray against others."""
        if self.subarray_id is None:
            return False
        return self.abort_pending or (self.start_requested and not self.finished)

    def change_state(
        self,
        state: ActivityState,
        *,
        epoch: str,
        seq: int,
        time: str,
        reason: Reason | None = None,
        message: str = "",
    ) -> ActivityEvent:
        """Move to `state` and return the event that says so.

        Raises:
            StateMachineError: the table has no such transition; nothing is changed.
        """
        if state not in TRANSITIONS[self.state]:
            raise StateMachineError(
                f"activity {self.activity_id} is {self.state.name}: it cannot become {state.name}"
            )
        previous, self.state = self.state, state
        self.activity_states.append((state.name, time))
        self.reason = reason
        if state is ActivityState.READY:
            self.was_ready = True
        return ActivityEvent(
            epoch=epoch,
            seq=seq,
            time=time,
            activity_id=self.activity_id,
            command_id=self.command_id,
            state=state.name,
            previous_state=previous.name,
            sbd_id=self.sbd_id,
            sbd_version=self.sbd_version,
            activity_name=self.activity_name,
            subarray_id=self.subarray_id,
            sbi_id=self.sbi_id,
            executor=self.executor,
            procedure_id=self.procedure_id,
            reason=None if reason is None else reason.value,
            message=message,
        )
