"""Follows activities as they happen, through lost events and restarts of devices (cli)."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from ska_oso_activity.cli.client import AWAY_LIMIT, CHECK_INTERVAL, ActivityDevice
from ska_oso_activity.cli.errors import DeviceAway
from ska_oso_activity.cli.event_sequence import EventSequence
from ska_oso_activity.cli.follow_script import Channel, ScriptFollower
from ska_oso_activity.cli.happenings import (
    Finished,
    Happening,
    Noted,
    Progressed,
    StateChanged,
    change_from_event,
    changes_from_summary,
)
from ska_oso_activity.cli.tango_device import Subscription
from ska_oso_activity.domain.activity import TERMINAL, ActivityState

EVENT, ACTIVITIES = "activityEvent", "activities"


class Follower:
    """Turns what devices tell about activities into happenings, one after the other.

    Make it before the request is sent, so that no event is missed; then `follow` the activities
    that are of interest, and iterate. Without any, it tells states and progress of all, for ever.
    """

    def __init__(self, device: ActivityDevice) -> None:
        self._device = device
        self._queue: queue.Queue[tuple[str, str, Any]] = queue.Queue()
        last = self._device.device.read(EVENT)
        self._sequence = EventSequence(device.events_since, json.loads(last) if last else None)
        self._followed: dict[int, _Followed] = {}
        self._away_since: float | None = None
        self._channels: dict[str, Channel] = {}
        self._percent: dict[int, float] = {}
        self._subscriptions = [self._subscribe(EVENT)]

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
        followed = _Followed(self._device, summary, self._channel, until_ready=until_ready)
        self._followed[summary["activity_id"]] = followed
        return int(summary["activity_id"])

    def __iter__(self) -> Iterator[Happening]:
        """Happenings, until all that are followed have finished.

        Raises:
            DeviceAway: the device was away for a minute.
        """
        if not self._followed:
            self._subscriptions.append(self._subscribe(ACTIVITIES))
        for followed in self._followed.values():
            yield from followed.look()
        next_check = time.monotonic() + CHECK_INTERVAL
        while not self._followed or not all(f.finished for f in self._followed.values()):
            try:
                heard = self._queue.get(timeout=max(0.0, next_check - time.monotonic()))
            except queue.Empty:
                yield from self._check()
                next_check = time.monotonic() + CHECK_INTERVAL
            else:
                with suppress(DeviceAway):  # the next check tells whether it stays away
                    yield from self._heard(*heard)

    def _subscribe(self, attribute: str) -> Subscription:
        return self._device.device.subscribe(
            attribute, lambda value: self._queue.put((self._device.device.name, attribute, value))
        )

    def _channel(self, executor: str) -> Channel:
        """The executor, listened to once for all of its activities."""
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

    def __init__(
        self,
        device: ActivityDevice,
        summary: Any,
        channel: Callable[[str], Channel],
        *,
        until_ready: bool,
    ) -> None:
        self.activity_id = int(summary["activity_id"])
        self.finished = False
        self._device = device
        self._last = TERMINAL | {ActivityState.READY} if until_ready else TERMINAL
        self._seen: set[tuple[ActivityState, str]] = set()
        self._script = ScriptFollower(self.activity_id, channel)

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
        yield from self._script.runs_in(event.get("executor"), event.get("procedure_id"))

    def heard(self, executor: str, attribute: str, told: Mapping[str, Any]) -> Iterator[Happening]:
        """An executor said something."""
        if not self.finished:
            yield from self._script.heard(executor, attribute, told)

    def look(self) -> Iterator[Happening]:
        """Ask the device, and tell what is new."""
        if self.finished:
            return
        summary = self._device.activity(self.activity_id)
        for change in changes_from_summary(summary):
            if change.state in self._last and (change.state, change.time) not in self._seen:
                yield from self._finish(change)
                return
            yield from self._tell(change)
        yield from self._script.runs_in(summary.get("executor"), summary.get("procedure_id"))
        yield from self._script.look(summary)

    def _finish(self, change: StateChanged) -> Iterator[Happening]:
        summary = self._device.activity(self.activity_id)
        self.finished = True
        for earlier in changes_from_summary(summary):
            if earlier.state not in self._last:
                yield from self._tell(earlier)
        yield from self._script.runs_in(summary.get("executor"), summary.get("procedure_id"))
        yield from self._script.rest(summary)
        yield from self._tell(change)
        yield Finished(self.activity_id, summary)

    def _tell(self, change: StateChanged) -> Iterator[Happening]:
        if (change.state, change.time) not in self._seen:
            self._seen.add((change.state, change.time))
            yield change
