"""Procedures: one script in one process; its states, commands and facts (domain layer)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Any

from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.errors import Reason, StateMachineError
from ska_oso_activity.domain.script import Script


class ProcedureState(IntEnum):
    """What a script's process is doing (values are on the wire)."""

    UNKNOWN = 0  # there is no procedure yet
    CREATING = 1  # accepted; the process is being made
    PREP_ENV = 2  # the repository or the environment is being made ready
    IDLE = 3  # the process is there
    LOADING = 4  # the script is being imported
    INITIALISING = 5  # init is running
    READY = 6  # main can start
    RUNNING = 7  # main is running
    COMPLETE = 8  # main returned and every process of the script is gone
    STOPPED = 9  # ended by a stop, every process of the script is gone
    FAILED = 10  # it raised, died or never came up; `reason` says which


TERMINAL = frozenset({ProcedureState.COMPLETE, ProcedureState.STOPPED, ProcedureState.FAILED})
"""States that nothing follows."""

_P = ProcedureState
_ENDS = frozenset({_P.STOPPED, _P.FAILED})
TRANSITIONS: Mapping[ProcedureState, frozenset[ProcedureState]] = {
    _P.UNKNOWN: frozenset({_P.CREATING}),
    _P.CREATING: frozenset({_P.PREP_ENV, _P.IDLE}) | _ENDS,
    _P.PREP_ENV: frozenset({_P.IDLE}) | _ENDS,
    _P.IDLE: frozenset({_P.LOADING}) | _ENDS,
    _P.LOADING: frozenset({_P.INITIALISING, _P.READY}) | _ENDS,
    _P.INITIALISING: frozenset({_P.READY}) | _ENDS,
    _P.READY: frozenset({_P.RUNNING}) | _ENDS,
    _P.RUNNING: frozenset({_P.COMPLETE}) | _ENDS,
    _P.COMPLETE: frozenset(),
    _P.STOPPED: frozenset(),
    _P.FAILED: frozenset(),
}
"""The state machine: from a state to those that may follow it."""


@dataclass(frozen=True)
class BlockContent:
    """A Scheduling Block on its way to a script, its text untouched."""

    sbd_id: str | None
    version: int | None
    content: str


@dataclass(frozen=True)
class PrepareProcessCommand:
    """Make a process, load the script and run its init."""

    request_id: str
    script: Script
    init_args: ProcedureInput = field(default_factory=ProcedureInput)
    scheduling_block: BlockContent | None = None
    subarray_id: int | None = None
    telescope: str | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)
    main_args: ProcedureInput | None = None
    """For CheckProcess: what main will be given, as far as is known."""


@dataclass(frozen=True)
class StartProcessCommand:
    """Run a function of a prepared script."""

    procedure_id: int
    function: str = "main"
    args: ProcedureInput = field(default_factory=ProcedureInput)
    force_start: bool = False
    subarray_id: int | None = None
    """The lane, where it was not known when the script was prepared."""


@dataclass(frozen=True)
class StopProcessCommand:
    """Stop a script; afterwards run the abort script if asked."""

    procedure_id: int
    run_abort: bool = False


@dataclass(frozen=True)
class ProcedureEvent:
    """One transition of one procedure, a fact taken at the moment it happened."""

    epoch: str
    seq: int
    time: str
    procedure_id: int
    request_id: str
    state: str
    previous_state: str
    pid: int | None
    exit_code: int | None
    signal: int | None
    reason: str | None
    error: str | None


@dataclass
class Procedure:
    """One script in one process, from PrepareProcess to its end.

    Owned by the procedure register, which alone changes it. Field names are those of the summary
    that GetProcess gives; the last group is for us alone.
    """

    procedure_id: int
    request_id: str
    script: dict[str, Any]
    state: ProcedureState = ProcedureState.UNKNOWN
    procedure_states: list[tuple[str, str]] = field(default_factory=list)
    pid: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: Reason | None = None
    error: str | None = None
    result: Any = None
    stacktrace: str | None = None
    progress: float = 0.0
    message: str = ""
    subarray_id: int | None = None
    labels: dict[str, Any] = field(default_factory=dict)
    output_tail: list[dict[str, Any]] = field(default_factory=list)

    # For us alone.
    last_event: dict[str, Any] = field(default_factory=dict)
    telescope: str | None = None
    block_path: str | None = None
    """The Scheduling Block's file, removed with the record."""
    start: dict[str, Any] | None = None
    """What StartProcess asked for, once it has: a function is started at most once."""
    stop_requested: bool = False
    run_abort: bool = False
    was_ready: bool = False

    @property
    def finished(self) -> bool:
        """Whether the procedure has reached a terminal state."""
        return self.state in TERMINAL

    def change_state(
        self, state: ProcedureState, *, epoch: str, seq: int, time: str
    ) -> ProcedureEvent:
        """Move to `state` and return the event that says so, with what is known of the process.

        Raises:
            StateMachineError: the table has no such transition; nothing is changed.
        """
        if state not in TRANSITIONS[self.state]:
            raise StateMachineError(
                f"procedure {self.procedure_id} is {self.state.name}: it cannot become {state.name}"
            )
        previous, self.state = self.state, state
        self.procedure_states.append((state.name, time))
        if state is ProcedureState.READY:
            self.was_ready = True
        return ProcedureEvent(
            epoch=epoch,
            seq=seq,
            time=time,
            procedure_id=self.procedure_id,
            request_id=self.request_id,
            state=state.name,
            previous_state=previous.name,
            pid=self.pid,
            exit_code=self.exit_code,
            signal=self.signal,
            reason=None if self.reason is None else self.reason.value,
            error=self.error,
        )


@lru_cache(maxsize=1024)
def abort_request_id(request_id: str) -> str:
    """The `request_id` of the abort script that follows the stop of the procedure of `request_id`.

    Both devices can work it out, so the abort script's events find their activity whatever was
    lost on the way.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"ska-oso-activity:abort:{request_id}"))
