"""ActivityService: "run activity X of Scheduling Block Y", as a conversation (application layer).

Here is what clients can ask for, and what is refused at once. What an accepted activity then goes
through is in `activity_run`.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

from ska_oso_activity.application.activity_register import MAX_COMMANDS, ActivityRegister
from ska_oso_activity.application.activity_run import ActivityRun
from ska_oso_activity.application.command_tracker import CommandTracker, submitted_at
from ska_oso_activity.application.executor_pool import ExecutorPool
from ska_oso_activity.domain.activity import Activity, ActivityState
from ska_oso_activity.domain.arguments import combine, on_subarray, subarray_in
from ska_oso_activity.domain.control_model import ResultCode, TaskStatus
from ska_oso_activity.domain.errors import (
    InvalidRequest,
    NoCapacity,
    NoSpace,
    NotOnline,
    SubarrayBusy,
    UnknownActivity,
    WrongState,
)
from ska_oso_activity.domain.request import (
    ActivityCommand,
    ListRequest,
    StartRequest,
    StopRequest,
)

MAX_UNFINISHED = 100
DEFAULT_LIST, MAX_LIST = 100, 1000


class ActivityService:
    """Accepts requests, refuses what cannot be, and answers questions about activities.

    Args:
        subarray_id: the one subarray this device serves; 0 for any.
        allows_file: whether a `file://` block may be read, by its path.
    """

    def __init__(
        self,
        register: ActivityRegister,
        run: ActivityRun,
        tracker: CommandTracker,
        executors: ExecutorPool,
        *,
        subarray_id: int = 0,
        allows_file: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._register = register
        self._run = run
        self._tracker = tracker
        self._executors = executors
        self._subarray_id = subarray_id
        self._allows_file = allows_file
        self._closed_because: str | None = None

    def set_closed(self, because: str | None) -> None:
        """Accept no new work, for the reason given; None: accept it again."""
        self._closed_because = because

    # --- RunActivity -------------------------------------------------------------------------

    def run_activity(self, command: ActivityCommand) -> str:
        """Accept a request; returns the id of the long-running command that follows it.

        The same `request_id` again returns the first one's command id and starts nothing.

        Raises:
            ActivityError: a refusal: nothing was created.
        """
        self.check_block_reference(command)
        self._executors.await_room()
        with self._register.lock:
            if command.request_id is not None:
                known = self._register.command_of_request(command.request_id)
                if known is not None:
                    return known
            self._require_open("RunActivity")
            subarray_id = self.lane_of_request(command)
            if subarray_id is not None and not command.prepare_only:
                self.require_free_lane(subarray_id)
            executor = self._executor_with_room()
            command_id = self._tracker.submit("RunActivity")
            try:
                activity = self._register.create(
                    lambda activity_id: _activity(
                        activity_id, command_id, command, subarray_id, executor
                    )
                )
            except BaseException:
                self._tracker.withdraw(command_id)
                raise
        self._run.begin(activity.activity_id)
        return command_id

    def check_block_reference(self, command: ActivityCommand) -> None:
        """Refuse a block in a file outside the allowed folders.

        Raises:
            InvalidRequest: its path is not beneath SchedulingBlockRoots.
        """
        path = command.block.path
        if path is not None and not self._allows_file(path):
            raise InvalidRequest(
                f"sb_uri {command.block.uri!r:.200} is not beneath a folder that the property "
                "SchedulingBlockRoots allows"
            )

    def lane_of_request(self, command: ActivityCommand) -> int | None:
        """The subarray that a request names, or that this device serves alone.

        Raises:
            InvalidRequest: the request is for another subarray than this device's.
        """
        named = command.subarray_id or subarray_in(command.script_args)
        if self._subarray_id == 0:
            return named
        if named not in (None, self._subarray_id):
            raise InvalidRequest(
                f"this device serves subarray {self._subarray_id} alone (property SubarrayId), "
                f"and the request is for subarray {named}: send it to that subarray's device"
            )
        return self._subarray_id

    def require_free_lane(self, subarray_id: int) -> None:
        """Refuse if another activity holds the subarray.

        Raises:
            SubarrayBusy: naming it.
        """
        holder = self._register.lane_holder(subarray_id)
        if holder is not None:
            raise SubarrayBusy(busy_text(subarray_id, holder))

    def _require_open(self, asked: str) -> None:
        if self._closed_because is not None:
            raise NotOnline(
                f"{asked} is not accepted while {self._closed_because}: "
                "set adminMode to ONLINE or ENGINEERING"
            )

    def _executor_with_room(self) -> str:
        """The executor that is to run one more activity."""
        live = self._register.live()
        unfinished = sum(not activity.finished for activity in live)
        if unfinished >= MAX_UNFINISHED:
            raise NoCapacity(
                f"{unfinished} activities are not finished, and {MAX_UNFINISHED} is the most: "
                "wait for one to end, or stop one"
            )
        self._executors.require_room()
        return self._executors.choose(Counter(each.executor or "" for each in live)).name

    # --- StartActivity -----------------------------------------------------------------------

    def start_activity(self, request: StartRequest) -> str:
        """Run main of a prepared activity; returns the id of the long-running command.

        Raises:
            ActivityError: a refusal: nothing was changed.
        """
        with self._register.lock:
            self._require_open("StartActivity")
            activity = self._known(request.activity_id)
            if activity is None or activity.state is not ActivityState.READY:
                state = self._state_of(request.activity_id)
                raise WrongState(
                    f"activity {request.activity_id} is {state}: StartActivity needs one that is "
                    "READY (prepared with prepare_only)"
                )
            if activity.start_requested:
                raise WrongState(f"activity {activity.activity_id} is being started already")
            script_args = combine(activity.script_args, request.script_args)
            subarray_id = self._lane_of_start(activity, request)
            if subarray_id is not None:
                self.require_free_lane(subarray_id)
            command_id = self._tracker.submit("StartActivity")
            before = dict(vars(activity))
            activity.script_args = on_subarray(script_args, subarray_id)
            activity.runtime_args = combine(activity.runtime_args, request.script_args)
            activity.subarray_id = subarray_id
            activity.start_requested = True
            activity.command_ids = [*activity.command_ids, command_id]
            try:
                self._register.save_or_refuse(activity)
            except NoSpace:
                vars(activity).update(before)
                self._tracker.withdraw(command_id)
                raise
            self._tracker.start(command_id, at=submitted_at(command_id))
        self._run.start(activity.activity_id)
        return command_id

    def _lane_of_start(self, activity: Activity, request: StartRequest) -> int | None:
        named = subarray_in(request.script_args)
        lane = activity.subarray_id or self._subarray_id or None
        if named is not None and lane not in (None, named):
            raise InvalidRequest(
                f"activity {activity.activity_id} was prepared for subarray {lane}, and "
                f"script_args asks for subarray {named}: they must agree"
            )
        return lane or named

    # --- StopActivity, Abort -----------------------------------------------------------------

    def stop_activity(self, request: StopRequest) -> str:
        """Stop an activity; returns the LRC's id. A second stop joins the first.

        Raises:
            UnknownActivity: there is no such activity, or none on that subarray.
            NoCapacity: very many stops wait for its end already.
        """
        with self._register.lock:
            activity_id = self._stop_target(request)
            activity = self._known(activity_id)
            if activity is not None and len(activity.command_ids) >= MAX_COMMANDS:
                raise NoCapacity(
                    f"{MAX_COMMANDS} commands wait for activity {activity_id}, which is "
                    f"{activity.state.name}: it is being stopped, and its end will be told"
                )
            command_id = self._tracker.submit("StopActivity")
            self._tracker.start(command_id, at=submitted_at(command_id))
            if activity is None:
                self._register.add_command(activity_id, command_id)
                self._tracker.finish(
                    command_id,
                    TaskStatus.COMPLETED,
                    ResultCode.OK,
                    f"Activity {activity_id} was {self._state_of(activity_id)}",
                    at=submitted_at(command_id),
                )
                return command_id
            activity.command_ids.append(command_id)
            self._run.stop(activity, run_abort=request.run_abort)
            return command_id

    def _stop_target(self, request: StopRequest) -> int:
        if request.activity_id is not None:
            self._known(request.activity_id)
            return request.activity_id
        subarray_id = request.subarray_id or 0
        holder = self._register.lane_holder(subarray_id)
        if holder is None:
            prepared = [
                each
                for each in self._register.live()
                if each.subarray_id == subarray_id and not each.finished
            ]
            if not prepared:
                raise UnknownActivity(
                    f"no activity runs on subarray {subarray_id}: there is nothing to stop"
                )
            holder = prepared[-1]
        return holder.activity_id

    def abort(self, *, tracked: bool = True) -> tuple[str, list[int]]:
        """Stop every activity that is not finished; no abort scripts are run.

        Questions about blocks that wait are not answered any more.

        Args:
            tracked: whether a command Abort follows it to its end.

        Returns:
            The id of the Abort command, if there is one, and the activities that it stops.

        Raises:
            NoCapacity: very many Aborts wait for the end of these very activities already.
        """
        command_id = ""
        with self._register.lock:
            targets = [each for each in self._register.live() if not each.finished]
            if tracked:
                command_id = self._run.aborts.begin(each.activity_id for each in targets)
            self._tracker.abort_queued("ValidateActivity", "DescribeSchedulingBlock")
            for activity in targets:
                self._run.stop(activity, run_abort=False)
            self._run.aborts.follow(command_id)
        return command_id, [each.activity_id for each in targets]

    # --- Questions ---------------------------------------------------------------------------

    def get_activity(self, name: str) -> dict[str, Any]:
        """One activity, whole, by its id or any of its command ids.

        Raises:
            UnknownActivity: there is none.
        """
        return self._register.summary(name.strip())

    def list_activities(self, request: ListRequest) -> list[dict[str, Any]]:
        """Short summaries, newest first."""
        limit = min(request.limit or DEFAULT_LIST, MAX_LIST)
        found = (
            short
            for short in self._register.shorts()
            if (request.state is None or short["state"] == request.state.name)
            and (request.sbd_id is None or short["sbd_id"] == request.sbd_id)
            and (request.subarray_id is None or short["subarray_id"] == request.subarray_id)
            and (request.before is None or short["activity_id"] < request.before)
        )
        return [short for _, short in zip(range(limit), found, strict=False)]

    def events_since(self, seq: int) -> list[dict[str, Any]]:
        """Events after `seq`, oldest first; from the oldest kept if that is later."""
        return self._register.events_since(seq)

    def event_texts_since(self, seq: int) -> list[str]:
        """The same as JSON texts, as they were written: a full history has thousands."""
        return self._register.event_texts_since(seq)

    def _known(self, activity_id: int) -> Activity | None:
        """The activity if it is live, None if it has ended.

        Raises:
            UnknownActivity: there is none of that id.
        """
        if self._register.short(activity_id) is None:
            raise UnknownActivity(f"no activity has the id {activity_id}: {self._register.known()}")
        return self._register.find(activity_id)

    def _state_of(self, activity_id: int) -> str:
        short = self._register.short(activity_id)
        return "unknown" if short is None else str(short["state"])


def busy_text(subarray_id: int, holder: Activity) -> str:
    """Who holds a subarray, in one sentence."""
    doing = "running" if not holder.finished else "running the abort script of"
    return (
        f"subarray {subarray_id} is {doing} activity {holder.activity_id} "
        f"({holder.activity_name} of {holder.sbd_id or holder.sb_uri}), which is "
        f"{holder.state.name}: wait for its end, or stop it"
    )


def _activity(
    activity_id: int,
    command_id: str,
    command: ActivityCommand,
    subarray_id: int | None,
    executor: str,
) -> Activity:
    return Activity(
        activity_id=activity_id,
        command_id=command_id,
        command_ids=[command_id],
        activity_name=command.activity_name,
        sbd_id=command.block.sbd_id,
        sb_uri=command.block.uri,
        request_id=command.request_id,
        requested_by=command.requested_by,
        comment=command.comment,
        subarray_id=subarray_id,
        prepare_only=command.prepare_only,
        create_env=command.create_env,
        script_args=command.script_args,
        runtime_args=command.script_args,
        start_requested=not command.prepare_only,
        executor=executor,
        execution_id=str(uuid.uuid4()),
    )
