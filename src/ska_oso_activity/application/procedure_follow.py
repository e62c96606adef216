"""What the script host says, and what follows from it (application layer)."""

from __future__ import annotations

from collections.abc import Iterable

from ska_oso_activity.application.ports import ProcessEnd
from ska_oso_activity.application.procedure_register import ProcedureRegister
from ska_oso_activity.application.procedure_run import ProcedureRun
from ska_oso_activity.application.script_output import ScriptOutput
from ska_oso_activity.domain.procedure import TRANSITIONS, Procedure, ProcedureState


class ProcedureFollower:
    """Implements `ScriptHostListener`: brings procedures to where their scripts are."""

    def __init__(
        self, register: ProcedureRegister, run: ProcedureRun, output: ScriptOutput
    ) -> None:
        self._register = register
        self._run = run
        self._output = output
        self._recovered: set[int] = set()

    def begin(self, recovered: Iterable[Procedure]) -> None:
        """Take up what the history holds; the host says, once attached to, what it knows of."""
        self._recovered = {each.procedure_id for each in recovered}

    # --- A script ----------------------------------------------------------------------------

    def on_process_state(self, procedure_id: int, state: str, pid: int | None) -> None:
        """See `ScriptHostListener.on_process_state`."""
        with self._register.lock:
            procedure = self._find(procedure_id)
            if procedure is None:  # it was told as ended, so nothing of it may go on
                self._run.send_stop_of(procedure_id)
                return
            if pid is not None and procedure.pid is None:
                procedure.pid = pid
                self._run.note_known(procedure)
            reached = ProcedureState[state]
            if reached in TRANSITIONS[procedure.state]:
                self._register.change(procedure, reached)
            if procedure.stop_requested:
                self._run.send_stop(procedure)

    def on_process_end(self, procedure_id: int, end: ProcessEnd) -> None:
        """See `ScriptHostListener.on_process_end`."""
        with self._register.lock:
            procedure = self._find(procedure_id)
            if procedure is not None:
                self._run.end(procedure, end)

    def on_progress(self, procedure_id: int, progress: float, message: str) -> None:
        """See `ScriptHostListener.on_progress`."""
        report = {"procedure_id": procedure_id, "progress": progress, "message": message}
        self._run.report(procedure_id, "scriptProgress", report)

    def on_message(self, procedure_id: int, message: str) -> None:
        """See `ScriptHostListener.on_message`."""
        self._run.report_message(procedure_id, message)

    def on_output(self, procedure_id: int, next_offset: int) -> None:
        """See `ScriptHostListener.on_output`."""
        self._output.on_output(procedure_id, next_offset)

    def _find(self, procedure_id: int) -> Procedure | None:
        """A procedure that has not ended; one whose end waits for the disk has."""
        procedure = self._register.find(procedure_id)
        return None if procedure is None or procedure.finished else procedure

    # --- The host ----------------------------------------------------------------------------

    def on_host_attached(self, known: frozenset[int], *, same_host: bool) -> None:
        """See `ScriptHostListener.on_host_attached`."""
        with self._register.lock:
            recovered, self._recovered = self._recovered, set()
            self._register.skip_ids(max(known, default=0))
            for procedure_id in known:
                if self._register.find(procedure_id) is None:
                    # It has ended, or its record was lost: then nobody could stop it any more.
                    self._run.send_stop_of(procedure_id)
            for procedure in self._register.live():
                if procedure.finished:
                    continue
                if procedure.procedure_id in known:
                    self._run.note_known(procedure)
                    self._run.say_again(procedure)
                elif procedure.procedure_id in recovered:
                    if procedure.stop_requested and procedure.pid is None:
                        self._run.end_stopped(procedure)
                    elif same_host and self._run.has_no_trace(procedure):
                        self._run.end_unstarted(procedure)
                    else:
                        self._run.end_lost(procedure)
                elif self._run.is_launched(procedure) and not (
                    same_host and self._run.launch_again(procedure)
                ):
                    self._run.end_lost(procedure)

    def on_host_lost(self) -> None:
        """See `ScriptHostListener.on_host_lost`."""
        with self._register.lock:
            for procedure in self._register.live():
                if self._run.is_launched(procedure) and not procedure.finished:
                    self._run.end_lost(procedure)
