"""The register of activities: the one place where they are created and changed.

Application layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ska_oso_activity.application.ports import History, Publisher
from ska_oso_activity.application.records import (
    activity_record,
    activity_short,
    activity_summary,
    read_activity,
)
from ska_oso_activity.application.register import Register
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.activity import Activity, ActivityEvent, ActivityState, Delivery
from ska_oso_activity.domain.arguments import LAST_SUBARRAY
from ska_oso_activity.domain.errors import Reason, UnknownActivity
from ska_oso_activity.domain.procedure import abort_request_id
from ska_oso_activity.domain.times import utc_now

MAX_COMMANDS = 100
"""How many command ids an activity may gather; of one that has ended, the newest are kept."""


class ActivityRegister(Register[Activity]):
    """All activities of one ActivityDevice."""

    view_name = "activities"

    def __init__(
        self,
        history: History,
        publisher: Publisher,
        on_disk_health: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        super().__init__(history, publisher, on_disk_health)
        self._of_request: dict[str, str] = {}
        self._of_command: dict[str, int] = {}
        self._of_execution: dict[str, int] = {}
        self._orphans: dict[str, int] = {}
        self._subarray_states = [ActivityState.NONE] * LAST_SUBARRAY
        self._subarray_ids = [0] * LAST_SUBARRAY

    # --- Creating and changing ---------------------------------------------------------------

    def create(self, activity_of: Callable[[int], Activity]) -> Activity:
        """Take in a new activity: REQUESTED, and on disk when this returns.

        Args:
            activity_of: makes the activity, given its id.

        Raises:
            NoSpace: the disk takes no record; nothing was created and no id used.
        """
        with self.lock:
            activity = activity_of(self._next_id)
            event = self._transition(activity, ActivityState.REQUESTED)
            self._accept(activity, dict(vars(event)), durable=True)
            return activity

    def change(
        self,
        activity: Activity,
        state: ActivityState,
        *,
        reason: Reason | None = None,
        message: str = "",
        then: Callable[[], None] | None = None,
    ) -> None:
        """Move an activity to another state: recorded, then told, then `then`.

        Raises:
            StateMachineError: the table has no such transition.
        """
        with self.lock:
            if state is ActivityState.RUNNING:
                activity.progress = 0.0
            elif state is ActivityState.SUCCEEDED:
                activity.progress = 100.0
            event = self._transition(activity, state, reason=reason, message=message)
            # A stop was asked for by a client, who may rely on it.
            durable = activity.finished or state is ActivityState.STOPPING
            self._append(activity, dict(vars(event)), durable=durable, then=then)

    def add_command(self, activity_id: int, command_id: str) -> None:
        """Let an activity that has ended be found by a command that came too late."""
        with self.lock:
            record = self.record_of(activity_id)
            if record is None:
                return
            command_ids = [*record["command_ids"], command_id]
            record["command_ids"] = command_ids[-MAX_COMMANDS:]
            for forgotten in command_ids[:-MAX_COMMANDS]:
                self._of_command.pop(forgotten, None)
            self._append(read_activity(record), None, durable=False)

    def report(self, activity: Activity) -> None:
        """Tell progress and message, which are kept with the next record."""
        with self.lock:
            self._report(activity.activity_id, activity.progress, activity.message)
            self.publish_news()

    def _transition(
        self,
        activity: Activity,
        state: ActivityState,
        *,
        reason: Reason | None = None,
        message: str = "",
    ) -> ActivityEvent:
        return activity.change_state(
            state,
            epoch=self._journal.epoch,
            seq=self._journal.next_seq,
            time=utc_now(),
            reason=reason,
            message=message,
        )

    # --- What is told ------------------------------------------------------------------------

    def _event_pushes(self, event: Mapping[str, Any]) -> list[tuple[str, Any]]:
        return [
            ("activityId", event["activity_id"]),
            ("activityState", ActivityState[event["state"]]),
            ("activityEvent", strict_json.dumps(event)),
            *self._other_values(),
        ]

    def _other_values(self) -> list[tuple[str, Any]]:
        short = self._short.get(self._last_changed or 0)
        reported = (("activityProgress", "progress"), ("activityMessage", "message"))
        return [
            ("subarrayActivityState", list(self._subarray_states)),
            ("subarrayActivityId", list(self._subarray_ids)),
            *((name, short[field]) for name, field in reported if short is not None),
            ("activeActivities", sum(not each.finished for each in self._live.values())),
        ]

    # --- Looking up --------------------------------------------------------------------------

    def of_execution(self, request_id: str) -> Activity | None:
        """The live activity whose script, or whose abort script, runs under that request id."""
        activity_id = self._of_execution.get(request_id)
        return None if activity_id is None else self._live.get(activity_id)

    def runs(self, request_id: str) -> bool:
        """Whether a script of that request id may be that of an activity that is not over.

        Unlike `of_execution` it does not depend on what the disk has taken.
        """
        with self.lock:
            ids = [each.execution_id for each in self._live.values() if each.execution_id]
            return any(request_id in (each, abort_request_id(each)) for each in ids)

    def is_orphan(self, request_id: str) -> bool:
        """Whether a script of that request id belongs to an activity that was given up.

        It was given up when nobody could say whether the executor had its script.
        """
        return request_id in self._orphans

    def command_of_request(self, request_id: str) -> str | None:
        """The command id that a client's `request_id` was answered with."""
        return self._of_request.get(request_id)

    def lane_holder(self, subarray_id: int) -> Activity | None:
        """The activity that holds a subarray."""
        for activity in self._live.values():
            if activity.holds_lane and activity.subarray_id == subarray_id:
                return activity
        return None

    def summary(self, name: str) -> dict[str, Any]:
        """What GetActivity gives.

        Args:
            name: an activity id, or any of its command ids.

        Raises:
            UnknownActivity: there is none.
        """
        activity_id = self._of_command.get(name)
        if activity_id is None and name.isascii() and name.isdigit() and len(name) < 19:
            activity_id = int(name)
        record = None if activity_id is None else self.record_of(activity_id)
        if record is None:
            raise UnknownActivity(
                f"no activity is known by {name!r:.80}: {self.known()}; "
                "give an activity id or a command id of one"
            )
        return activity_summary(record)

    # --- Hooks of Register -------------------------------------------------------------------

    def _key(self, entity: Activity) -> int:
        return entity.activity_id

    def _read(self, record: Mapping[str, Any]) -> Activity:
        return read_activity(record)

    def _record(self, entity: Activity) -> dict[str, Any]:
        return activity_record(entity)

    def _shorten(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return activity_short(record)

    def _is_over(self, entity: Activity) -> bool:
        return entity.finished and not entity.abort_pending

    def _index(self, entity: Activity, state: str) -> None:
        key = entity.activity_id
        for command_id in entity.command_ids:
            self._of_command[command_id] = key
        if entity.request_id is not None:
            self._of_request[entity.request_id] = entity.command_id
        if entity.execution_id is not None and key in self._live:
            self._of_execution[entity.execution_id] = key
            self._of_execution[abort_request_id(entity.execution_id)] = key
        if entity.finished and entity.delivery is Delivery.UNCERTAIN and entity.execution_id:
            self._orphans[entity.execution_id] = key
        if entity.subarray_id is not None:
            index = entity.subarray_id - 1
            if key >= self._subarray_ids[index]:
                self._subarray_ids[index] = key
                self._subarray_states[index] = ActivityState[state]

    def _retired(self, entity: Activity) -> None:
        if entity.execution_id is not None:
            self._of_execution.pop(entity.execution_id, None)
            self._of_execution.pop(abort_request_id(entity.execution_id), None)

    def _forget(self, short: Mapping[str, Any]) -> None:
        for command_id in short["command_ids"]:
            self._of_command.pop(command_id, None)
        self._of_request.pop(short["request_id"], None)
        for request_id, key in list(self._orphans.items()):
            if key == short["activity_id"]:
                del self._orphans[request_id]
