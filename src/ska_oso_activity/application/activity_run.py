"""ActivityRun: the steps of an accepted activity, from its block to the start of its main.

Application layer. In order: fetch the Scheduling Block from the archive; find the activity; turn
its PDM script into ours; combine the arguments; check all that can be checked; only then record
and create things; send PrepareProcess; while the script is being prepared, create the SBI; then
send StartProcess, which the executor carries out at READY. What it says on the way is for
`activity_follow`.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

from ska_oso_activity.application.aborts import Aborts
from ska_oso_activity.application.activity_register import ActivityRegister
from ska_oso_activity.application.command_tracker import CommandTracker
from ska_oso_activity.application.executor_pool import ExecutorPool
from ska_oso_activity.application.outcomes import Outcomes
from ska_oso_activity.application.planner import Plan, Planner
from ska_oso_activity.application.ports import (
    Archive,
    Executor,
    SchedulingBlockInstance,
)
from ska_oso_activity.application.register import RegisterClosed
from ska_oso_activity.application.workers import Workers
from ska_oso_activity.domain.activity import Activity, ActivityState, Delivery
from ska_oso_activity.domain.arguments import (
    main_arguments,
)
from ska_oso_activity.domain.errors import (
    ActivityError,
    ExecutorUnavailable,
    ExecutorUncertain,
    NoCapacity,
    NoSpace,
    NotOnline,
    Reason,
    SubarrayBusy,
    WrongState,
)
from ska_oso_activity.domain.procedure import (
    PrepareProcessCommand,
    StartProcessCommand,
    StopProcessCommand,
)
from ska_oso_activity.domain.scheduling_block import BlockReference
from ska_oso_activity.domain.times import utc_now

_log = logging.getLogger(__name__)

DELIVERY_TIME = 5.0
"""Seconds for which an undeliverable PrepareProcess is tried."""
COURIERS = 256
"""Threads for starts and stops at most: those that wait for an archive must not hold them up."""
RETRY_PAUSE = 0.1
"""Seconds between tries."""
_STARTABLE = frozenset({ActivityState.PREPARING, ActivityState.READY})
"""States in which main may be started: before READY, it begins at READY."""


class ActivityRun:
    """Takes each activity through its steps, on threads of its own."""

    def __init__(
        self,
        register: ActivityRegister,
        outcomes: Outcomes,
        tracker: CommandTracker,
        executors: ExecutorPool,
        planner: Planner,
        archive: Archive,
        workers: Workers,
        device: str = "",
    ) -> None:
        self._device = device
        self._register = register
        self._outcomes = outcomes
        self._tracker = tracker
        self._executors = executors
        self._planner = planner
        self._archive = archive
        self._workers = workers
        self._starting: set[int] = set()
        self._settling: set[int] = set()
        self._in_flight: set[int] = set()
        self._delivering: set[int] = set()
        self._couriers = Workers("courier", most=COURIERS)
        self.reconcile: Callable[[Activity], None] = lambda _: None
        """Asks what has become of an activity's script; set by the follower."""

    def close(self) -> None:
        """Let go of the threads."""
        self._workers.close()
        self._couriers.close()

    # --- Preparing ---------------------------------------------------------------------------

    def begin(self, activity_id: int) -> None:
        """Take a new activity, or one found unprepared after a restart, through its steps."""
        self._workers.submit(lambda: self._guarded(activity_id, self._prepare))

    def _guarded(self, activity_id: int, step: Any) -> None:
        """Run a step; a defect of ours ends the activity instead of leaving it in limbo."""
        activity = self._register.find(activity_id)
        if activity is None:
            return
        try:
            step(activity)
        except RegisterClosed:
            return
        except Exception as error:
            _log.exception("activity %d", activity_id)
            self.give_up(activity, Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}")

    def _prepare(self, activity: Activity) -> None:
        with self._register.lock:
            if activity.state is ActivityState.REQUESTED:
                self._outcomes.move(activity, ActivityState.PREPARING)
            if activity.state is not ActivityState.PREPARING:
                return
            self._tracker.start(activity.command_id)
        try:
            plan = self._planner.plan(
                BlockReference.parse(activity.sb_uri),
                activity.activity_name,
                activity.runtime_args,
                subarray_id=activity.subarray_id,
                create_env=activity.create_env,
            )
            executor = self._commit(activity, plan)
        except ActivityError as error:
            self.give_up(activity, error.reason, str(error))
            return
        if executor is not None and self._deliver(activity, plan, executor):
            self.settle_sbi(activity)

    def _commit(self, activity: Activity, plan: Plan) -> Executor | None:
        """Record what is to be run and where; None if the activity was stopped meanwhile.

        Raises:
            SubarrayBusy: the block named a subarray that is taken.
            NoCapacity: there is no executor.
        """
        with self._register.lock:
            if activity.state is not ActivityState.PREPARING:
                return None
            if plan.subarray_id is not None and activity.start_requested:
                holder = self._register.lane_holder(plan.subarray_id)
                if holder is not None and holder is not activity:
                    raise SubarrayBusy(
                        f"the block asks for subarray {plan.subarray_id}, which activity "
                        f"{holder.activity_id} holds: run it again when that has ended"
                    )
            load = Counter(each.executor or "" for each in self._register.live())
            executor = self._executors.choose(load, preferred=activity.executor)
            activity.delivery = Delivery.SENDING
            activity.sbd_id = plan.block.sbd_id
            activity.sbd_version = plan.block.version
            activity.telescope = plan.block.telescope
            activity.subarray_id = plan.subarray_id
            activity.script = plan.script.to_json()
            activity.script_args = plan.arguments
            activity.executor = executor.name
            activity.execution_id = activity.execution_id or str(uuid.uuid4())
            activity.sbi_settled = plan.block.sbd_id is None
            # Synced: were it lost with the power, a restart would take it for never sent.
            self._register.save(activity, durable=True)
            return executor

    def _deliver(self, activity: Activity, plan: Plan, executor: Executor) -> bool:
        """Send PrepareProcess; True once the executor is known to have it."""
        labels = {
            "device": self._device,
            "activity_id": activity.activity_id,
            "activity_name": activity.activity_name,
            "sbd_id": activity.sbd_id,
        }
        command = plan.command(activity.execution_id or "", labels)
        self._delivering.add(activity.activity_id)
        try:
            self._try_to_deliver(activity, command, executor)
        finally:
            self._delivering.discard(activity.activity_id)
        self._ask_what_became(activity, executor)
        return activity.delivery is Delivery.DELIVERED and not activity.finished

    def _try_to_deliver(
        self, activity: Activity, command: PrepareProcessCommand, executor: Executor
    ) -> None:
        deadline = time.monotonic() + DELIVERY_TIME
        while self._may_send(activity):
            trouble: ExecutorUnavailable
            self._in_flight.add(activity.activity_id)
            try:
                reply = executor.prepare(command)
            except ExecutorUncertain as error:
                trouble = error
                with self._register.lock:
                    if activity.delivery is Delivery.SENDING:
                        activity.delivery = Delivery.UNCERTAIN
                        self._register.save(activity)
            except ExecutorUnavailable as error:
                trouble = error
            except (NoCapacity, NotOnline, NoSpace) as refusal:
                # It had room when it was chosen; it may have again.
                trouble = ExecutorUnavailable(str(refusal))
                self._not_taken(activity)
            except ActivityError as refusal:
                self._not_taken(activity)
                self.give_up(activity, refusal.reason, str(refusal))
                return
            else:
                self._delivered(activity, int(reply["procedure_id"]))
                return
            finally:
                self._in_flight.discard(activity.activity_id)
            if time.monotonic() > deadline:
                self._undelivered(activity, trouble)
                return
            time.sleep(RETRY_PAUSE)

    def _not_taken(self, activity: Activity) -> None:
        """The executor refused: had it taken an earlier try, it would have given its procedure."""
        with self._register.lock:
            if activity.delivery is Delivery.UNCERTAIN:
                activity.delivery = Delivery.SENDING

    def _ask_what_became(self, activity: Activity, executor: Executor) -> None:
        """Find out whether a script that is to be stopped was delivered, if nobody can say."""
        while (
            activity.state is ActivityState.STOPPING
            and activity.delivery is Delivery.UNCERTAIN
            and not self._register.closed
        ):
            try:
                events = executor.events_since(0)
            except ExecutorUnavailable:
                time.sleep(RETRY_PAUSE)
                continue
            ids = {event["request_id"]: int(event["procedure_id"]) for event in events}
            procedure_id = ids.get(activity.execution_id)
            if procedure_id is not None:
                self._delivered(activity, procedure_id)
                return
            with self._register.lock:
                if not activity.finished and activity.delivery is Delivery.UNCERTAIN:
                    self.end_stopped(activity)

    def is_delivering(self, activity: Activity) -> bool:
        """Whether PrepareProcess is being sent, and tried again: what it comes to will be told."""
        return activity.activity_id in self._delivering

    def is_in_flight(self, activity: Activity) -> bool:
        """Whether PrepareProcess is out and not answered yet."""
        return activity.activity_id in self._in_flight

    def _may_send(self, activity: Activity) -> bool:
        with self._register.lock:
            if activity.state is ActivityState.STOPPING and activity.delivery is Delivery.SENDING:
                self.end_stopped(activity)
            return (
                activity.state is ActivityState.PREPARING
                and activity.delivery in (Delivery.SENDING, Delivery.UNCERTAIN)
                and not self._register.closed
            )

    def _delivered(self, activity: Activity, procedure_id: int) -> None:
        with self._register.lock:
            if activity.finished:
                # Given up before the answer came: what it made must not stay.
                self.stop_orphan(activity.executor or "", procedure_id)
                return
            activity.procedure_id = procedure_id
            activity.delivery = Delivery.DELIVERED
            # The next record has it. A restart before that finds the procedure by its request id.
            self._register.show(activity)
            if activity.stop_requested or activity.failing:
                self._send_stop_soon(activity)

    def _undelivered(self, activity: Activity, trouble: ExecutorUnavailable) -> None:
        with self._register.lock:
            if activity.finished or activity.delivery is Delivery.DELIVERED:
                return
            if activity.delivery is Delivery.UNCERTAIN:
                if activity.state is not ActivityState.UNKNOWN:
                    self._outcomes.move(activity, ActivityState.UNKNOWN, message=str(trouble))
                self.later(lambda: self.reconcile(activity))
                return
            if activity.state is ActivityState.STOPPING:
                self.end_stopped(activity)
                return
        self.give_up(
            activity,
            Reason.EXECUTOR_UNAVAILABLE,
            f"PrepareProcess could not be delivered for {DELIVERY_TIME:g} s: {trouble}",
        )

    def stop_orphan(self, executor_name: str, procedure_id: int) -> None:
        """Stop a script that belongs to no activity any more; tried until it is delivered."""
        executor = self._executors.get(executor_name)

        def stop() -> None:
            while not self._register.closed:
                try:
                    executor.stop(StopProcessCommand(procedure_id))
                except ExecutorUnavailable:
                    time.sleep(RETRY_PAUSE)
                except ActivityError as error:
                    _log.info("procedure %d of %s: %s", procedure_id, executor_name, error)
                    return
                else:
                    return

        self._couriers.submit(stop)

    def later(self, task: Callable[[], None]) -> None:
        """Do something on a thread of its own after a short pause."""

        def wait_and_do() -> None:
            time.sleep(RETRY_PAUSE)
            if not self._register.closed:
                task()

        self._couriers.submit(wait_and_do)

    # --- The SBI -----------------------------------------------------------------------------

    def settle_sbi(self, activity: Activity) -> None:
        """Create the SBI of an activity that has none yet; then main may start."""
        with self._register.lock:
            settled = activity.sbi_settled or activity.sbd_id is None
            if not settled and activity.activity_id in self._settling:
                return
            self._settling.add(activity.activity_id)
        try:
            if settled or self._create_sbi(activity):
                self._start_if_due(activity)
        finally:
            self._settling.discard(activity.activity_id)

    def _create_sbi(self, activity: Activity) -> bool:
        """Create the SBI; True if main may start."""
        instance = SchedulingBlockInstance(
            sbd_id=activity.sbd_id or "",
            sbd_version=activity.sbd_version,
            telescope=activity.telescope,
            subarray_id=activity.subarray_id,
            activity_name=activity.activity_name,
            executed_at=utc_now(),
            runtime_args=activity.runtime_args,
        )
        try:
            sbi_id = self._archive.create_sbi(instance)
        except ActivityError as error:
            self.give_up(activity, error.reason, f"the SBI could not be created: {error}")
            return False
        with self._register.lock:
            activity.sbi_id = sbi_id
            activity.sbi_settled = True
            self._register.save(activity)
            if activity.finished:
                self._outcomes.write_sbi_status(activity)
            return not activity.finished

    # --- Starting ----------------------------------------------------------------------------

    def start(self, activity_id: int) -> None:
        """Start main of a prepared activity."""
        activity = self._register.find(activity_id)
        if activity is not None:
            self.start_if_due(activity)

    def start_if_due(self, activity: Activity) -> None:
        """Have StartProcess sent if everything that main waits for is there, without waiting."""
        if self._may_start(activity):
            self._couriers.submit(lambda: self._guarded(activity.activity_id, self._start_if_due))

    def _may_start(self, activity: Activity) -> bool:
        """Whether main may run as soon as the script is ready, which the executor sees to."""
        return (
            activity.state in _STARTABLE
            and activity.delivery is Delivery.DELIVERED
            and activity.start_requested
            and activity.sbi_settled
            and not activity.stop_requested
            and activity.failing is None
            and not activity.start_sent
            and activity.activity_id not in self._starting
        )

    def _start_if_due(self, activity: Activity) -> None:
        """Send StartProcess, once; waits and tries again while the executor does not answer."""
        with self._register.lock:
            if not self._may_start(activity):
                return
            self._starting.add(activity.activity_id)
        args = main_arguments(activity.script_args)
        if activity.sbi_id is not None:
            args = args.with_kwarg("sbi_id", activity.sbi_id)
        command = StartProcessCommand(
            activity.procedure_id or 0,
            "main",
            args,
            force_start=True,
            subarray_id=activity.subarray_id,
        )
        executor = self._executors.get(activity.executor or "")
        try:
            # While the executor is away the activity becomes UNKNOWN, and this is done again when
            # it is back: the executor itself starts a procedure at most once.
            while activity.state in _STARTABLE and not self._register.closed:
                try:
                    executor.start(command)
                except ExecutorUnavailable:
                    time.sleep(RETRY_PAUSE)
                    continue
                except WrongState as refusal:
                    # An earlier life of ours started it, or it has ended: what is true, it tells.
                    _log.info("activity %d: %s", activity.activity_id, refusal)
                    self.later(lambda: self.reconcile(activity))
                except ActivityError as error:
                    self.give_up(activity, error.reason, str(error))
                    return
                activity.start_sent = True
                return
        finally:
            with self._register.lock:
                self._starting.discard(activity.activity_id)
        # It was UNKNOWN for a moment, and may be startable again.
        if not self._register.closed:
            self.start_if_due(activity)

    # --- Stopping ----------------------------------------------------------------------------

    def stop(self, activity: Activity, *, run_abort: bool) -> None:
        """Stop an activity, and have the abort script run if asked. Called under the lock."""
        first = not activity.stop_requested
        if not first and (activity.run_abort or not run_abort or activity.finished):
            self._outcomes.save(activity, durable=True)
            return
        activity.stop_requested = True
        activity.run_abort = run_abort
        self._plan_abort(activity)
        if activity.finished:
            self._outcomes.save(activity, durable=True)
        elif activity.state is ActivityState.UNKNOWN:
            # Recorded; done when the executor is back.
            self._register.save(activity, durable=True)
        else:
            if activity.state is not ActivityState.STOPPING:
                self._outcomes.move(activity, ActivityState.STOPPING)
            else:
                self._register.save(activity, durable=True)
            if activity.delivery is Delivery.NONE:
                self.end_stopped(activity)
            elif activity.delivery is Delivery.DELIVERED:
                self._send_stop_soon(activity)

    def _plan_abort(self, activity: Activity) -> None:
        """Decide whether an abort script is due; the executor may still say that it has none."""
        if not activity.run_abort:
            return
        if activity.finished:
            activity.abort_skipped = "the activity had ended"
        elif not activity.was_ready:
            activity.abort_skipped = "the activity was not READY yet"
        elif not activity.holds_lane:
            # A prepared activity's subarray may be another's by now.
            activity.abort_skipped = "the activity holds no subarray"
        else:
            activity.abort = {"procedure_id": None, "state": "CREATING", "error": None}

    def end_stopped(self, activity: Activity) -> None:
        """End a stopping activity that has no process. Called under the lock."""
        activity.abort = None
        self._outcomes.move(
            activity,
            ActivityState.STOPPED,
            reason=Reason.STOPPED_BY_REQUEST,
            message="stopped before a process was made",
        )

    def _send_stop_soon(self, activity: Activity) -> None:
        self._couriers.submit(lambda: self._guarded(activity.activity_id, self.send_stop))

    def send_stop(self, activity: Activity) -> None:
        """Have the executor stop the script; waits and tries again while it does not answer."""
        executor = self._executors.get(activity.executor or "")
        while not self._register.closed:
            with self._register.lock:
                over = activity.finished and not activity.abort_pending
                if over or activity.state is ActivityState.UNKNOWN:
                    return
                command = StopProcessCommand(
                    activity.procedure_id or 0, run_abort=activity.abort is not None
                )
            try:
                reply = executor.stop(command)
            except ExecutorUnavailable:
                time.sleep(RETRY_PAUSE)
                continue
            except ActivityError as error:
                # Its record is gone over there: the follower finds the truth by asking.
                _log.warning("activity %d: stop was refused: %s", activity.activity_id, error)
                return
            if command.run_abort and reply.get("abort_skipped"):
                self.skip_abort(activity, str(reply["abort_skipped"]))
            return

    def resume_stop(self, activity: Activity) -> None:
        """Send a stop (again) after contact was lost."""
        with self._register.lock:
            self._send_stop_soon(activity)

    def resume_sbi(self, activity: Activity) -> None:
        """Create the SBI that a restart came before."""
        self._workers.submit(lambda: self._guarded(activity.activity_id, self.settle_sbi))

    def skip_abort(self, activity: Activity, why: str) -> None:
        """No abort script follows the stop after all."""
        with self._register.lock:
            if activity.abort is None or activity.abort["procedure_id"] is not None:
                return
            activity.abort = None
            activity.abort_skipped = why
            self._outcomes.save(activity)

    def give_up(self, activity: Activity, reason: Reason, error: str) -> None:
        """Fail an activity; if it has a process, once that is gone."""
        with self._register.lock:
            stopping = activity.stop_requested and activity.delivery is Delivery.DELIVERED
            if activity.finished or activity.failing is not None or stopping:
                return
            if activity.delivery in (Delivery.NONE, Delivery.SENDING):
                if activity.stop_requested and activity.state is ActivityState.STOPPING:
                    self.end_stopped(activity)
                else:
                    self._outcomes.fail(activity, reason, error)
                return
            activity.failing = {"reason": reason.value, "error": error}
            self._register.save(activity)
            if activity.delivery is Delivery.DELIVERED:
                self._send_stop_soon(activity)

    @property
    def aborts(self) -> Aborts:
        """The Abort commands that wait for activities."""
        return self._outcomes.aborts
