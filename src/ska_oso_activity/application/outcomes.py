"""What follows from an activity's change of state: LRC results and the SBI's status.

Application layer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ska_oso_activity.application.activity_register import ActivityRegister
from ska_oso_activity.application.command_tracker import CommandTracker, ResultCode, TaskStatus
from ska_oso_activity.application.ports import Archive
from ska_oso_activity.application.workers import Workers
from ska_oso_activity.domain.activity import Activity, ActivityState
from ska_oso_activity.domain.errors import ActivityError, Reason

_log = logging.getLogger(__name__)

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
    """

    def __init__(
        self, register: ActivityRegister, tracker: CommandTracker, archive: Archive
    ) -> None:
        self._register = register
        self._tracker = tracker
        self._archive = archive
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
        self.write_sbi_status(activity)

    def save(self, activity: Activity, *, durable: bool = False) -> None:
        """Record a change that is not a transition; results of commands follow the record."""
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
        for command_id in activity.command_ids:
            prepared = activity.prepare_only and activity.was_ready
            if command_id != activity.command_id or not prepared:
                self._tracker.resume(command_id, command_id.rsplit("_", 1)[-1])

    def resume_aborts(self, unfinished: Iterable[int]) -> None:
        """Take up the Abort commands that an Init came upon."""
        left = set(unfinished)
        for command_id, waiting in list(self._tracker.awaiting.items()):
            self.await_end_of(command_id, waiting & left)

    # --- Results of long-running commands ------------------------------------------------------

    def await_end_of(self, command_id: str, activity_ids: Iterable[int]) -> None:
        """Finish an Abort command once all these activities have ended."""
        waiting = set(activity_ids)
        if waiting:
            self._tracker.awaiting[command_id] = waiting
        else:
            self._tracker.awaiting.pop(command_id, None)
            self._finish_abort(command_id)

    def settle(self, activity: Activity) -> None:
        """Give the commands of an activity their results, as far as these are known."""
        if activity.state is ActivityState.READY and activity.prepare_only:
            self._finish(
                [activity.command_id], TaskStatus.COMPLETED, ResultCode.OK, _says(activity, "READY")
            )
        if not activity.finished:
            return
        self._finish(_ids(activity, "RunActivity", "StartActivity"), *run_result(activity))
        if not activity.abort_pending:
            self._finish(_ids(activity, "StopActivity"), *stop_result(activity))
        for command_id, waiting in list(self._tracker.awaiting.items()):
            waiting.discard(activity.activity_id)
            if not waiting:
                del self._tracker.awaiting[command_id]
                self._finish_abort(command_id)

    def progress(self, activity: Activity) -> None:
        """The progress of the commands that run an activity is its script's."""
        for command_id in _ids(activity, "RunActivity", "StartActivity"):
            self._tracker.progress(command_id, int(activity.progress))

    def _finish_abort(self, command_id: str) -> None:
        self._finish([command_id], TaskStatus.COMPLETED, ResultCode.OK, "Abort completed OK")

    def _finish(
        self, command_ids: list[str], status: TaskStatus, code: ResultCode, text: str
    ) -> None:
        for command_id in command_ids:
            self._tracker.finish(command_id, status, code, text)


def run_result(activity: Activity) -> tuple[TaskStatus, ResultCode, str]:
    """The result of RunActivity and StartActivity for an activity that has ended."""
    if activity.state is ActivityState.SUCCEEDED:
        return TaskStatus.COMPLETED, ResultCode.OK, _says(activity, "SUCCEEDED")
    if activity.state is ActivityState.STOPPED:
        return TaskStatus.ABORTED, ResultCode.ABORTED, _says(activity, "STOPPED")
    return TaskStatus.FAILED, ResultCode.FAILED, _says(activity, f"FAILED: {why(activity)}")


def stop_result(activity: Activity) -> tuple[TaskStatus, ResultCode, str]:
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
    return [each for each in activity.command_ids if each.rsplit("_", 1)[-1] in names]
