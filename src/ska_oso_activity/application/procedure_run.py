"""What is done for a procedure: its script made ready, launched, started, stopped, ended.

Application layer.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ska_oso_activity.application.execution_settings import ExecutionSettings
from ska_oso_activity.application.ports import (
    BlockFiles,
    LocatedScript,
    ProcessEnd,
    ProcessSpec,
    ScriptHost,
    ScriptSource,
)
from ska_oso_activity.application.procedure_register import ProcedureRegister
from ska_oso_activity.application.records import keepable
from ska_oso_activity.application.workers import Workers
from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.errors import (
    ActivityError,
    EnvironmentFailed,
    ExecutorUnavailable,
    Reason,
)
from ska_oso_activity.domain.procedure import (
    TRANSITIONS,
    BlockContent,
    PrepareProcessCommand,
    Procedure,
    ProcedureState,
)

_log = logging.getLogger(__name__)

SMALL_BLOCK = 64 * 1024
"""Characters of a Scheduling Block up to which it is written while PrepareProcess is answered."""

DELIVERIES = 5
"""How often a launch is sent at most, if contact with the host breaks each time."""


@dataclass(frozen=True)
class ReadyScript:
    """A script that can be launched at once: where it lies, and its block's file."""

    located: LocatedScript
    block_path: str | None


def new_procedure(
    procedure_id: int, command: PrepareProcessCommand, ready: ReadyScript | None = None
) -> Procedure:
    """The procedure that a command asks for; `ready` is its script, if that is made ready."""
    return Procedure(
        procedure_id=procedure_id,
        request_id=command.request_id,
        script=ready.located.described if ready else command.script.to_json(),
        subarray_id=command.subarray_id,
        telescope=command.telescope,
        labels=dict(command.labels),
        block_path=ready.block_path if ready else None,
    )


