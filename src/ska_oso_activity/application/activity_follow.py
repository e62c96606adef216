"""ActivityFollower: what executors say of scripts, and what it means for activities.

Application layer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ska_oso_activity.application.activity_register import ActivityRegister
from ska_oso_activity.application.activity_run import ActivityRun
from ska_oso_activity.application.executor_pool import ExecutorPool
from ska_oso_activity.application.outcomes import Outcomes
from ska_oso_activity.application.records import keepable
from ska_oso_activity.domain.activity import (
    ABORT_ENDED,
    TRANSITIONS,
    Activity,
    ActivityState,
    Delivery,
)
from ska_oso_activity.domain.errors import (
    ActivityError,
    Reason,
    UnknownActivity,
)
from ska_oso_activity.domain.procedure import TERMINAL as PROCEDURE_ENDS
from ska_oso_activity.domain.procedure import ProcedureState

_log = logging.getLogger(__name__)

_A, _P = ActivityState, ProcedureState
ACTIVITY_OF_PROCEDURE: Mapping[ProcedureState, ActivityState] = {
    _P.CREATING: _A.PREPARING,
    _P.PREP_ENV: _A.PREPARING,
    _P.IDLE: _A.PREPARING,
    _P.LOADING: _A.PREPARING,
    _P.INITIALISING: _A.PREPARING,
    _P.READY: _A.READY,
    _P.RUNNING: _A.RUNNING,
    _P.COMPLETE: _A.SUCCEEDED,
    _P.STOPPED: _A.STOPPED,
    _P.FAILED: _A.FAILED,
}
"""What a procedure's state means for its activity."""

_WAYSTATIONS: Mapping[ActivityState, tuple[ActivityState, ...]] = {
    _A.RUNNING: (_A.READY,),
    _A.SUCCEEDED: (_A.RUNNING, _A.READY),
    _A.STOPPED: (_A.STOPPING,),
}
"""States that lie before one, nearest first: passed through where news of them was missed."""


