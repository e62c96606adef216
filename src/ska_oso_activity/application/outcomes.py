"""What follows from an activity's change of state: LRC results and the SBI's status.

Application layer.
"""

from __future__ import annotations

import logging

from ska_oso_activity.application.aborts import Aborts
from ska_oso_activity.application.activity_register import ActivityRegister
from ska_oso_activity.application.command_tracker import (
    CommandTracker,
    LongRunningCommand,
    name_of,
    submitted_at,
)
from ska_oso_activity.application.ports import Archive
from ska_oso_activity.application.workers import Workers
from ska_oso_activity.domain.activity import Activity, ActivityState
from ska_oso_activity.domain.control_model import ResultCode, TaskStatus
from ska_oso_activity.domain.errors import ActivityError, Reason
from ska_oso_activity.domain.times import seconds_of, utc_now

_log = logging.getLogger(__name__)

Result = tuple[TaskStatus, ResultCode, str]
"""How a command ended: its status, and its result's code and text."""

_SBI_STATUS = {
    ActivityState.RUNNING: "Executing",
    ActivityState.SUCCEEDED: "Observed",
    ActivityState.FAILED: "Failed",
    ActivityState.STOPPED: "Failed",
}
"""The status that an SBI takes when its activity changes to a state."""


class Outcomes:
    """Changes activities, and does what follows from each change.

    All calls are made while holding the register's lock.

    Attributes:
        aborts: the Abort commands that wait for activities.
    """

    def __init__(
        self, register: ActivityRegister, tracker: CommandTracker, archive: Archive
    ) -> None:
        self._register = register
        self._tracker = tracker
        self._archive = archive
        self.aborts = Aborts(tracker, register.note, register.set_note)
        self._status_writer = Workers("sbi-status", most=1)

    def close(self) -> None:
        """Let go of the threads."""
        self._status_writer.close()

    # --- Changes -----------------------------------------------------------------------------

    def move(
        self,
        activity: Activity,
        state: ActivityState,
        *,
        reason: Reason | None = None,
        message: str = "",
    ) -> None:
        """Change an activity's state; results of its commands follow the event."""
        self._register.change(
            activity, state, reason=reason, message=message, then=lambda: self.settle(activity)
        )
        if state is ActivityState.PREPARING:
            self._tracker.start(activity.command_id, at=_latest(activity))
        self.write_sbi_status(activity)

    def save(self, activity: Activity, *, durable: bool = False) -> None:
        """Record a change that is not a transition; results of commands follow the record."""
        if activity.abort is not None and not activity.abort_pending and not activity.over_time:
            activity.over_time = utc_now()
        self._register.save(activity, durable=durable, then=lambda: self.settle(activity))

    def fail(self, activity: Activity, reason: Reason, error: str) -> None:
        """End an activity that has no process: FAILED."""
        activity.error = error
        if activity.abort is not None:
            activity.abort = None
            activity.abort_skipped = "the script was lost before it was stopped"
        self.move(activity, ActivityState.FAILED, reason=reason, message=error)

    def write_sbi_status(self, activity: Activity) -> None:
        """Have the status of the activity's SBI written, in order with others."""
        status = _SBI_STATUS.get(activity.state)
        sbi_id = activity.sbi_id
        if status is None or sbi_id is None:
            return

        def write() -> None:
            try:
                self._archive.update_sbi_status(sbi_id, status)
            except ActivityError as error:
                _log.warning("status %s of %s could not be written: %s", status, sbi_id, error)

        self._status_writer.submit(write)

    def resume(self, activity: Activity) -> None:
        """Take up the commands of an activity that a restart came upon."""
        ended = {each.uid for each in commands_of(activity)}
        begun = time_of(activity, ActivityState.PREPARING)
        for command_id in activity.command_ids:
            name = name_of(command_id)
            if command_id in ended:
                continue
            if command_id == activity.command_id:
                self._tracker.resume(command_id, name, begun=begun is not None, started=begun)
            else:
                self._tracker.resume(command_id, name, started=submitted_at(command_id))

    # --- Results of long-running commands ------------------------------------------------------

    def settle(self, activity: Activity) -> None:
        """Give the commands of an activity their results, as far as these are known."""
        if activity.state is ActivityState.READY and activity.prepare_only:
            self._finish([activity.command_id], ready_result(activity), _latest(activity))
        if not activity.finished:
            return
        commands = _ids(activity, "RunActivity", "StartActivity")
        self._finish(commands, run_result(activity), _latest(activity))
        if not activity.abort_pending:
            commands = _ids(activity, "StopActivity")
            self._finish(commands, stop_result(activity), _over(activity))
        self.aborts.ended(activity.activity_id)

    def progress(self, activity: Activity) -> None:
        """The progress of the commands that run an activity is its script's."""
        for command_id in _ids(activity, "RunActivity", "StartActivity"):
            self._tracker.progress(command_id, int(activity.progress))

    def _finish(self, command_ids: list[str], result: Result, at: float | None = None) -> None:
        for command_id in command_ids:
            self._tracker.finish(command_id, *result, at=at)


