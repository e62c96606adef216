"""What is known of one activity of a round, for the checks and for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from faults.contact import Told
from faults.kinds import SUCCEEDED
from faults.notes import Note
from faults.plan import PlannedActivity

TERMINAL = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})

NOT_YET, OVER = "not yet requested", "over"
"""Beside `plan.MOMENTS`: a fault makes the request wait; a fault cannot touch the activity."""
JUST_NOW = 0.2
"""Seconds after its end in which an activity has *just* ended."""


@dataclass
class Trial:
    """One activity, as its clients saw it.

    Attributes:
        sent: when RunActivity was called first.
        command_ids: what RunActivity answered, to each client.
        refusals: its refusals.
        accepted: when the first client had its answer.
        stops: when StopActivity was accepted.
        reached: when it came to each of the states of `plan.MOMENTS`.
        left_alive: processes that were alive when its end was told.
        left_later: those that still were some seconds later.
        summary: GetActivity at the end of the round, or why there is none.
        output: lines of GetOutput.
        command_status: of the long-running command RunActivity, at the end of the round.
    """

    planned: PlannedActivity
    name: str
    sbd_id: str
    sent: float | None = None
    command_ids: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    accepted: float | None = None
    stops: list[float] = field(default_factory=list)
    stop_answers: list[str] = field(default_factory=list)
    reached: dict[str, float] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    left_alive: list[str] = field(default_factory=list)
    left_later: list[str] = field(default_factory=list)
    summary: dict[str, Any] | str = "not asked"
    output: list[str] | None = None
    command_status: str | None = None

    @property
    def ended(self) -> float | None:
        """When its end was told."""
        return self.reached.get("ended")

    @property
    def refused(self) -> bool:
        return bool(self.refusals) and not self.command_ids

    @property
    def activity_ids(self) -> set[int]:
        return {told.event["activity_id"] for told in self.told}

    @property
    def end(self) -> str | None:
        """How it ended, in the words of `Kind.ends`."""
        for told in self.told:
            state, reason = told.event["state"], told.event["reason"]
            if state in TERMINAL:
                return SUCCEEDED if state == SUCCEEDED else f"{state}: {reason}"
        return None

    def noted(self, what: str) -> list[Note]:
        return [note for note in self.notes if note.what == what]

    def state_at(self, time: float) -> str:
        """The newest of the states that it had come to at a time."""
        passed = [(at, state) for state, at in self.reached.items() if at <= time]
        if not passed:
            return NOT_YET
        at, state = max(passed)
        return OVER if state == "ended" and time - at > JUST_NOW else state
