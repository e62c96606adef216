"""Follows activities as they happen, through lost events and restarts of devices (cli)."""

from __future__ import annotations

import json
import math
import queue
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ska_oso_activity.cli.client import AWAY_LIMIT, CHECK_INTERVAL, ActivityDevice
from ska_oso_activity.cli.errors import CliError, DeviceAway
from ska_oso_activity.cli.event_sequence import EventSequence
from ska_oso_activity.cli.follow_script import MESSAGE, PROGRESS, Channel, ScriptFollower
from ska_oso_activity.cli.happenings import (
    Finished,
    Happening,
    Noted,
    OutputWritten,
    Progressed,
    StateChanged,
    change_from_event,
    changes_from_summary,
    event_from_summary,
)
from ska_oso_activity.cli.tango_device import Subscription
from ska_oso_activity.domain.activity import TERMINAL, ActivityState

HOLD = 0.2
"""Seconds for which what a script said may wait for a change of state that was before it."""
_BEFORE_RUNNING = {ActivityState.REQUESTED, ActivityState.PREPARING, ActivityState.READY}
_Changes = list[StateChanged]
EVENT, ACTIVITIES = "activityEvent", "activities"


class Follower:
    """Turns what devices tell about activities into happenings, one after the other.

    Make it before the request is sent, so that no event is missed; then `follow` the activities
    that are of interest, and iterate. Without any, it tells states and progress of all, for ever.
    """

    def __init__(self, device: ActivityDevice, *, executors: Iterable[str] = ()) -> None:
        """`executors`: those that may run what will be followed; nothing said is missed then."""
        self._device = device
        self._queue: queue.Queue[tuple[str, str, Any]] = queue.Queue()
        text = self._device.device.read(EVENT)
        last = json.loads(text) if text else None
        self._begin = int(last["seq"]) if last else 0
        self._sequence = EventSequence(device.events_since, last)
        self._followed: dict[int, _Followed] = {}
        self._away_since: float | None = None
        self._channels: dict[str, Channel] = {}
        self._percent: dict[int, float] = {}
        self._subscriptions = [self._subscribe(EVENT)]
        for executor in executors:
            with suppress(CliError):  # one that is away is tried again when it runs something
                self.channel(executor)

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        for channel in self._channels.values():
            channel.close()

    def follow(self, key: int | str, *, until_ready: bool = False) -> int:
        """Follow an activity, with its script's output, to its end; returns its id.

        Args:
            key: the activity's id, or one of its command ids.
            until_ready: READY is as far as it goes.
        """
        summary = self._device.activity(key)
        followed = _Followed(self, summary, until_ready=until_ready)
        self._followed[summary["activity_id"]] = followed
        return int(summary["activity_id"])

    def __iter__(self) -> Iterator[Happening]:
        """Happenings, until all that are followed have finished.

        Raises:
            DeviceAway: the device was away for a minute.
        """
        if not self._followed:
            self._subscriptions.append(self._subscribe(ACTIVITIES))
        yield from self._so_far()
        next_check = time.monotonic() + CHECK_INTERVAL
        while not self._followed or not all(f.finished for f in self._followed.values()):
            wake_at = min([next_check, *(f.held_until for f in self._followed.values())])
            try:
                heard = self._queue.get(timeout=max(0.0, wake_at - time.monotonic()))
            except queue.Empty:
                if time.monotonic() >= next_check:
                    yield from self._check()
                    next_check = time.monotonic() + CHECK_INTERVAL
            else:
                with suppress(DeviceAway):  # the next check tells whether it stays away
                    yield from self._heard(*heard)
            for followed in self._followed.values():
                yield from followed.overdue()

    def _so_far(self) -> list[Happening]:
        """What happened until now: first what was told, so that its order is kept."""
        told: list[Happening] = []
        while self._followed and not self._queue.empty():
            told += self._heard(*self._queue.get())
        for followed in self._followed.values():
            told += followed.look()
        return told

    # What a followed activity needs.

    def summary(self, activity_id: int) -> Mapping[str, Any]:
        """All about an activity."""
        return self._device.activity(activity_id)

    def recorded(self, changes: Sequence[StateChanged], summary: Mapping[str, Any]) -> _Changes:
        """The same changes of one activity, as the device's own events tell of them."""
        events: dict[tuple[str, str], dict[str, Any]] = {}
        for since in (self._begin, 0):
            for event in _all_events(self._device, since):
                if event["activity_id"] == summary["activity_id"]:
                    events[event["state"], event["time"]] = event
            if all((change.state.name, change.time) in events for change in changes):
                break
        return [
            change_from_event(
                events.get((change.state.name, change.time)) or event_from_summary(summary, change)
            )
            for change in changes
        ]

    def settle(self, followed: _Followed, summary: Mapping[str, Any]) -> Iterator[Happening]:
        """What the executor said before the end, and is still on its way."""
        others = []
        deadline = time.monotonic() + HOLD
        while not (self._queue.empty() and followed.up_to_date(summary)):
            try:
                heard = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if heard[1] in (MESSAGE, PROGRESS) and heard[2]:
                yield from followed.said(heard[0], heard[1], json.loads(heard[2]))
            if heard[1] in (EVENT, ACTIVITIES) or len(self._followed) > 1:
                others.append(heard)
        for heard in others:
            self._queue.put(heard)

    def _subscribe(self, attribute: str) -> Subscription:
        return self._device.device.subscribe(
            attribute, lambda value: self._queue.put((self._device.device.name, attribute, value))
        )

    @property
    def listening(self) -> bool:
        """Whether executors are listened to already."""
        return bool(self._channels)

    def channel(self, executor: str) -> Channel:
        """The executor, listened to once for all of its activities."""
        executor = executor.lower()
        if executor not in self._channels:
            self._channels[executor] = Channel(
                self._device.executor(executor),
                lambda attribute, value: self._queue.put((executor, attribute, value)),
            )
        return self._channels[executor]

    def _heard(self, device: str, attribute: str, value: Any) -> Iterator[Happening]:
        if not value:  # nothing has happened yet
            return
        if attribute == EVENT:
            yield from self._events(self._sequence.arrived(json.loads(value)))
        elif attribute == ACTIVITIES:
            yield from self._progressed(map(json.loads, value))
        else:
            told = json.loads(value)
            for followed in self._followed.values():
                yield from followed.heard(device, attribute, told)

    def _progressed(self, summaries: Iterable[Mapping[str, Any]]) -> Iterator[Happening]:
        """The progress of activities that run, out of the view of all."""
        for summary in summaries:
            number, percent = int(summary["activity_id"]), summary.get("progress") or 0.0
            if summary["state"] == "RUNNING" and percent != self._percent.get(number, 0.0):
                self._percent[number] = percent
                yield Progressed(number, percent, summary.get("message") or "")

    def _events(self, events: list[Any]) -> Iterator[Happening]:
        for event in events:
            change = change_from_event(event)
            if not self._followed:
                yield change
            elif change.activity_id in self._followed:
                yield from self._followed[change.activity_id].changed(change)

    def _check(self) -> Iterator[Happening]:
        """Ask for what events should have told; they may be lost, or the device restarted."""
        try:
            missed = self._sequence.catch_up()
            if missed or self._away_since is not None:
                for subscription in self._subscriptions:
                    subscription.renew()
            if self._away_since is not None:
                self._away_since = None
                yield Noted(f"{self._device.device.name} is back")
            yield from self._events(missed)
            for followed in self._followed.values():
                yield from followed.look()
        except DeviceAway as away:
            now = time.monotonic()
            if self._away_since is None:
                self._away_since = now
                yield Noted(f"{away}; waiting for it")
            elif now - self._away_since > AWAY_LIMIT:
                raise


