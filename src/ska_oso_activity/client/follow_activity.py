"""Follows one activity: its changes of state and what its script says, in order (client)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ska_oso_activity.client.follow_script import ScriptFollower
from ska_oso_activity.client.happenings import (
    Finished,
    Happening,
    OutputWritten,
    StateChanged,
    changes_from_summary,
)
from ska_oso_activity.client.values import state_named
from ska_oso_activity.domain.activity import TERMINAL, ActivityState

if TYPE_CHECKING:
    from ska_oso_activity.client.follow import Follower

HOLD = 0.2
"""Seconds for which what a script said may wait for a change of state that was before it."""
_BEFORE_RUNNING = {ActivityState.REQUESTED, ActivityState.PREPARING, ActivityState.READY}


class Followed:
    """One activity that is followed to its end."""

    def __init__(
        self,
        follower: Follower,
        summary: Any,
        script: ScriptFollower,
        seen: set[tuple[ActivityState, str]],
        *,
        until_ready: bool,
    ) -> None:
        self.activity_id = int(summary["activity_id"])
        self._command_id = summary.get("command_id")
        self.finished = False
        self.held_until = math.inf
        self._follower = follower
        self._last = TERMINAL | {ActivityState.READY} if until_ready else TERMINAL
        self._seen = seen
        told = [c for c in changes_from_summary(summary) if (c.state, c.time) in seen]
        self._state = told[-1].state if told else ActivityState.NONE
        self._script = script
        # What the script said perhaps after a change of state that is still on its way.
        self._held: list[Happening] = []

    def changed(self, change: StateChanged) -> Iterator[Happening]:
        """A change of state was told; those that are known already are passed over."""
        if (change.state, change.time) in self._seen or self.finished:
            return
        event = change.event or {}
        if event.get("command_id", self._command_id) != self._command_id:
            return  # of another history, where the number is another's: the next look raises
        if change.previous_state is not self._state:
            # Others were before it, and before we began to listen perhaps.
            yield from self.look()
            if (change.state, change.time) in self._seen or self.finished:
                return
        if change.state in self._last:
            # What the script said before comes first, and the summary tells all at once.
            yield from self._finish(change)
            return
        yield from self._tell(change)
        yield from self._hold(
            self._script.runs_in(event.get("executor"), event.get("procedure_id"))
        )

    def heard(self, executor: str, attribute: str, told: Mapping[str, Any]) -> Iterator[Happening]:
        """An executor said something."""
        if not self.finished:
            yield from self._hold(self._script.heard(executor, attribute, told))

    def said(self, executor: str, attribute: str, told: Mapping[str, Any]) -> Iterator[Happening]:
        """The same, at the end."""
        yield from self._script.heard(executor, attribute, told)

    def up_to_date(self, summary: Mapping[str, Any]) -> bool:
        """Whether the script's last words were told."""
        return self._script.up_to_date(summary)

    def overdue(self) -> Iterator[Happening]:
        """What was held back for as long as we do."""
        if time.monotonic() >= self.held_until:
            yield from self._release()

    def look(self) -> Iterator[Happening]:
        """Ask the device, and tell what is new."""
        if self.finished:
            return
        summary = self._follower.summary(self.activity_id, self._command_id)
        for change in self._news(summary):
            if change.state in self._last:
                yield from self._finish(change)
                return
            yield from self._tell(change)
        if state_named(summary["state"]) in self._last:  # whoever follows was told of it before
            yield from self._finish(None)
            return
        yield from self._hold(
            self._script.runs_in(summary.get("executor"), summary.get("procedure_id"))
        )
        yield from self._hold(self._script.look(summary))

    def _news(self, summary: Mapping[str, Any]) -> list[StateChanged]:
        """The changes of state that were not told yet, in the device's own words."""
        new = [c for c in changes_from_summary(summary) if (c.state, c.time) not in self._seen]
        return self._follower.recorded(new, summary) if new else []

    def _finish(self, change: StateChanged | None) -> Iterator[Happening]:
        summary = self._follower.summary(self.activity_id, self._command_id)
        # All that the device must tell is asked for first: should it be away, nothing is lost.
        news = self._news(summary)
        self.finished = True
        script = self._script.runs_in(summary.get("executor"), summary.get("procedure_id"))
        self._held += script
        for earlier in news:
            if earlier.state not in self._last:
                yield from self._tell(earlier)
        yield from self._release()
        yield from self._follower.settle(self, summary)
        yield from self._script.rest(summary)
        if change is not None:
            yield from self._tell(change)
        yield Finished(self.activity_id, summary)

    def _hold(self, happenings: Iterator[Happening]) -> Iterator[Happening]:
        """Tell what the script said, but not before the change to RUNNING that preceded it."""
        for happening in happenings:
            if self._state in _BEFORE_RUNNING:
                self._held.append(happening)
                self.held_until = min(self.held_until, time.monotonic() + HOLD)
            else:
                yield happening

    def _release(self) -> Iterator[Happening]:
        held, self._held, self.held_until = self._held, [], math.inf
        yield from held

    def _tell(self, change: StateChanged) -> Iterator[Happening]:
        if (change.state, change.time) in self._seen:
            return
        self._seen.add((change.state, change.time))
        self._state = change.state
        moment = change.time
        if change.state is ActivityState.RUNNING and self._held:
            # The executor's own word: the activity learns of it a little later.
            moment = self._script.started_at() or moment
        later: list[Happening] = []
        for held in self._held:
            before, after = _split(held, moment)
            if before is not None:
                yield before
            if after is not None:
                later.append(after)
        self._held = later
        yield change
        if change.state not in _BEFORE_RUNNING:
            yield from self._release()


def _split(happening: Happening, moment: str) -> tuple[Happening | None, Happening | None]:
    """What was said before a moment, and what since then or nobody knows when."""
    if not isinstance(happening, OutputWritten):
        return None, happening
    count = sum(line["time"] < moment for line in happening.lines)
    if count == 0:
        return None, happening
    if count == len(happening.lines):
        return happening, None
    before = replace(happening, lines=happening.lines[:count])
    return before, replace(happening, lines=happening.lines[count:], lost=0)