def ready_result(activity: Activity) -> Result:
    """The result of RunActivity for an activity that was only to be prepared."""
    return TaskStatus.COMPLETED, ResultCode.OK, _says(activity, "READY")


def run_result(activity: Activity) -> Result:
    """The result of RunActivity and StartActivity for an activity that has ended."""
    if activity.state is ActivityState.SUCCEEDED:
        return TaskStatus.COMPLETED, ResultCode.OK, _says(activity, "SUCCEEDED")
    if activity.state is ActivityState.STOPPED:
        return TaskStatus.ABORTED, ResultCode.ABORTED, _says(activity, "STOPPED")
    return TaskStatus.FAILED, ResultCode.FAILED, _says(activity, f"FAILED: {why(activity)}")


def stop_result(activity: Activity) -> Result:
    """The result of StopActivity once the activity, and its abort script, have ended."""
    if activity.state is not ActivityState.STOPPED:
        return TaskStatus.COMPLETED, ResultCode.OK, _says(activity, f"was {activity.state.name}")
    if activity.abort is not None and activity.abort["state"] != "COMPLETE":
        text = f"STOPPED, and its abort script {activity.abort['state']}: {activity.abort['error']}"
        return TaskStatus.FAILED, ResultCode.FAILED, _says(activity, text)
    skipped = f"; no abort script was run: {activity.abort_skipped}"
    text = "STOPPED" + (skipped if activity.abort_skipped else "")
    return TaskStatus.COMPLETED, ResultCode.OK, _says(activity, text)


def why(activity: Activity) -> str:
    """Why an activity failed: code and error."""
    return f"{activity.reason or Reason.INTERNAL_ERROR}: {activity.error or 'no more is known'}"


def _says(activity: Activity, what: str) -> str:
    return f"Activity {activity.activity_id} {what}"


def _ids(activity: Activity, *names: str) -> list[str]:
    """The activity's commands of these names; an id ends with its command's name."""
    return [each for each in activity.command_ids if name_of(each) in names]


# --- Commands that have ended, from what an activity's record says ----------------------------


def commands_of(activity: Activity) -> list[LongRunningCommand]:
    """The commands of an activity that have ended, as they were shown when they did.

    So that they need no record of their own: results and times follow from the activity's.
    """
    commands = []
    for command_id in activity.command_ids:
        name = name_of(command_id)
        command = LongRunningCommand(command_id, name, submitted_at(command_id))
        result, command.started, command.finished = _end_of(activity, command)
        if result is not None:
            command.status, code, text = result
            command.result = (int(code), text)
            commands.append(command)
    return commands


def _end_of(
    activity: Activity, command: LongRunningCommand
) -> tuple[Result | None, float | None, float | None]:
    """How a command on an activity ended, if it did, when it began, and when it ended."""
    started: float | None = command.submitted
    if command.uid == activity.command_id:
        started = time_of(activity, ActivityState.PREPARING)
        ready = time_of(activity, ActivityState.READY)
        if activity.prepare_only and ready is not None:
            return ready_result(activity), started, ready
    if not activity.finished:
        return None, None, None
    if command.name != "StopActivity":
        result, ended = run_result(activity), _latest(activity)
        if started is None and result[0] is not TaskStatus.ABORTED:
            started = ended
        return result, started, ended
    if activity.abort_pending:
        return None, None, None
    if command.submitted > _over(activity):
        text = _says(activity, f"was {activity.state.name}")
        return (TaskStatus.COMPLETED, ResultCode.OK, text), started, command.submitted
    return stop_result(activity), started, _over(activity)


def time_of(activity: Activity, state: ActivityState) -> float | None:
    """When an activity first reached a state, in seconds since 1970."""
    return next((seconds_of(t) for name, t in activity.activity_states if name == state.name), None)


def _latest(activity: Activity) -> float:
    """When its state last changed."""
    return seconds_of(activity.activity_states[-1][1])


def _over(activity: Activity) -> float:
    """When it had ended, and its abort script, if there was one."""
    return seconds_of(activity.over_time) if activity.over_time else _latest(activity)
