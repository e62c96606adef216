"""ScriptExecutionService: prepare, start, stop and watch scripts (application layer)."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ska_oso_activity.application.ports import (
    BlockFiles,
    LocatedScript,
    ProcessEnd,
    ProcessSpec,
    Publisher,
    ScriptHost,
    ScriptInspector,
    ScriptSource,
)
from ska_oso_activity.application.procedure_register import ProcedureRegister
from ska_oso_activity.application.records import keepable, procedure_summary
from ska_oso_activity.application.workers import Workers
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.errors import (
    ActivityError,
    EnvironmentFailed,
    ExecutorUnavailable,
    NoCapacity,
    NotOnline,
    Reason,
    ScriptNotAllowed,
    UnknownActivity,
    WrongState,
)
from ska_oso_activity.domain.limits import Limits
from ska_oso_activity.domain.procedure import (
    TRANSITIONS,
    PrepareProcessCommand,
    Procedure,
    ProcedureState,
    StartProcessCommand,
    StopProcessCommand,
    abort_request_id,
)
from ska_oso_activity.domain.script import FileSystemScript, GitScript

_log = logging.getLogger(__name__)

MAX_CHECKS = 200
OUTPUT_LINES = 200
"""Lines of output in one event of scriptOutput at most."""
OUTPUT_BEHIND = 2000
"""How many lines scriptOutput may be behind; about a second's worth of events."""


@dataclass(frozen=True)
class ExecutionSettings:
    """What a site decides about running scripts.

    Attributes:
        grace: seconds a script has to end after a stop before it is killed.
        abort_script: path of the script that a stop with `run_abort` runs; None for none.
        abort_args: keyword arguments of its main.
        environment: environment variables of all scripts, beyond those they see anyway.
        environments: the same by telescope.
        limits: what each script may use.
        telescopes: whose blocks are run here; empty: all.
        most: how many procedures may be unfinished.
    """

    grace: float = 3.0
    abort_script: Path | None = None
    abort_args: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    telescopes: frozenset[str] = frozenset()
    most: int = 128


