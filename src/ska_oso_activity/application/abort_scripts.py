"""The abort script, which follows the stop of an activity on a subarray (application layer)."""

from __future__ import annotations

from ska_oso_activity.application.execution_settings import ExecutionSettings
from ska_oso_activity.application.ports import LocatedScript
from ska_oso_activity.application.procedure_register import ProcedureRegister
from ska_oso_activity.application.procedure_run import ProcedureRun, new_procedure
from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.procedure import (
    PrepareProcessCommand,
    Procedure,
    abort_request_id,
)
from ska_oso_activity.domain.script import FileSystemScript


class AbortScripts:
    """Runs the site's abort script for procedures that were stopped."""

    def __init__(
        self, register: ProcedureRegister, run: ProcedureRun, settings: ExecutionSettings
    ) -> None:
        self._register = register
        self._run = run
        self._settings = settings

    def skipped_because(self, procedure: Procedure, *, asked: bool) -> str | None:
        """Why the stop of a procedure will not be followed by an abort script; None: it will."""
        if not asked:
            return "run_abort is false"
        if self._settings.abort_script is None:
            return "no abort script is configured (property AbortScript of ScriptExecution)"
        if procedure.subarray_id is None:
            return "the script is on no subarray"
        if not procedure.was_ready:
            return "the script was not READY yet"
        return None

    def run(self, stopped: Procedure) -> None:
        """Run it, as a procedure of its own."""
        path = self._settings.abort_script
        if path is None:
            return
        command = PrepareProcessCommand(
            request_id=abort_request_id(stopped.request_id),
            script=FileSystemScript(path.as_uri()),
            subarray_id=stopped.subarray_id,
            telescope=stopped.telescope,
            labels={**stopped.labels, "abort_of": stopped.procedure_id},
        )
        args = ProcedureInput(kwargs=self._settings.abort_args)

        def procedure_of(number: int) -> Procedure:
            procedure = new_procedure(number, command)
            procedure.start = {"function": "main", "args": args.to_json()}
            return procedure

        procedure = self._register.create_anyway(procedure_of)
        self._run.prepare(procedure, command, LocatedScript(path, command.script.to_json()))
