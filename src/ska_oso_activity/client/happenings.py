"""What happens to activities while somebody watches, as small facts (client)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ska_oso_activity.client.values import state_named
from ska_oso_activity.domain.activity import ActivityState


@dataclass(frozen=True)
class StateChanged:
    """An activity changed state; `time` is UTC, `event` the device's own words where known."""

    activity_id: int
    state: ActivityState
    previous_state: ActivityState
    time: str
    message: str = ""
    event: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class OutputWritten:
    """Its script wrote lines: `{"n", "stream", "time", "text"}`; `lost` ones were before them."""

    activity_id: int
    lines: tuple[Mapping[str, Any], ...]
    lost: int = 0


@dataclass(frozen=True)
class Progressed:
    """Its script reported progress, 0 to 100 percent."""

    activity_id: int
    percent: float
    message: str = ""


@dataclass(frozen=True)
class Announced:
    """Its script announced something."""

    activity_id: int
    message: str


@dataclass(frozen=True)
class Finished:
    """An activity that is followed is as far as it was to go; `summary` is all about it."""

    activity_id: int
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Noted:
    """Something about the following itself, such as a device that is away."""

    text: str


Happening = StateChanged | OutputWritten | Progressed | Announced | Finished | Noted


def change_from_event(event: Mapping[str, Any]) -> StateChanged:
    """The state change that an `activityEvent` tells of."""
    reason, message = event.get("reason"), event.get("message") or ""
    return StateChanged(
        event["activity_id"],
        state_named(event["state"]),
        state_named(event["previous_state"]),
        event["time"],
        f"{reason}: {message}" if reason and message else reason or message,
        event,
    )


def event_from_summary(summary: Mapping[str, Any], change: StateChanged) -> dict[str, Any]:
    """An `activityEvent` that the device no longer keeps, as far as the summary tells it."""
    kept = (
        "command_id",
        "sbd_id",
        "sbd_version",
        "activity_name",
        "subarray_id",
        "sbi_id",
        "executor",
        "procedure_id",
    )
    last = change.time == summary["activity_states"][-1][1]
    return {
        "epoch": None,
        "seq": None,
        "time": change.time,
        "activity_id": change.activity_id,
        "state": change.state.name,
        "previous_state": change.previous_state.name,
        **{key: summary.get(key) for key in kept},
        "reason": summary.get("reason") if last else None,
        "message": (summary.get("error") or summary.get("message") or "") if last else "",
    }


def changes_from_summary(summary: Mapping[str, Any]) -> list[StateChanged]:
    """The state changes that an activity's summary lists."""
    states = [(state_named(name), time) for name, time, *_ in summary["activity_states"]]
    previous = [ActivityState.NONE, *(state for state, _ in states)]
    return [
        StateChanged(summary["activity_id"], state, before, time)
        for before, (state, time) in zip(previous, states, strict=False)
    ]
