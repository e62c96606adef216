"""Follows activities as they happen, through lost events and restarts of devices (client)."""

from __future__ import annotations

import json
import math
import queue
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ska_oso_activity.client.devices import AWAY_LIMIT, CHECK_INTERVAL, ActivityDevice
from ska_oso_activity.client.errors import (
    ClientError,
    DeviceAway,
    OutOfTime,
    Refused,
    UnknownActivity,
)
from ska_oso_activity.client.event_sequence import EventSequence
from ska_oso_activity.client.follow_activity import HOLD, Followed
from ska_oso_activity.client.follow_script import MESSAGE, PROGRESS, Channel, ScriptFollower
from ska_oso_activity.client.happenings import (
    Happening,
    Noted,
    Progressed,
    StateChanged,
    change_from_event,
    changes_from_summary,
    event_from_summary,
)
from ska_oso_activity.client.interruption import Inbox, Interruption
from ska_oso_activity.client.tango_device import Subscription
from ska_oso_activity.client.values import state_named
from ska_oso_activity.domain.activity import ActivityState
from ska_oso_activity.domain.errors import Reason

DISTURBED_INTERVAL = 0.1
"""Seconds between looks while Tango says that something is away."""
RENEWAL_PAUSE = 2.0
"""Seconds between renewals of subscriptions that Tango has trouble with."""
EVENT, ACTIVITIES = "activityEvent", "activities"


