"""What our devices tell about activities, as values; keys that we do not know are kept (client)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from ska_oso_activity.domain.activity import TERMINAL, ActivityState

T = TypeVar("T")


def state_named(name: str) -> ActivityState:
    """A state by its name; one that only a later release of the device knows is UNKNOWN."""
    return ActivityState.__members__.get(name, ActivityState.UNKNOWN)


@dataclass(frozen=True)
class ActivityRequest:
    """A request to run an activity, or to check it; names and meanings are the Tango interface's.

    Attributes:
        activity_name: key in the block's `activities`.
        sbd_id: the Scheduling Block, newest version; or `sb_uri`, not both.
        script_args: laid over the block's, such as `{"main": {"kwargs": {"repeat": 2}}}`.
        subarray_id: 1 to 16, the lane.
        request_id: the same one again starts nothing new; `run` makes one if there is none.
    """

    activity_name: str
    sbd_id: str | None = None
    sb_uri: str | None = None
    script_args: Mapping[str, Any] | None = None
    prepare_only: bool = False
    create_env: bool = False
    subarray_id: int | None = None
    request_id: str | None = None
    requested_by: str | None = None
    comment: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The argument of RunActivity and ValidateActivity, without what is not given."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return {key: value for key, value in given.items() if value is not None}


@dataclass(frozen=True)
class ActivityEvent:
    """One change of state of one activity.

    Attributes:
        epoch: identity of the device's history; None, as `seq`, where the device no longer keeps
            the event and it is told from the activity's record.
        seq: rises by one per event within the epoch. Remember both to go on after a restart.
        time: UTC, ISO 8601 with microseconds and `Z`.
        reason: why it failed or was stopped, a reason code.
        raw: the device's own words, all keys; a state that we do not know is UNKNOWN, but here.
    """

    activity_id: int
    state: ActivityState
    previous_state: ActivityState
    time: str
    epoch: str | None = None
    seq: int | None = None
    command_id: str = ""
    sbd_id: str | None = None
    sbd_version: int | None = None
    activity_name: str = ""
    subarray_id: int | None = None
    sbi_id: str | None = None
    executor: str | None = None
    procedure_id: int | None = None
    reason: str | None = None
    message: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def of(event: Mapping[str, Any]) -> ActivityEvent:
        """From a value of `activityEvent`."""
        return _made(ActivityEvent, event, "state", "previous_state")

    @property
    def terminal(self) -> bool:
        """Whether nothing follows it."""
        return self.state in TERMINAL


@dataclass(frozen=True)
class ActivitySummary:
    """An activity, as GetActivity tells it; ListActivities leaves the last group out.

    Attributes:
        activity_states: the states passed, each with its time.
        progress: percent.
        abort: the abort script that was run after it: `{procedure_id, state, error}`.
        result: what main returned.
        output_tail: the last lines of output.
        raw: the device's own words, all keys.
    """

    activity_id: int
    state: ActivityState
    command_id: str = ""
    command_ids: tuple[str, ...] = ()
    request_id: str | None = None
    requested_by: str | None = None
    comment: str | None = None
    activity_states: tuple[tuple[str, str], ...] = ()
    sbd_id: str | None = None
    sbd_version: int | None = None
    sb_uri: str | None = None
    activity_name: str = ""
    subarray_id: int | None = None
    prepare_only: bool = False
    create_env: bool = False
    script: Mapping[str, Any] | None = None
    sbi_id: str | None = None
    executor: str | None = None
    procedure_id: int | None = None
    progress: float = 0.0
    message: str = ""
    reason: str | None = None
    error: str | None = None
    abort: Mapping[str, Any] | None = None

    script_args: Mapping[str, Any] | None = None
    stacktrace: str | None = None
    result: Any = None
    output_tail: tuple[OutputLine, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def of(summary: Mapping[str, Any]) -> ActivitySummary:
        """From what GetActivity or ListActivities gives."""
        read = {
            **summary,
            "command_ids": tuple(summary.get("command_ids") or ()),
            "activity_states": tuple(
                (str(name), str(time)) for name, time, *_ in summary.get("activity_states") or ()
            ),
            "output_tail": tuple(map(OutputLine.of, summary.get("output_tail") or ())),
        }
        return _made(ActivitySummary, read, "state", raw=summary)

    @property
    def finished(self) -> bool:
        """Whether it is SUCCEEDED, FAILED or STOPPED."""
        return self.state in TERMINAL

    @property
    def succeeded(self) -> bool:
        """Whether main returned."""
        return self.state is ActivityState.SUCCEEDED


@dataclass(frozen=True)
class OutputLine:
    """A line that a script wrote.

    Attributes:
        n: its number, from 0; a jump means that lines are no longer kept.
        stream: `stdout`, `stderr` or `log`.
        time: UTC, ISO 8601.
    """

    n: int
    text: str
    stream: str = "stdout"
    time: str = ""

    @staticmethod
    def of(line: Mapping[str, Any]) -> OutputLine:
        """From a line as the executor tells it."""
        return _made(OutputLine, line)


@dataclass(frozen=True)
class Finding:
    """Something that would keep an activity from running; `code` is a reason code."""

    code: str
    message: str


@dataclass(frozen=True)
class Validation:
    """What a check of a request came to."""

    valid: bool
    findings: tuple[Finding, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def of(report: Mapping[str, Any]) -> Validation:
        """From the result of ValidateActivity."""
        findings = (_made(Finding, each) for each in report.get("findings") or ())
        return Validation(bool(report["valid"]), tuple(findings), report)


@dataclass(frozen=True)
class BlockDescription:
    """What can be run in a Scheduling Block: `activities` by name, as the device tells them."""

    sbd_id: str | None = None
    version: int | None = None
    telescope: str | None = None
    activities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def of(description: Mapping[str, Any]) -> BlockDescription:
        """From the result of DescribeSchedulingBlock."""
        return _made(BlockDescription, description)


def _made(kind: type[T], told: Mapping[str, Any], *states: str, raw: Any = None) -> T:
    """A value of a dataclass out of JSON: keys that it has not are passed over."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    given = {key: value for key, value in told.items() if key in known}
    given |= {key: state_named(given[key]) for key in states}
    if "raw" in known:
        given["raw"] = told if raw is None else raw
    return kind(**given)
