"""ScriptExecutionService: prepare, start, stop and watch scripts (application layer)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ska_oso_activity.application.abort_scripts import AbortScripts
from ska_oso_activity.application.aborts import Aborts
from ska_oso_activity.application.command_tracker import CommandTracker
from ska_oso_activity.application.execution_settings import ExecutionSettings
from ska_oso_activity.application.ports import (
    BlockFiles,
    Publisher,
    ScriptHost,
    ScriptHostListener,
    ScriptInspector,
    ScriptSource,
)
from ska_oso_activity.application.procedure_follow import ProcedureFollower
from ska_oso_activity.application.procedure_register import ProcedureRegister
from ska_oso_activity.application.procedure_run import ProcedureRun, new_procedure
from ska_oso_activity.application.records import procedure_record, procedure_summary
from ska_oso_activity.application.script_checks import ScriptChecks
from ska_oso_activity.application.script_output import ScriptOutput
from ska_oso_activity.domain.errors import NoCapacity, NotOnline, WrongState
from ska_oso_activity.domain.procedure import (
    PrepareProcessCommand,
    Procedure,
    ProcedureState,
    StartProcessCommand,
    StopProcessCommand,
    abort_request_id,
)

__all__ = ["ExecutionSettings", "ScriptExecutionService"]


class ScriptExecutionService:
    """Runs scripts, each in a process of its own, through the script host.

    Attributes:
        listener: to be told what the script host says.
        closers: called by `close`, first of all.
    """

    def __init__(
        self,
        register: ProcedureRegister,
        publisher: Publisher,
        tracker: CommandTracker,
        door: ScriptSource,
        inspect: ScriptInspector,
        blocks: BlockFiles,
        settings: ExecutionSettings,
    ) -> None:
        self._register = register
        register.room = self.room
        self._publisher = publisher
        self._blocks = blocks
        self._settings = settings
        self._run = ProcedureRun(register, door, blocks, settings, self._ended)
        self._output = ScriptOutput(publisher, lambda: self.host, self._labels_of)
        self._abort_scripts = AbortScripts(register, self._run, settings)
        self._checks = ScriptChecks(publisher, door, inspect, settings)
        self._follower = ProcedureFollower(register, self._run, self._output)
        self.listener: ScriptHostListener = self._follower
        self.closers: list[Callable[[], None]] = []
        self._aborts = Aborts(tracker, register.note, register.set_note)
        self._closed_because: str | None = None

    def begin(self, host: ScriptHost) -> None:
        """Take up the history and the host; procedures that nobody runs any more are ended."""
        self._run.begin(host)
        self._follower.begin(self._register.load())
        with self._register.lock:
            self._aborts.resume(each.procedure_id for each in self._unfinished())
        self._register.skip_ids(host.greatest_id())
        host.open()

    def close(self) -> None:
        """Let go of everything; scripts go on."""
        for close in self.closers:
            close()
        self._run.close()
        self._checks.close()
        self._register.close()

    def set_closed(self, because: str | None) -> None:
        """Accept no new work, for the reason given; None: accept it again."""
        self._closed_because = because
        self._publisher.publish([("freeSlots", self.room())])

    @property
    def host(self) -> ScriptHost:
        """The script host."""
        return self._run.host

    def _labels_of(self, procedure_id: int) -> dict[str, Any]:
        short = self._register.short(procedure_id)
        return {} if short is None else short.get("labels") or {}

    # --- PrepareProcess ----------------------------------------------------------------------

    def prepare_process(self, command: PrepareProcessCommand) -> dict[str, Any]:
        """Make a process for a script and prepare it; returns procedure id and state.

        The same `request_id` returns the same procedure and never starts a second one.

        Raises:
            ActivityError: a refusal: nothing was created.
        """
        known = self._prepared(command.request_id)
        if known is not None:
            return known
        self._require_open()
        self._settings.require_telescope(command.telescope)
        self._require_room()
        ready = self._run.make_ready(command)
        try:
            with self._register.lock:
                # Two at the same instant: the first one counts.
                known = self._prepared(command.request_id)
                if known is None:
                    self._require_room()
                    procedure = self._register.create(
                        lambda number: new_procedure(number, command, ready)
                    )
        except BaseException:
            self._run.drop(ready)
            raise
        if known is not None:
            self._run.drop(ready)
            return known
        if ready is not None:
            self._run.launch(procedure, command, ready)
        else:
            self._run.prepare(procedure, command)
        return {"procedure_id": procedure.procedure_id, "state": ProcedureState.CREATING.name}

    def _prepared(self, request_id: str) -> dict[str, Any] | None:
        with self._register.lock:
            procedure_id = self._register.of_request(request_id)
            if procedure_id is None:
                return None
            state = self._register.known_record(procedure_id)["state"]
            return {"procedure_id": procedure_id, "state": state}

    def _require_open(self) -> None:
        if self._closed_because is not None:
            raise NotOnline(
                f"PrepareProcess is not accepted while {self._closed_because}: "
                "set adminMode to ONLINE or ENGINEERING"
            )

    def room(self) -> int:
        """How many more scripts would be taken now."""
        if self._closed_because is not None:
            return 0
        return max(0, self._settings.most - len(self._unfinished()))

    def _require_room(self) -> None:
        unfinished = len(self._unfinished())
        if unfinished >= self._settings.most:
            raise NoCapacity(
                f"{unfinished} scripts are not finished, and {self._settings.most} is the most: "
                "wait for one to end, or stop one"
            )

    def _unfinished(self) -> list[Procedure]:
        return [each for each in self._register.live() if not each.finished]

    # --- StartProcess ------------------------------------------------------------------------

    def start_process(self, command: StartProcessCommand) -> dict[str, Any]:
        """Run a function of a prepared script, once; returns the procedure's summary.

        Raises:
            UnknownActivity: there is no such procedure.
            WrongState: it is not READY (without `force_start`), or was started before.
        """
        with self._register.lock:
            record = self._record(command.procedure_id)
            procedure = self._register.find(command.procedure_id)
            if procedure is None or procedure.finished or procedure.stop_requested:
                state = "being stopped"
                if procedure is None or procedure.finished:
                    state = record["state"]
                raise WrongState(
                    f"procedure {command.procedure_id} is {state}: only one that is READY can be "
                    "started"
                )
            if procedure.start is not None:
                raise WrongState(
                    f"procedure {command.procedure_id} was started before and is "
                    f"{procedure.state.name}: a script is started once"
                )
            if procedure.state is not ProcedureState.READY and not command.force_start:
                raise WrongState(
                    f"procedure {command.procedure_id} is {procedure.state.name}: wait until it is "
                    "READY, or set force_start to have it started then"
                )
            procedure.start = {"function": command.function, "args": command.args.to_json()}
            if procedure.subarray_id is None:
                procedure.subarray_id = command.subarray_id
            # Synced: were it lost with the power, the same request would have main run again.
            self._register.save(procedure, durable=True)
            if self._run.is_launched(procedure):
                self._run.send_start(procedure)  # its process waits with it until it is ready
            return procedure_summary(self._record(command.procedure_id))

    # --- StopProcess -------------------------------------------------------------------------

    def stop_process(self, command: StopProcessCommand) -> dict[str, Any]:
        """Stop a script; returns its summary, with what becomes of the abort script.

        `abort_request_id` is the request id that the abort script will have; where none will be
        run, `abort_skipped` says why.

        Raises:
            UnknownActivity: there is no such procedure.
        """
        with self._register.lock:
            record = self._record(command.procedure_id)
            procedure = self._register.find(command.procedure_id)
            if procedure is not None:
                record = procedure_record(procedure)
            abort_skipped: str | None = "it had ended before the stop"
            if procedure is not None and not procedure.finished:
                abort_skipped = self._abort_scripts.skipped_because(
                    procedure, asked=command.run_abort
                )
                procedure.run_abort = procedure.run_abort or abort_skipped is None
                self._run.stop(procedure)
            elif record["state"] == ProcedureState.STOPPED.name and record["run_abort"]:
                abort_skipped = None  # the reply to an earlier stop may have been lost
            request_id = record["request_id"]
            return {
                **procedure_summary(self._record(command.procedure_id)),
                "abort_request_id": None if abort_skipped else abort_request_id(request_id),
                "abort_skipped": abort_skipped,
            }

    def abort(self, *, tracked: bool = True) -> str:
        """Stop all scripts; no abort scripts are run.

        Args:
            tracked: whether a command Abort follows it to its end.

        Returns:
            The id of the Abort command; empty if there is none.

        Raises:
            NoCapacity: very many Aborts wait for the end of these very scripts already.
        """
        command_id = ""
        with self._register.lock:
            targets = self._unfinished()
            if tracked:
                command_id = self._aborts.begin(each.procedure_id for each in targets)
            for procedure in targets:
                self._run.stop(procedure)
            self._aborts.follow(command_id)
        return command_id

    def _ended(self, procedure: Procedure) -> None:
        """A procedure has ended: what waited for that follows."""
        self._aborts.ended(procedure.procedure_id)
        if procedure.state is ProcedureState.STOPPED and procedure.run_abort:
            self._abort_scripts.run(procedure)

    # --- Questions ---------------------------------------------------------------------------

    def get_process(self, procedure_id: int) -> dict[str, Any]:
        """A procedure's summary, with the tail of its output.

        Raises:
            UnknownActivity: there is no such procedure.
        """
        record = self._record(procedure_id)
        tail = record["output_tail"]
        if self._register.find(procedure_id) is not None:
            tail = self.host.output_tail(procedure_id)
        return {**procedure_summary(record), "output_tail": tail}

    def _record(self, procedure_id: int) -> dict[str, Any]:
        """What is recorded of a procedure; where that waits for the disk, what will be.

        Raises:
            UnknownActivity: there is no such procedure.
        """
        with self._register.lock:
            record = self._register.record_of(procedure_id)
            procedure = self._register.find(procedure_id)
            if record is None and procedure is not None:
                return procedure_record(procedure)
        return record or self._register.known_record(procedure_id)

    def get_output(self, procedure_id: int, offset: int, limit: int) -> dict[str, Any]:
        """Lines of output from `offset`.

        Raises:
            UnknownActivity: there is no such procedure.
        """
        self._record(procedure_id)
        lines, next_offset, dropped = self.host.read_output(procedure_id, offset, limit)
        return {"lines": lines, "next_offset": next_offset, "dropped": dropped}

    def events_since(self, seq: int) -> list[dict[str, Any]]:
        """Events after `seq`, oldest first; from the oldest kept if that is later."""
        return self._register.events_since(seq)

    def event_texts_since(self, seq: int) -> list[str]:
        """The same as JSON texts, as they were written: a full history has thousands."""
        return self._register.event_texts_since(seq)

    def check_process(self, command: PrepareProcessCommand) -> dict[str, Any]:
        """Check a script without executing anything of it; returns the check's id at once."""
        return {"check_id": self._checks.begin(command)}

    def get_check(self, check_id: str) -> dict[str, Any]:
        """The outcome of a check; `valid` is null while it is going on.

        Raises:
            UnknownActivity: there is no such check, or it is too old.
        """
        return self._checks.outcome(check_id)

    def forget(self, procedure_id: int, block_path: str | None) -> None:
        """A procedure's record was removed: so are its block's file and its output."""
        self._output.forget(procedure_id)
        if block_path is not None:
            self._blocks.remove(block_path)
        self.host.forget(procedure_id)