class ScriptExecutionService:
    """Runs scripts, each in a process of its own, through the script host."""

    def __init__(
        self,
        register: ProcedureRegister,
        publisher: Publisher,
        door: ScriptSource,
        inspect: ScriptInspector,
        blocks: BlockFiles,
        settings: ExecutionSettings,
    ) -> None:
        self._register = register
        register.room = self.room
        self._publisher = publisher
        self._door = door
        self._inspect = inspect
        self._blocks = blocks
        self._settings = settings
        self._host: ScriptHost | None = None
        self._workers = Workers("prepare", most=settings.most)
        self._checkers = Workers("check", most=8)
        self._checks: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._aborts: list[tuple[set[int], Callable[[], object]]] = []
        self._launched: set[int] = set()
        self._host_losses = 0
        self._recovered: set[int] = set()
        self._output_told: dict[int, int] = {}
        self._output_known: dict[int, int] = {}
        self._closed_because: str | None = None

    def begin(self, host: ScriptHost) -> None:
        """Take up the history and the host; procedures that nobody runs any more are ended."""
        self._host = host
        self._recovered = {each.procedure_id for each in self._register.load()}
        self._register.skip_ids(host.greatest_id())
        host.open()

    def close(self) -> None:
        """Let go of everything; scripts go on."""
        if self._host is not None:
            self._host.close()
        self._workers.close()
        self._checkers.close()
        self._register.close()

    def set_closed(self, because: str | None) -> None:
        """Accept no new work, for the reason given; None: accept it again."""
        self._closed_because = because
        self._publisher.publish([("freeSlots", self.room())])

    @property
    def host(self) -> ScriptHost:
        """The script host."""
        if self._host is None:
            raise EnvironmentFailed("the script host is not there yet")
        return self._host

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
        self._require_telescope(command.telescope)
        self._door.admit(command.script)
        with self._register.lock:
            # Two at the same instant: the first one counts.
            known = self._prepared(command.request_id)
            if known is not None:
                return known
            self._require_room()
            procedure = self._register.create(lambda number: _procedure(number, command))
        self._workers.submit(lambda: self._prepare(procedure, command, None))
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

    def _require_telescope(self, telescope: str | None) -> None:
        allowed = self._settings.telescopes
        if allowed and telescope not in allowed:
            raise ScriptNotAllowed(
                f"scripts for {telescope or 'no telescope'} are not run here: the property "
                f"Telescopes allows {', '.join(sorted(allowed))}"
            )

    def room(self) -> int:
        """How many more scripts would be taken now."""
        if self._closed_because is not None:
            return 0
        unfinished = sum(not each.finished for each in self._register.live())
        return max(0, self._settings.most - unfinished)

    def _require_room(self) -> None:
        unfinished = len(self._register.live())
        if unfinished >= self._settings.most:
            raise NoCapacity(
                f"{unfinished} scripts are not finished, and {self._settings.most} is the most: "
                "wait for one to end, or stop one"
            )

    def _prepare(
        self, procedure: Procedure, command: PrepareProcessCommand, located: LocatedScript | None
    ) -> None:
        try:
            if located is None:
                located = self._locate(procedure, command)
            self._launch(procedure, command, located)
        except ActivityError as error:
            self._end_unlaunched(procedure, error.reason, str(error))
        except Exception as error:
            _log.exception("procedure %d", procedure.procedure_id)
            self._end_unlaunched(
                procedure, Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}"
            )

    def _locate(self, procedure: Procedure, command: PrepareProcessCommand) -> LocatedScript:
        if self._door.needs_environment(command.script):
            with self._register.lock:
                if not procedure.finished:
                    self._register.change(procedure, ProcedureState.PREP_ENV)
        return self._door.locate(
            command.script,
            report=lambda line: self.on_message(procedure.procedure_id, line),
            cancelled=lambda: procedure.stop_requested,
        )

    def _launch(
        self, procedure: Procedure, command: PrepareProcessCommand, located: LocatedScript
    ) -> None:
        block_path = None
        if command.scheduling_block is not None:
            block_path = str(self._blocks.write(command.scheduling_block))
        with self._register.lock:
            procedure.block_path = block_path
            procedure.script = located.described
            self._register.save(procedure)
            if procedure.stop_requested:
                raise EnvironmentFailed("stopped before a process was made")
        spec = ProcessSpec(
            procedure_id=procedure.procedure_id,
            script_path=str(located.path),
            init=command.init_args,
            block_path=block_path,
            subarray_id=command.subarray_id,
            environment={
                **self._settings.environment,
                **self._settings.environments.get(command.telescope or "", {}),
            },
            python=None if located.python is None else str(located.python),
            grace=self._settings.grace,
            labels=command.labels,
            limits=self._settings.limits,
        )
        while True:
            losses = self._host_losses
            # Not under the lock: a host may have to be started first.
            self.host.launch(spec)
            with self._register.lock:
                began = procedure.pid is not None
                if self._host_losses == losses:
                    self._launched.add(procedure.procedure_id)
                    if procedure.stop_requested:
                        self._stop(procedure)
                    return
                # A host was lost meanwhile, perhaps the one that took it. What has begun is never
                # begun again; otherwise a host that has it already passes a repeat over.
                if began or procedure.finished:
                    self._launched.add(procedure.procedure_id)
                    self._stop(procedure)
                    if not procedure.finished:
                        self._lost(procedure)
                    return

    def _end_unlaunched(self, procedure: Procedure, reason: Reason, error: str) -> None:
        with self._register.lock:
            if procedure.finished:
                return
            if procedure.stop_requested:
                self._end(procedure, ProcessEnd("STOPPED", Reason.STOPPED_BY_REQUEST))
            else:
                self._end(procedure, ProcessEnd("FAILED", reason, error))

    # --- StartProcess ------------------------------------------------------------------------

    def start_process(self, command: StartProcessCommand) -> dict[str, Any]:
        """Run a function of a prepared script, once; returns the procedure's summary.

        Raises:
            UnknownActivity: there is no such procedure.
            WrongState: it is not READY (without `force_start`), or was started before.
        """
        with self._register.lock:
            record = self._register.known_record(command.procedure_id)
            procedure = self._register.find(command.procedure_id)
            if procedure is None or procedure.stop_requested:
                state = record["state"] if procedure is None else "being stopped"
                raise WrongState(
                    f"procedure {command.procedure_id} is {state}: only one that is READY can be "
                    "started"
                )
            if procedure.start is not None:
                raise WrongState(
                    f"procedure {command.procedure_id} was started before and is "
                    f"{procedure.state.name}: a script is started once"
                )
            ready = procedure.state is ProcedureState.READY
            if not ready and not command.force_start:
                raise WrongState(
                    f"procedure {command.procedure_id} is {procedure.state.name}: wait until it is "
                    "READY, or set force_start to have it started then"
                )
            procedure.start = {"function": command.function, "args": command.args.to_json()}
            if procedure.subarray_id is None:
                procedure.subarray_id = command.subarray_id
            self._register.save(procedure)
            if ready:
                self._start(procedure)
            return self._register.summary(command.procedure_id)

    def _start(self, procedure: Procedure) -> None:
        start = procedure.start or {}
        args = ProcedureInput.from_json(start.get("args"))
        with contextlib.suppress(ExecutorUnavailable):
            self.host.start(procedure.procedure_id, str(start.get("function", "main")), args)

    def _stop(self, procedure: Procedure) -> None:
        with contextlib.suppress(ExecutorUnavailable):
            self.host.stop(procedure.procedure_id, self._settings.grace)

    # --- StopProcess -------------------------------------------------------------------------

    def stop_process(self, command: StopProcessCommand) -> dict[str, Any]:
        """Stop a script; returns its summary, with what becomes of the abort script.

        `abort_request_id` is the request id that the abort script will have; where none will be
        run, `abort_skipped` says why.

        Raises:
            UnknownActivity: there is no such procedure.
        """
        with self._register.lock:
            record = self._register.known_record(command.procedure_id)
            procedure = self._register.find(command.procedure_id)
            abort_skipped: str | None = "it had ended before the stop"
            request_id: str | None = None
            if record["state"] == ProcedureState.STOPPED.name and record["run_abort"]:
                # The reply to an earlier stop may have been lost.
                abort_skipped = None
                request_id = abort_request_id(record["request_id"])
            if procedure is not None:
                abort_skipped = self._no_abort_because(procedure, asked=command.run_abort)
                procedure.run_abort = procedure.run_abort or abort_skipped is None
                procedure.stop_requested = True
                self._register.save(procedure)
                if procedure.procedure_id in self._launched:
                    self._stop(procedure)
                if abort_skipped is None:
                    request_id = abort_request_id(procedure.request_id)
            return {
                **self._register.summary(command.procedure_id),
                "abort_request_id": request_id,
                "abort_skipped": abort_skipped,
            }

    def _no_abort_because(self, procedure: Procedure, *, asked: bool) -> str | None:
        if not asked:
            return "run_abort is false"
        if self._settings.abort_script is None:
            return "no abort script is configured (property AbortScript of ScriptExecution)"
        if procedure.subarray_id is None:
            return "the script is on no subarray"
        if not procedure.was_ready:
            return "the script was not READY yet"
        return None

    def abort(self, then: Callable[[], object]) -> None:
        """Stop all scripts; no abort scripts are run. `then` is called when they are gone."""
        with self._register.lock:
            targets = {each.procedure_id for each in self._register.live()}
            if not targets:
                then()
                return
            self._aborts.append((targets, then))
            for procedure_id in sorted(targets):
                self.stop_process(StopProcessCommand(procedure_id))

    def _aborted(self, procedure_id: int) -> None:
        for abort in list(self._aborts):
            targets, then = abort
            targets.discard(procedure_id)
            if not targets:
                self._aborts.remove(abort)
                then()

    def _run_abort_script(self, stopped: Procedure) -> None:
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
        procedure = self._register.create_anyway(lambda number: _procedure(number, command))
        args = ProcedureInput(kwargs=self._settings.abort_args)
        procedure.start = {"function": "main", "args": args.to_json()}
        located = LocatedScript(path, command.script.to_json())
        self._workers.submit(lambda: self._prepare(procedure, command, located))

    # --- Questions ---------------------------------------------------------------------------

    def get_process(self, procedure_id: int) -> dict[str, Any]:
        """A procedure's summary, with the tail of its output.

        Raises:
            UnknownActivity: there is no such procedure.
        """
        record = self._register.known_record(procedure_id)
        tail = record["output_tail"]
        if self._register.find(procedure_id) is not None:
            tail = self.host.output_tail(procedure_id)
        return {**procedure_summary(record), "output_tail": tail}

    def get_output(self, procedure_id: int, offset: int, limit: int) -> dict[str, Any]:
        """Lines of output from `offset`.

        Raises:
            UnknownActivity: there is no such procedure.
        """
        self._register.known_record(procedure_id)
        lines, next_offset, dropped = self.host.read_output(procedure_id, offset, limit)
        return {"lines": lines, "next_offset": next_offset, "dropped": dropped}

    def events_since(self, seq: int) -> list[dict[str, Any]]:
        """Events after `seq`, oldest first; from the oldest kept if that is later."""
        return self._register.events_since(seq)

    # --- CheckProcess ------------------------------------------------------------------------

    def check_process(self, command: PrepareProcessCommand) -> dict[str, Any]:
        """Check a script without executing anything of it; returns the check's id at once."""
        check_id = str(uuid.uuid4())
        self._note_check({"check_id": check_id, "valid": None, "findings": []})
        self._checkers.submit(lambda: self._check(check_id, command))
        return {"check_id": check_id}

    def _check(self, check_id: str, command: PrepareProcessCommand) -> None:
        try:
            findings = self._findings(command)
        except ActivityError as error:
            findings = [{"code": error.reason.value, "message": str(error)}]
        except Exception as error:
            _log.exception("check %s", check_id)
            findings = [{"code": Reason.INTERNAL_ERROR.value, "message": str(error)}]
        outcome = {"check_id": check_id, "valid": not findings, "findings": findings}
        self._note_check(outcome)
        self._publisher.publish([("processCheck", strict_json.dumps(outcome))])

    def _findings(self, command: PrepareProcessCommand) -> list[dict[str, str]]:
        self._require_telescope(command.telescope)
        script = command.script
        if isinstance(script, GitScript):
            # Building an environment may run code of the repository.
            script = replace(script, create_env=False)
        self._door.admit(script)
        located = self._door.locate(script, report=lambda _: None, cancelled=lambda: False)
        return self._inspect(
            located.path,
            init_args=command.init_args,
            main_args=command.main_args,
            subarray_id=command.subarray_id,
        )

    def _note_check(self, outcome: dict[str, Any]) -> None:
        with self._register.lock:
            self._checks[outcome["check_id"]] = outcome
            while len(self._checks) > MAX_CHECKS:
                self._checks.popitem(last=False)

    def get_check(self, check_id: str) -> dict[str, Any]:
        """The outcome of a check; `valid` is null while it is going on.

        Raises:
            UnknownActivity: there is no such check, or it is too old.
        """
        with self._register.lock:
            outcome = self._checks.get(check_id.strip())
        if outcome is None:
            raise UnknownActivity(
                f"no check has the id {check_id!r:.80}: the last {MAX_CHECKS} are kept"
            )
        return outcome

    # --- What the script host says -----------------------------------------------------------

    def on_process_state(self, procedure_id: int, state: str, pid: int | None) -> None:
        """See `ScriptHostListener.on_process_state`."""
        with self._register.lock:
            procedure = self._register.find(procedure_id)
            if procedure is None:
                return
            if pid is not None:
                procedure.pid = pid
            reached = ProcedureState[state]
            if reached in TRANSITIONS[procedure.state]:
                self._register.change(procedure, reached)
            if procedure.stop_requested:
                self._stop(procedure)
            elif reached is ProcedureState.READY and procedure.start is not None:
                self._start(procedure)

    def on_process_end(self, procedure_id: int, end: ProcessEnd) -> None:
        """See `ScriptHostListener.on_process_end`."""
        with self._register.lock:
            procedure = self._register.find(procedure_id)
            if procedure is not None:
                self._end(procedure, end)

    def _end(self, procedure: Procedure, end: ProcessEnd) -> None:
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
        self._launched.discard(procedure.procedure_id)
        self._register.change(procedure, state)
        self._aborted(procedure.procedure_id)
        if state is ProcedureState.STOPPED and procedure.run_abort:
            self._run_abort_script(procedure)

    def on_progress(self, procedure_id: int, progress: float, message: str) -> None:
        """See `ScriptHostListener.on_progress`."""
        self._report(
            procedure_id,
            "scriptProgress",
            {"procedure_id": procedure_id, "progress": progress, "message": message},
        )

    def on_message(self, procedure_id: int, message: str) -> None:
        """See `ScriptHostListener.on_message`."""
        self._report(
            procedure_id, "scriptMessage", {"procedure_id": procedure_id, "message": message}
        )

    def _report(self, procedure_id: int, attribute: str, report: Mapping[str, Any]) -> None:
        with self._register.lock:
            procedure = self._register.find(procedure_id)
            if procedure is None:
                return
            procedure.progress = report.get("progress", procedure.progress)
            procedure.message = report["message"] or procedure.message
            self._register.report(procedure, attribute, report)

    def on_output(self, procedure_id: int, next_offset: int) -> None:
        """See `ScriptHostListener.on_output`."""
        self._output_known[procedure_id] = next_offset
        if next_offset > self._output_told.get(procedure_id, 0):
            self._publisher.refresh(
                "scriptOutput", lambda: self._output_news(procedure_id), key=procedure_id
            )

    def _output_news(self, procedure_id: int) -> str | None:
        """The next lines of a script's output.

        What is far behind a flood is passed over: `offset` shows the gap, and GetOutput has it.
        """
        newest = self._output_known.get(procedure_id, 0)
        told = max(self._output_told.get(procedure_id, 0), newest - OUTPUT_BEHIND)
        lines, next_offset, _ = self.host.read_output(procedure_id, told, OUTPUT_LINES)
        if not lines:
            return None
        self._output_told[procedure_id] = next_offset
        if next_offset < newest:
            self.on_output(procedure_id, newest)
        return strict_json.dumps(
            {"procedure_id": procedure_id, "offset": lines[0]["n"], "lines": lines}
        )

    def on_host_attached(self, known: frozenset[int]) -> None:
        """See `ScriptHostListener.on_host_attached`."""
        with self._register.lock:
            recovered, self._recovered = self._recovered, set()
            self._register.skip_ids(max(known, default=0))
            for procedure_id in known:
                if self._register.find(procedure_id) is None:
                    # It has ended, or its record was lost: then nobody could stop it any more.
                    with contextlib.suppress(ExecutorUnavailable):
                        self.host.stop(procedure_id, self._settings.grace)
            for procedure in self._register.live():
                if procedure.procedure_id in known:
                    self._launched.add(procedure.procedure_id)
                elif procedure.procedure_id in recovered:
                    if procedure.stop_requested and procedure.pid is None:
                        self._end(procedure, ProcessEnd("STOPPED", Reason.STOPPED_BY_REQUEST))
                    else:
                        self._lost(procedure)
                    continue
                # Said before contact was lost, perhaps, or never.
                if procedure.stop_requested:
                    self._stop(procedure)
                elif procedure.state is ProcedureState.READY and procedure.start is not None:
                    self._start(procedure)

    def on_host_lost(self) -> None:
        """See `ScriptHostListener.on_host_lost`."""
        with self._register.lock:
            self._host_losses += 1
            for procedure in self._register.live():
                if procedure.procedure_id in self._launched:
                    self._lost(procedure)

    def _lost(self, procedure: Procedure) -> None:
        doing = procedure.state.name
        self._end(
            procedure,
            ProcessEnd(
                "FAILED",
                Reason.EXECUTOR_LOST,
                f"the script was {doing} and the host that ran it is gone",
            ),
        )

    def forget(self, procedure_id: int, block_path: str | None) -> None:
        """A procedure's record was removed: so are its block's file and its output."""
        self._output_told.pop(procedure_id, None)
        self._output_known.pop(procedure_id, None)
        if block_path is not None:
            self._blocks.remove(block_path)
        self.host.forget(procedure_id)


def _procedure(procedure_id: int, command: PrepareProcessCommand) -> Procedure:
    return Procedure(
        procedure_id=procedure_id,
        request_id=command.request_id,
        script=command.script.to_json(),
        subarray_id=command.subarray_id,
        telescope=command.telescope,
        labels=dict(command.labels),
    )