class ActivityFollower:
    """Turns procedure events into changes of activities; the listener of all executors.

    Args:
        device: the name of our device, by which its scripts are labelled.
        on_contact: told the trouble with an executor, or (None) that it answers.
    """

    def __init__(
        self,
        register: ActivityRegister,
        outcomes: Outcomes,
        executors: ExecutorPool,
        run: ActivityRun,
        on_contact: Callable[[str, str | None], None] = lambda _, __: None,
        device: str = "",
    ) -> None:
        self._device = device
        self._on_contact = on_contact
        run.reconcile = self._reconcile_for_sure
        self._register = register
        self._outcomes = outcomes
        self._executors = executors
        self._run = run

    def recover(self) -> None:
        """Take up the activities that a restart found unfinished."""
        for activity in self._register.load():
            self._outcomes.resume(activity)
            with self._register.lock:
                activity.start_sent = False  # perhaps it was: the executor knows
                if activity.delivery is Delivery.SENDING:
                    # Whether it went out before we went down is for the executor to say.
                    activity.delivery = Delivery.UNCERTAIN
                gone = activity.executor is not None and activity.executor not in self._executors
                if activity.delivery is Delivery.NONE and not activity.finished:
                    # Nothing was sent, or the record would say so: it was synced before.
                    if activity.stop_requested:
                        self._run.end_stopped(activity)
                    else:
                        self._run.begin(activity.activity_id)
                elif gone and not activity.finished:
                    self._lost(
                        activity,
                        Reason.EXECUTOR_LOST,
                        f"{activity.executor} is no longer among ScriptExecutionDevices",
                    )
                elif gone:
                    self._abort_lost(activity)
        with self._register.lock:
            unfinished = [each.activity_id for each in self._register.live() if not each.finished]
            self._outcomes.aborts.resume(unfinished)

    # --- Events ------------------------------------------------------------------------------

    def on_procedure_event(self, executor: str, event: Mapping[str, Any]) -> None:
        """A procedure changed state."""
        with self._register.lock:
            activity = self._register.of_execution(str(event["request_id"]))
            orphan = activity is None and self._register.is_orphan(str(event["request_id"]))
        if orphan and _procedure_state(event) not in PROCEDURE_ENDS:
            self._run.stop_orphan(executor, int(event["procedure_id"]))
        if activity is None or activity.executor != executor:
            return
        if event["request_id"] == activity.execution_id:
            self._script_is(activity, event)
        else:
            self._abort_script_is(activity, event)

    def _script_is(
        self,
        activity: Activity,
        event: Mapping[str, Any],
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Take in the state of an activity's script.

        Args:
            event: the procedure's event, or its summary.
            details: what GetProcess gives; asked for where it is needed and not given.
        """
        state = _procedure_state(event)
        if state is None or activity.finished:
            return
        target = ACTIVITY_OF_PROCEDURE[state]
        ends = target in (_A.SUCCEEDED, _A.STOPPED, _A.FAILED)
        if details is None and (ends or _resolves(activity, target)):
            try:
                details = self._executors.get(activity.executor or "").get(event["procedure_id"])
            except UnknownActivity as error:
                _log.warning("activity %d ended without details: %s", activity.activity_id, error)
            except ActivityError as error:
                # Announced when the executor can give result and output; if it is lost meanwhile,
                # that is when it is back.
                _log.warning("activity %d ended, details wait: %s", activity.activity_id, error)
                if activity.state is not _A.UNKNOWN:
                    self._run.later(lambda: self._script_is(activity, event))
                return
        with self._register.lock:
            if activity.finished:
                return
            newly_found = activity.delivery is not Delivery.DELIVERED
            if newly_found:
                activity.procedure_id = int(event["procedure_id"])
                activity.delivery = Delivery.DELIVERED
            self._become(activity, target, event if details is None else details)
        if activity.finished:
            return
        if newly_found and (activity.stop_requested or activity.failing is not None):
            self._run.resume_stop(activity)
        self._run.start_if_due(activity)

    def _become(
        self, activity: Activity, target: ActivityState, details: Mapping[str, Any]
    ) -> None:
        """Bring an activity to the state that its procedure is in. Called under the lock."""
        if target in (_A.SUCCEEDED, _A.STOPPED, _A.FAILED):
            self._end(activity, target, details)
            return
        if activity.state is _A.STOPPING or target is activity.state:
            return
        if activity.state is _A.UNKNOWN and activity.stop_requested:
            target = _A.STOPPING
        elif activity.state is not _A.UNKNOWN and target < activity.state:
            return
        if target is _A.READY and isinstance(details.get("script"), dict):
            activity.script = dict(details["script"])
        self._reach(activity, target)

    def _reach(self, activity: Activity, target: ActivityState, **facts: Any) -> None:
        """Move to `target`, by way of the states before it where the table has no direct way."""
        way = [target]
        for station in _WAYSTATIONS.get(target, ()):
            if way[-1] in TRANSITIONS[activity.state]:
                break
            way.append(station)
        if way[-1] not in TRANSITIONS[activity.state]:
            _log.warning(
                "activity %d is %s and its procedure says %s: passed over",
                activity.activity_id,
                activity.state.name,
                target.name,
            )
            return
        for station in reversed(way[1:]):
            self._outcomes.move(activity, station)
        self._outcomes.move(activity, target, **facts)

    def _end(self, activity: Activity, target: ActivityState, details: Mapping[str, Any]) -> None:
        activity.result, note = keepable(details.get("result"))
        activity.stacktrace = details.get("stacktrace")
        activity.output_tail = list(details.get("output_tail") or [])
        activity.message = note or str(details.get("message") or activity.message)
        activity.progress = float(details.get("progress") or activity.progress)
        if isinstance(details.get("script"), dict):
            activity.script = dict(details["script"])
        if target is not _A.STOPPED and activity.abort is not None:
            activity.abort = None
            activity.abort_skipped = "the script had ended before the stop"
        if activity.failing is not None and target is not _A.FAILED:
            activity.error = activity.failing["error"]
            reason = Reason(activity.failing["reason"])
            self._reach(activity, _A.FAILED, reason=reason, message=activity.error)
        elif target is _A.FAILED:
            activity.error = details.get("error")
            reason = _reason(details.get("reason"))
            self._reach(activity, target, reason=reason, message=activity.error or "")
        elif target is _A.STOPPED:
            # Where no client of ours asked for it, the executor may say who did.
            message = "" if activity.stop_requested else str(details.get("message") or "")
            self._reach(activity, target, reason=Reason.STOPPED_BY_REQUEST, message=message)
        else:
            self._reach(activity, target, message=str(details.get("message") or ""))

    def _abort_script_is(self, activity: Activity, event: Mapping[str, Any]) -> None:
        with self._register.lock:
            if activity.abort is not None and activity.abort["state"] in ABORT_ENDED:
                return
            activity.abort = {
                "procedure_id": event["procedure_id"],
                "state": event["state"],
                "error": event["error"],
            }
            self._outcomes.save(activity, durable=not activity.abort_pending)

    # --- Reports -----------------------------------------------------------------------------

    def on_script_progress(self, executor: str, report: Mapping[str, Any]) -> None:
        """A script reported progress."""
        with self._register.lock:
            activity = self._of_procedure(executor, report["procedure_id"])
            if activity is None or activity.finished:
                return
            activity.progress = float(report["progress"])
            activity.message = str(report.get("message") or activity.message)
            self._register.report(activity)
            self._outcomes.progress(activity)

    def on_script_message(self, executor: str, report: Mapping[str, Any]) -> None:
        """A script announced something."""
        with self._register.lock:
            activity = self._of_procedure(executor, report["procedure_id"])
            if activity is None or activity.finished:
                return
            activity.message = str(report["message"])
            self._register.report(activity)

    def _of_procedure(self, executor: str, procedure_id: int) -> Activity | None:
        for activity in self._register.live():
            if activity.procedure_id == procedure_id and activity.executor == executor:
                return activity
        return None

    # --- Contact -----------------------------------------------------------------------------

    def on_executor_room(self, executor: str, free: int) -> None:
        """An executor would take so many more scripts."""
        self._executors.set_room(executor, free)

    def on_executor_health(self, executor: str, health: str, why: str) -> None:
        """An executor says how well it is: its trouble is ours."""
        if executor in self._executors.away():
            return  # that was before it fell silent, which weighs more
        troubled = None if health == "OK" else f"its healthState is {health}: {why}"
        failed = health == "FAILED"
        self._on_contact(executor, troubled if failed else None)
        self._on_contact(f"{executor} (usable)", None if failed else troubled)

    def on_executor_lost(self, executor: str) -> None:
        """An executor has not answered for a second: what it runs is UNKNOWN."""
        self._executors.set_away(executor, away=True)
        self._on_contact(executor, "does not answer")
        with self._register.lock:
            for activity in self._register.live():
                if activity.executor == executor and self._run.is_in_flight(activity):
                    activity.delivery = Delivery.UNCERTAIN
                there = activity.delivery in (Delivery.UNCERTAIN, Delivery.DELIVERED)
                if (
                    activity.executor == executor
                    and there
                    and _A.UNKNOWN in TRANSITIONS[activity.state]
                ):
                    self._outcomes.move(activity, _A.UNKNOWN, message=f"{executor} does not answer")

    def on_executor_back(self, executor: str) -> None:
        """An executor answers, and all its events were handled: find the truth of the rest."""
        self._executors.set_away(executor, away=False)
        self._on_contact(executor, None)
        for activity in self._register.live():
            if activity.executor == executor and activity.delivery in (
                Delivery.UNCERTAIN,
                Delivery.DELIVERED,
            ):
                self._reconcile_for_sure(activity)
        self._run.later(lambda: self._stop_forgotten_for_sure(executor))

    def _stop_forgotten_for_sure(self, executor: str) -> None:
        """Stop what no activity knows; tried again until the executor is lost (again)."""
        try:
            self._stop_forgotten(executor)
        except ActivityError as error:
            _log.warning("what runs on %s is not known yet: %s", executor, error)
            if executor not in self._executors.away():
                self._run.later(lambda: self._stop_forgotten_for_sure(executor))

    def _stop_forgotten(self, name: str) -> None:
        """Stop scripts that our device had run and that none of its activities knows.

        Their activities were lost with written history, or were given up: their lanes count as
        free, and nobody else could stop them. An activity is in the register before its script is
        sent, and stays there until that has ended.
        """
        executor = self._executors.get(name)
        for procedure_id in executor.unfinished():
            try:
                summary = executor.get(procedure_id)
            except UnknownActivity:
                continue
            labels = summary.get("labels") or {}
            if _procedure_state(summary) in PROCEDURE_ENDS or labels.get("device") != self._device:
                continue
            if "abort_of" in labels:  # it puts the subarray in order, and ends by itself
                continue
            with self._register.lock:
                # A next life of ours, if there is one, knows more.
                left_alone = self._register.closed or self._register.runs(summary["request_id"])
            if not left_alone:
                _log.warning(
                    "%s runs procedure %d for activity %s of ours, of which there is no record "
                    "or which was given up: it is stopped",
                    name,
                    procedure_id,
                    labels.get("activity_id"),
                )
                self._run.stop_orphan(name, procedure_id)

    def _reconcile_for_sure(self, activity: Activity) -> None:
        """Find the truth of an activity; tried again until its executor is lost (again)."""
        try:
            self._reconcile(activity)
        except ActivityError as error:
            _log.warning("activity %d: %s", activity.activity_id, error)
            if activity.executor not in self._executors.away() and not activity.finished:
                self._run.later(lambda: self._reconcile_for_sure(activity))

    def _reconcile(self, activity: Activity) -> None:
        """Ask the executor what has become of an activity's script, and go on from there."""
        executor = self._executors.get(activity.executor or "")
        events = {}
        if activity.procedure_id is None or activity.abort_pending:
            events = {event["request_id"]: event for event in executor.events_since(0)}
        if activity.finished:
            self._reconcile_abort(activity, events)
            return
        procedure_id = activity.procedure_id
        if procedure_id is None:
            event = events.get(activity.execution_id)
            if event is None:
                self._never_got(activity)
                return
            procedure_id = int(event["procedure_id"])
        try:
            summary = executor.get(procedure_id)
        except UnknownActivity:
            summary = {}
        if summary.get("request_id") != activity.execution_id:
            self._lost(
                activity,
                Reason.EXECUTOR_LOST,
                f"{executor.name} no longer knows the script, which ran there as procedure "
                f"{procedure_id}",
            )
            return
        self._script_is(activity, summary, summary)
        if activity.finished:
            if activity.abort_pending:
                # Whether an abort script follows is the executor's to say.
                self._run.resume_stop(activity)
            return
        if activity.stop_requested or activity.failing is not None:
            self._run.resume_stop(activity)
        elif not activity.sbi_settled:
            self._run.resume_sbi(activity)

    def _never_got(self, activity: Activity) -> None:
        """The executor has no procedure of this activity."""
        with self._register.lock:
            if activity.delivery is not Delivery.UNCERTAIN or activity.procedure_id is not None:
                return
            if self._run.is_delivering(activity):  # it may be on its way again
                self._run.later(lambda: self._reconcile_for_sure(activity))
                return
            self._lost(activity, Reason.EXECUTOR_UNAVAILABLE, "the executor never got the script")

    def _reconcile_abort(
        self, activity: Activity, events: Mapping[str | None, Mapping[str, Any]]
    ) -> None:
        for event in events.values():
            if self._register.of_execution(event["request_id"]) is activity and (
                event["request_id"] != activity.execution_id
            ):
                self._abort_script_is(activity, event)
                return
        if activity.abort is not None and activity.abort["procedure_id"] is None:
            try:
                self._executors.get(activity.executor or "").get(activity.procedure_id or 0)
            except UnknownActivity:
                pass
            else:
                # It may not have been asked for one yet; whether one follows is its to say.
                self._run.resume_stop(activity)
                return
        self._abort_lost(activity)

    def _abort_lost(self, activity: Activity) -> None:
        with self._register.lock:
            activity.abort = {
                "procedure_id": None,
                "state": ProcedureState.FAILED.name,
                "error": f"{Reason.EXECUTOR_LOST}: {activity.executor} has no record of it",
            }
            self._outcomes.save(activity, durable=True)

    def _lost(self, activity: Activity, reason: Reason, error: str) -> None:
        with self._register.lock:
            if not activity.finished:
                self._outcomes.fail(activity, reason, error)


def _resolves(activity: Activity, target: ActivityState) -> bool:
    """Whether the executor knows by now which commit a branch stands for, and we do not."""
    script = activity.script or {}
    return target is _A.READY and script.get("kind") == "git" and not script.get("commit")


def _procedure_state(event: Mapping[str, Any]) -> ProcedureState | None:
    state = ProcedureState.__members__.get(str(event.get("state")))
    return state if state in ACTIVITY_OF_PROCEDURE else None


def _reason(code: Any) -> Reason:
    try:
        return Reason(code)
    except ValueError:
        return Reason.INTERNAL_ERROR