class Follower:
    """Turns what devices tell about activities into happenings, one after the other.

    Make it before the request is sent, so that no event is missed; then `follow` the activities
    that are of interest, and iterate. Without any, it tells states and progress of all, for ever.
    """

    def __init__(
        self,
        device: ActivityDevice,
        *,
        executors: Iterable[str] = (),
        scripts: bool = True,
        deadline: float = math.inf,
        patience: float | None = None,
        interruption: Interruption | None = None,
    ) -> None:
        """Begin to listen.

        Args:
            executors: those that may run what will be followed; nothing said is missed then.
            scripts: tell also what scripts say: output, progress, announcements.
            deadline: when, by `time.monotonic`, the iteration ends with `OutOfTime`.
            patience: seconds that the device may be away; None: `AWAY_LIMIT`.
            interruption: ends the iteration with `Interrupted`.

        Raises:
            DeviceAway: it does not answer now.
        """
        self._device = device
        self._scripts = scripts
        self._deadline = deadline
        self._patience = patience
        self._queue: Inbox[tuple[str, str, Any]] = Inbox(interruption)
        self._started = device.started_at()
        self._renewed_at = -math.inf
        self._disturbed = False
        last = device.last_event()
        self._begin = int(last["seq"]) if last else 0
        self._sequence = EventSequence(device.events_since, last)
        self._followed: dict[int, Followed] = {}
        self._away_since: float | None = None
        self._channels: dict[str, Channel] = {}
        self._percent: dict[int, float] = {}
        self._subscriptions = [self._subscribe(EVENT)]
        for executor in executors:
            with suppress(ClientError):  # one that is away is tried again when it runs something
                self.channel(executor)

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        for channel in self._channels.values():
            channel.close()

    def follow(
        self,
        key: int | str,
        *,
        until_ready: bool = False,
        after_seq: int | None = None,
        epoch: str | None = None,
        offset: int = 0,
    ) -> int:
        """Follow an activity, with its script's output, to its end; returns its id.

        Args:
            key: the activity's id, or one of its command ids.
            until_ready: READY is as far as it goes.
            after_seq: tell no state changes up to this event; with its `epoch`, if that is known.
            offset: the first line of output to tell of.
        """
        summary = self._device.activity(key)
        script = ScriptFollower(
            int(summary["activity_id"]),
            self.channel if self._scripts else None,
            listening=bool(self._channels),
            offset=offset,
        )
        seen = set() if after_seq is None else self._seen(summary, after_seq, epoch)
        followed = Followed(self, summary, script, seen, until_ready=until_ready)
        self._followed[summary["activity_id"]] = followed
        return int(summary["activity_id"])

    def __iter__(self) -> Iterator[Happening]:
        """Happenings, until all that are followed have finished.

        Raises:
            DeviceAway, Refused: the device was away, or could not tell, for too long.
            OutOfTime: the deadline is over.
            Interrupted: by the interruption.
            UnknownActivity: the device has lost its history, and with it the activity.
        """
        if not self._followed:
            self._subscriptions.append(self._subscribe(ACTIVITIES))
        with suppress(DeviceAway, Refused):  # the first check tells whether it stays so
            yield from self._so_far()
        checked_at = time.monotonic()
        while not self._all_finished:
            pause = DISTURBED_INTERVAL if self._disturbed else CHECK_INTERVAL
            check_at = checked_at + pause
            wake_at = min([check_at, *(f.held_until for f in self._followed.values())])
            try:
                heard = self._queue.get(min(wake_at, self._deadline) - time.monotonic())
            except queue.Empty:
                heard = None
            now = time.monotonic()
            if heard is not None:
                with suppress(DeviceAway, Refused):
                    yield from self._heard(*heard)
            elif now >= self._deadline:
                yield from self._last_look()
                return
            # News that never pauses must not keep us from asking, nor from giving up in time.
            if now >= (check_at if heard is None else check_at + CHECK_INTERVAL):
                yield from self._check()
                checked_at = time.monotonic()
            if now >= self._deadline + CHECK_INTERVAL:
                yield from self._last_look()
                return
            for followed in self._followed.values():
                yield from followed.overdue()

    def _last_look(self) -> Iterator[Happening]:
        """What has happened by the deadline: whoever is slow to take news is told of the end, too.

        Raises:
            OutOfTime: there is no end yet.
        """
        yield from self._check()
        if not self._all_finished:
            raise OutOfTime(self._unfinished())

    @property
    def _all_finished(self) -> bool:
        """Whether all that are followed have finished; states of all go on for ever."""
        return bool(self._followed) and all(f.finished for f in self._followed.values())

    def _so_far(self) -> Iterator[Happening]:
        """What happened until now: first what was told, so that its order is kept."""
        while self._followed and not self._queue.empty():
            yield from self._heard(*self._queue.get(0))
        for followed in self._followed.values():
            yield from followed.look()

    def _unfinished(self) -> str:
        numbers = [str(each.activity_id) for each in self._followed.values() if not each.finished]
        which = f"activity {', '.join(numbers)} has" if numbers else "activities have"
        return f"{which} not ended in the time allowed for that; nothing was stopped"

    def _seen(
        self, summary: Mapping[str, Any], after_seq: int, epoch: str | None
    ) -> set[tuple[ActivityState, str]]:
        """The changes in a summary that came no later than an event; none of them if in doubt."""
        later = list(_all_events(self._device, after_seq))
        last = later[-1] if later else self._device.last_event()
        if last is None or last["seq"] < after_seq or epoch not in (None, last["epoch"]):
            return set()  # another history
        if later and later[0]["seq"] > after_seq + 1:
            return set()  # those in between are no longer kept
        new = {(state_named(event["state"]), event["time"]) for event in later}
        changes = changes_from_summary(summary)
        return {(c.state, c.time) for c in changes if (c.state, c.time) not in new}

    # What a followed activity needs.

    def summary(self, activity_id: int, command_id: str | None) -> Mapping[str, Any]:
        """All about an activity.

        Raises:
            UnknownActivity: its number is another's now, whose RunActivity was another command.
        """
        summary = self._device.activity(activity_id)
        if summary.get("command_id") != command_id:
            raise another_history(self._device, activity_id)
        return summary

    def recorded(
        self, changes: Sequence[StateChanged], summary: Mapping[str, Any]
    ) -> list[StateChanged]:
        """The same changes of one activity, as the device's own events tell of them."""
        events: dict[tuple[ActivityState, str], dict[str, Any]] = {}
        for since in (self._begin, 0):
            for event in _all_events(self._device, since):
                if event["activity_id"] == summary["activity_id"]:
                    events[state_named(event["state"]), event["time"]] = event
            if all((change.state, change.time) in events for change in changes):
                break
        return [
            change_from_event(
                events.get((change.state, change.time)) or event_from_summary(summary, change)
            )
            for change in changes
        ]

    def settle(self, followed: Followed, summary: Mapping[str, Any]) -> Iterator[Happening]:
        """What the executor said before the end, and is still on its way."""
        others = []
        deadline = time.monotonic() + HOLD
        while not (self._queue.empty() and followed.up_to_date(summary)):
            try:
                heard = self._queue.get(deadline - time.monotonic())
            except queue.Empty:
                break
            if heard[1] in (MESSAGE, PROGRESS) and heard[2]:
                yield from followed.said(heard[0], heard[1], json.loads(heard[2]))
            if heard[1] in (EVENT, ACTIVITIES) or len(self._followed) > 1:
                others.append(heard)
        for heard in others:
            self._queue.put(heard)

    @property
    def _away_limit(self) -> float:
        return AWAY_LIMIT if self._patience is None else self._patience

    def _subscribe(self, attribute: str) -> Subscription:
        return self._device.device.subscribe(
            attribute,
            lambda value: self._queue.put((self._device.device.name, attribute, value)),
            self._on_disturbance,
        )

    def _on_disturbance(self) -> None:
        """Called by Tango's thread: something is away or was; look soon."""
        self._disturbed = True
        self._queue.put((self._device.device.name, EVENT, ""))

    def channel(self, executor: str) -> Channel:
        """The executor, listened to once for all of its activities."""
        executor = executor.lower()
        if executor not in self._channels:
            self._channels[executor] = Channel(
                self._device.executor(executor),
                lambda attribute, value: self._queue.put((executor, attribute, value)),
                self._on_disturbance,
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
        disturbed, self._disturbed = self._disturbed, False
        try:
            started = self._device.started_at()
            missed = self._sequence.catch_up()
            changed = started != self._started or self._away_since is not None
            if disturbed and time.monotonic() - self._renewed_at > RENEWAL_PAUSE:
                changed = True  # not sooner: to renew may itself be disturbed
            if missed or changed:
                for subscription in self._subscriptions:
                    subscription.renew()
                self._started, self._renewed_at = started, time.monotonic()
            if self._away_since is not None:
                self._away_since = None
                yield Noted(f"{self._device.device.name} is back")
            yield from self._events(missed)
            for followed in self._followed.values():
                yield from followed.look()
        except UnknownActivity:
            raise
        except (DeviceAway, Refused) as away:
            # A device may refuse, too, while it is being set up.
            now = time.monotonic()
            if self._away_since is None:
                self._away_since = now
                yield Noted(f"{away}; waiting for it")
            elif now - self._away_since > self._away_limit:
                raise


def another_history(device: ActivityDevice, activity_id: int) -> UnknownActivity:
    """What is raised where a number means another activity than it did."""
    return UnknownActivity(
        f"the history of {device.device.name} began anew: activity {activity_id} is another one "
        "now, and the one that was meant is forgotten",
        Reason.UNKNOWN_ACTIVITY,
    )


def _all_events(device: ActivityDevice, since: int) -> Iterator[dict[str, Any]]:
    while events := device.events_since(since):
        yield from events
        if int(events[-1]["seq"]) <= since:
            return
        since = int(events[-1]["seq"])