class ProcedureRun:
    """Takes procedures from PrepareProcess to their end.

    Args:
        on_end: called, under the register's lock, once a procedure has ended.
    """

    def __init__(
        self,
        register: ProcedureRegister,
        door: ScriptSource,
        blocks: BlockFiles,
        settings: ExecutionSettings,
        on_end: Callable[[Procedure], None],
    ) -> None:
        self._register = register
        self._door = door
        self._blocks = blocks
        self._settings = settings
        self._on_end = on_end
        self._workers = Workers("prepare", most=settings.most)
        self._launched: dict[int, ProcessSpec | None] = {}
        """What the host was sent; None where that was long ago, or in another life."""
        self._host: ScriptHost | None = None

    def begin(self, host: ScriptHost) -> None:
        """Take up the host."""
        self._host = host

    def close(self) -> None:
        """Let go of the host; scripts go on."""
        if self._host is not None:
            self._host.close()
        self._workers.close()

    @property
    def host(self) -> ScriptHost:
        """The script host."""
        if self._host is None:
            raise EnvironmentFailed("the script host is not there yet")
        return self._host

    # --- Making ready ------------------------------------------------------------------------

    def make_ready(self, command: PrepareProcessCommand) -> ReadyScript | None:
        """Make a script ready if that takes no time; None: it is for `prepare`.

        Raises:
            ActivityError: the script may not, or cannot, be run.
        """
        located = self._door.admit(command.script)
        block = command.scheduling_block
        if located is None or not self.host.takes_at_once:
            return None
        if block is not None and len(block.content) > SMALL_BLOCK:
            return None
        try:
            return ReadyScript(located, self._write(block))
        except ActivityError:  # to be told as the procedure's end
            return None

    def drop(self, ready: ReadyScript | None) -> None:
        """It will not be launched: its block's file goes."""
        if ready is not None and ready.block_path is not None:
            self._blocks.remove(ready.block_path)

    def prepare(
        self,
        procedure: Procedure,
        command: PrepareProcessCommand,
        located: LocatedScript | None = None,
    ) -> None:
        """Make a script ready in the background, and launch it."""
        self._in_background(procedure, lambda: self._prepare(procedure, command, located))

    def _prepare(
        self, procedure: Procedure, command: PrepareProcessCommand, located: LocatedScript | None
    ) -> None:
        if located is None:
            located = self._locate(procedure, command)
        block_path = self._write(command.scheduling_block)
        with self._register.lock:
            procedure.block_path = block_path
            procedure.script = located.described
            self._register.save(procedure)
        self._deliver(procedure, self._spec(procedure, command, ReadyScript(located, block_path)))

    def _locate(self, procedure: Procedure, command: PrepareProcessCommand) -> LocatedScript:
        if self._door.needs_environment(command.script):
            with self._register.lock:
                if not procedure.finished:
                    self._register.change(procedure, ProcedureState.PREP_ENV)
        return self._door.locate(
            command.script,
            report=partial(self.report_message, procedure.procedure_id),
            cancelled=lambda: procedure.stop_requested,
        )

    def _write(self, block: BlockContent | None) -> str | None:
        return None if block is None else str(self._blocks.write(block))

    def report_message(self, procedure_id: int, message: str) -> None:
        """Tell what a script, or the making ready of it, announces."""
        self.report(
            procedure_id, "scriptMessage", {"procedure_id": procedure_id, "message": message}
        )

    def report(self, procedure_id: int, attribute: str, report: Mapping[str, Any]) -> None:
        """Tell what a script reports, and keep it."""
        with self._register.lock:
            procedure = self._register.find(procedure_id)
            if procedure is None or procedure.finished:
                return
            procedure.progress = report.get("progress", procedure.progress)
            procedure.message = report["message"] or procedure.message
            self._register.report(procedure, attribute, report)

    # --- Launching ---------------------------------------------------------------------------

    def launch(
        self, procedure: Procedure, command: PrepareProcessCommand, ready: ReadyScript
    ) -> None:
        """Launch a script that is ready; in the background if there is no contact just now."""
        spec = self._spec(procedure, command, ready)
        try:
            self._launch(procedure, spec)
        except ActivityError:
            self._in_background(procedure, lambda: self._deliver(procedure, spec))

    def launch_again(self, procedure: Procedure) -> bool:
        """Launch what the host, though it is the same one, has not heard of; whether that can be.

        A message can be lost with its connection. What has reached the host is never launched
        again: it passes over a second launch.
        """
        spec = self._launched.pop(procedure.procedure_id, None)
        if spec is None or procedure.pid is not None:
            return False
        _log.warning("the launch of procedure %d was lost on its way", procedure.procedure_id)
        self._in_background(procedure, lambda: self._deliver(procedure, spec))
        return True

    def _spec(
        self, procedure: Procedure, command: PrepareProcessCommand, ready: ReadyScript
    ) -> ProcessSpec:
        python = ready.located.python
        return ProcessSpec(
            procedure_id=procedure.procedure_id,
            script_path=str(ready.located.path),
            init=command.init_args,
            block_path=ready.block_path,
            subarray_id=command.subarray_id,
            environment=self._settings.environment_for(command.telescope),
            python=None if python is None else str(python),
            grace=self._settings.grace,
            labels=command.labels,
            limits=self._settings.limits,
        )

    def _deliver(self, procedure: Procedure, spec: ProcessSpec) -> None:
        """Launch a script as soon as there is contact with the host, which may have to be started.

        Raises:
            ExecutorUnavailable: there is none.
            EnvironmentFailed: it was stopped meanwhile.
        """
        for left in reversed(range(DELIVERIES)):
            self.host.wait_for_contact()
            try:
                self._launch(procedure, spec)
            except ExecutorUnavailable:
                if not left:
                    raise
            else:
                return

    def _launch(self, procedure: Procedure, spec: ProcessSpec) -> None:
        # Under the lock, so that what the host says of it, or that it is gone, comes after this.
        with self._register.lock:
            if procedure.finished:
                return
            if procedure.stop_requested:
                raise EnvironmentFailed("stopped before a process was made")
            # Noted first: what is known of it, or lost with the host, may come before we return.
            self._launched[procedure.procedure_id] = spec
            try:
                self.host.launch(spec)
            except BaseException:
                self._launched.pop(procedure.procedure_id, None)
                raise
            self.say_again(procedure)

    def say_again(self, procedure: Procedure) -> None:
        """Send what was said before the host had the procedure, or perhaps never reached it."""
        if procedure.stop_requested or procedure.finished:
            self.send_stop(procedure)
        elif procedure.start is not None and procedure.state is not ProcedureState.RUNNING:
            self.send_start(procedure)

    def _in_background(self, procedure: Procedure, work: Callable[[], None]) -> None:
        def do() -> None:
            try:
                work()
            except ActivityError as error:
                self._end_unlaunched(procedure, error.reason, str(error))
            except Exception as error:
                if self._register.closed:
                    return
                _log.exception("procedure %d", procedure.procedure_id)
                text = f"{type(error).__name__}: {error}"
                self._end_unlaunched(procedure, Reason.INTERNAL_ERROR, text)

        self._workers.submit(do)

    def is_launched(self, procedure: Procedure) -> bool:
        """Whether the host was sent it."""
        return procedure.procedure_id in self._launched

    def note_known(self, procedure: Procedure) -> None:
        """The host has it."""
        self._launched[procedure.procedure_id] = None

    # --- Starting and stopping ---------------------------------------------------------------

    def send_start(self, procedure: Procedure) -> None:
        """Have the host start what is to be started, once the script is ready.

        It may be sent twice. Where there is no contact, it is due again when there is.
        """
        start = procedure.start or {}
        args = ProcedureInput.from_json(start.get("args"))
        with contextlib.suppress(ExecutorUnavailable):
            self.host.start(procedure.procedure_id, str(start.get("function", "main")), args)

    def stop(self, procedure: Procedure) -> None:
        """Stop a procedure, whatever becomes of it; the disk comes after that."""
        procedure.stop_requested = True
        if self.is_launched(procedure):
            self.send_stop(procedure)
        self._register.save(procedure)

    def send_stop(self, procedure: Procedure) -> None:
        """Have the host stop it; as `send_start`."""
        self.send_stop_of(procedure.procedure_id)

    def send_stop_of(self, procedure_id: int) -> None:
        """The same for a procedure that may be unknown to us."""
        with contextlib.suppress(ExecutorUnavailable):
            self.host.stop(procedure_id, self._settings.grace)

    # --- Ends --------------------------------------------------------------------------------

    def end(self, procedure: Procedure, end: ProcessEnd) -> None:
        """Note that a procedure has ended; no process of it is alive."""
        procedure.reason = end.reason
        procedure.error = end.error
        procedure.stacktrace = end.stacktrace
        procedure.result, note = keepable(end.result)
        procedure.exit_code = end.exit_code
        procedure.signal = end.signal
        procedure.message = note or end.message or procedure.message
        state = ProcedureState[end.state]
        if state is ProcedureState.COMPLETE:
            procedure.progress = 100.0
        if procedure.pid is not None:
            procedure.output_tail = self.host.output_tail(procedure.procedure_id)
        if state not in TRANSITIONS[procedure.state]:
            # News of the way was lost with a host; the end is what counts.
            _log.warning(
                "procedure %d went from %s to %s",
                procedure.procedure_id,
                procedure.state.name,
                state.name,
            )
            procedure.state = ProcedureState.RUNNING
        self._launched.pop(procedure.procedure_id, None)
        self._register.change(procedure, state)
        self._on_end(procedure)

    def end_lost(self, procedure: Procedure) -> None:
        """Note that a procedure is gone with its host."""
        doing = procedure.state.name
        text = f"the script was {doing} and the host that ran it is gone"
        self.end(procedure, ProcessEnd("FAILED", Reason.EXECUTOR_LOST, text))

    def has_no_trace(self, procedure: Procedure) -> bool:
        """Whether nothing was ever seen of its process: no state, no line of output.

        The state it came to might have been recorded and lost again with a damaged disk, so the
        output, which is kept elsewhere, is looked at, too.
        """
        return procedure.pid is None and not self.host.output_tail(procedure.procedure_id, 1)

    def end_unstarted(self, procedure: Procedure) -> None:
        """Note that a restart of ours came before the script had been handed to the host."""
        text = "the script was never started: the executor was restarted before it came to that"
        self.end(procedure, ProcessEnd("FAILED", Reason.EXECUTOR_UNAVAILABLE, text))

    def end_stopped(self, procedure: Procedure) -> None:
        """Note that a procedure was stopped before there was a process."""
        self.end(procedure, ProcessEnd("STOPPED", Reason.STOPPED_BY_REQUEST))

    def _end_unlaunched(self, procedure: Procedure, reason: Reason, error: str) -> None:
        with self._register.lock:
            if procedure.finished or self._register.closed:
                return
            if procedure.stop_requested:
                self.end_stopped(procedure)
            else:
                self.end(procedure, ProcessEnd("FAILED", reason, error))