class _Followed:
    """One activity that is followed to its end."""

    def __init__(self, follower: Follower, summary: Any, *, until_ready: bool) -> None:
        self.activity_id = int(summary["activity_id"])
        self.finished = False
        self.held_until = math.inf
        self._follower = follower
        self._last = TERMINAL | {ActivityState.READY} if until_ready else TERMINAL
        self._seen: set[tuple[ActivityState, str]] = set()
        self._state = ActivityState.NONE
        self._script = ScriptFollower(
            self.activity_id, follower.channel, listening=follower.listening
        )
        # What the script said perhaps after a change of state that is still on its way.
        self._held: list[Happening] = []

    def changed(self, change: StateChanged) -> Iterator[Happening]:
        """A change of state was told; those that are known already are passed over."""
        if (change.state, change.time) in self._seen or self.finished:
            return
        if change.state in self._last:
            # What the script said before comes first, and the summary tells all at once.
            yield from self._finish(change)
            return
        yield from self._tell(change)
        event = change.event or {}
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
        summary = self._follower.summary(self.activity_id)
        for change in self._news(summary):
            if change.state in self._last:
                yield from self._finish(change)
                return
            yield from self._tell(change)
        yield from self._hold(
            self._script.runs_in(summary.get("executor"), summary.get("procedure_id"))
        )
        yield from self._hold(self._script.look(summary))

    def _news(self, summary: Mapping[str, Any]) -> _Changes:
        """The changes of state that were not told yet, in the device's own words."""
        new = [c for c in changes_from_summary(summary) if (c.state, c.time) not in self._seen]
        return self._follower.recorded(new, summary) if new else []

    def _finish(self, change: StateChanged) -> Iterator[Happening]:
        summary = self._follower.summary(self.activity_id)
        self.finished = True
        script = self._script.runs_in(summary.get("executor"), summary.get("procedure_id"))
        self._held += script
        for earlier in self._news(summary):
            if earlier.state not in self._last:
                yield from self._tell(earlier)
        yield from self._release()
        yield from self._follower.settle(self, summary)
        yield from self._script.rest(summary)
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


def _all_events(device: ActivityDevice, since: int) -> Iterator[dict[str, Any]]:
    while events := device.events_since(since):
        yield from events
        if int(events[-1]["seq"]) <= since:
            return
        since = int(events[-1]["seq"])
