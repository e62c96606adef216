"""Hand-written stand-ins for everything in `application/ports.py`, and the values tests begin with.

Each does what its port says and nothing clever; what a test wants to go wrong is a plain attribute.
Where a fake and its real adapter can share a test, they do, so that the fake stays honest.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ska_oso_activity.adapters.sqlite_history import EVENTS_PER_RECORD
from ska_oso_activity.application.ports import (
    ExecutorListener,
    FetchedBlock,
    LocatedScript,
    ProcessEnd,
    ProcessSpec,
    SchedulingBlockInstance,
    ScriptHostListener,
)
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.errors import (
    ActivityError,
    EnvironmentFailed,
    ExecutorUnavailable,
    OdaUnavailable,
    SchedulingBlockInvalid,
    SchedulingBlockNotFound,
    UnknownActivity,
    WrongState,
)
from ska_oso_activity.domain.procedure import (
    BlockContent,
    PrepareProcessCommand,
    StartProcessCommand,
    StopProcessCommand,
    abort_request_id,
)
from ska_oso_activity.domain.request import ActivityCommand
from ska_oso_activity.domain.scheduling_block import BLOCK_LIMIT, BlockReference
from ska_oso_activity.domain.script import FileSystemScript, GitScript, Script
from ska_oso_activity.domain.times import utc_now

SBD = "sbd-mid-20261124-00001"

T = TypeVar("T")

# --- Waiting ---------------------------------------------------------------------------------


class News:
    """Wakes who waits for something to have happened; every fake tells it what it is asked."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def tell(self) -> None:
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, condition: Callable[[], object], timeout: float) -> bool:
        """Look at `condition`, without any lock held, whenever there is news."""
        deadline = time.monotonic() + timeout
        while True:
            with self._condition:
                seen = self._count
            if condition():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._condition:
                # What changes after the last news of it is seen at the next look.
                self._condition.wait_for(lambda: self._count != seen, min(left, 0.05))  # noqa: B023


NEWS = News()


def eventually(condition: Callable[[], object], timeout: float = 2.0) -> None:
    """Wait until `condition` is true; a failed assertion after `timeout` seconds."""
    assert NEWS.wait(condition, timeout), "it did not come to that in time"


# --- Values to begin with --------------------------------------------------------------------


def block_text(
    sbd_id: str | None = SBD,
    *,
    init: Mapping[str, Any] | None = None,
    main: Mapping[str, Any] | None = None,
    **changes: Any,
) -> str:
    """A Scheduling Block with the activity `observe`, and what `changes` says of it otherwise."""
    function_args = {
        name: given for name, given in (("init", init), ("main", main)) if given is not None
    }
    block = {
        "sbd_id": sbd_id,
        "telescope": "ska_mid",
        "metadata": {"version": 1},
        "activities": {
            "observe": {
                "kind": "filesystem",
                "path": "file:///scripts/observe.py",
                "function_args": function_args,
            }
        },
        **changes,
    }
    return json.dumps({key: value for key, value in block.items() if value is not None})


def kwargs(**given: Any) -> dict[str, Any]:
    """The JSON form of keyword arguments of one function."""
    return {"args": [], "kwargs": given}


def activity_command(**changes: Any) -> ActivityCommand:
    """A request to run `observe` of the block, as a client would have it parsed."""
    request = {"sbd_id": SBD, "activity_name": "observe", **changes}
    if "sb_uri" in changes:
        del request["sbd_id"]
    return ActivityCommand.parse(json.dumps(request))


# --- History ---------------------------------------------------------------------------------


class InMemoryHistory:
    """`ports.History` in memory.

    `refusing` makes it take no record, `full` nothing new, and `longest` none that is longer;
    `appended` lists (record id, state, event seq, durable).
    """

    def __init__(self, *, keep: int = 1000) -> None:
        self.epoch = uuid.uuid4().hex
        self.told = 0
        self.keep = keep
        self.refusing = False
        self.refusing_trim = False
        self.full = False
        self.longest = 2**30
        self.appended: list[tuple[int, str | None, int | None, bool]] = []
        self._records: dict[int, str] = {}
        self._finished: dict[int, None] = {}
        """The finished ones, in the order in which they finished."""
        self._events: dict[int, tuple[int, str]] = {}
        self._notes: dict[str, str] = {}
        self._last_seq = 0
        self._last_id = 0

    def reopened(self) -> InMemoryHistory:
        """The history as another process would find it after this one was killed."""
        other = InMemoryHistory(keep=self.keep)
        other.epoch = self.epoch
        other._records = dict(self._records)
        other._finished = dict(self._finished)
        other._events = dict(self._events)
        other._notes = dict(self._notes)
        other._last_seq, other._last_id = self._last_seq, self._last_id
        other.told = int(self._notes.get("told", 0))
        return other

    def append(
        self,
        record_id: int,
        record: Mapping[str, Any],
        event: tuple[int, Mapping[str, Any]] | None,
        *,
        finished: bool,
        durable: bool,
        reserve: bool = False,
    ) -> None:
        body = strict_json.dumps(record)
        if reserve:
            self.require_room()
        if self.refusing or len(body) > self.longest:
            NEWS.tell()
            raise OSError(28, "No space left on device")
        if event is not None:
            seq, fact = event
            if seq in self._events:
                raise OSError(f"event {seq} is there already")
            self._events[seq] = (record_id, strict_json.dumps(fact))
            self._last_seq = max(self._last_seq, seq)
        self._records[record_id] = body
        if finished:
            self._finished.setdefault(record_id)
        else:
            self._finished.pop(record_id, None)
        self._last_id = max(self._last_id, record_id)
        self._notes["told"] = str(self.told)
        seq_of_event = None if event is None else event[0]
        self.appended.append((record_id, record.get("state"), seq_of_event, durable))

    def require_room(self) -> None:
        if self.full:
            NEWS.tell()
            raise OSError(28, "the disk is full")

    def record(self, record_id: int) -> dict[str, Any] | None:
        body = self._records.get(record_id)
        return None if body is None else json.loads(body)

    def records(self) -> Iterable[dict[str, Any]]:
        return [json.loads(self._records[key]) for key in sorted(self._records)]

    def events_since(self, seq: int, limit: int | None = None) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.event_texts_since(seq, limit)]

    def event_texts_since(self, seq: int, limit: int | None = None) -> list[str]:
        return [self._events[each][1] for each in sorted(self._events) if each > seq][:limit]

    def last_seq(self) -> int:
        return self._last_seq

    def next_id(self) -> int:
        return self._last_id + 1

    def trim(self) -> list[int]:
        surplus = max(0, len(self._finished) - self.keep)
        if surplus and self.refusing_trim:
            raise OSError(28, "No space left on device")
        removed = list(self._finished)[:surplus]
        for record_id in removed:
            del self._finished[record_id]
            del self._records[record_id]
        if removed:
            # Events go from the oldest on, so that their numbers have no gaps.
            kept = [seq for seq, (owner, _) in self._events.items() if owner in self._records]
            horizon = max(min(kept, default=0), self._last_seq - EVENTS_PER_RECORD * self.keep)
            for seq in [seq for seq in self._events if seq < horizon]:
                del self._events[seq]
        return removed

    def get_note(self, key: str) -> str | None:
        return self._notes.get(key)

    def set_note(self, key: str, value: str) -> None:
        if self.refusing:
            raise OSError(28, "No space left on device")
        self._notes[key] = value

    def close(self) -> None:
        self._notes["told"] = str(self.told)


# --- Publisher -------------------------------------------------------------------------------


class RecordingPublisher:
    """`ports.Publisher` that pushes at once, views too, and remembers everything in order."""

    def __init__(self) -> None:
        self.pushes: list[tuple[str, Any]] = []
        self.values: dict[str, Any] = {}
        self.on_told: Callable[[int], None] = lambda _: None
        self.handed_over = ("", 0)
        self._making = threading.local()

    def publish(
        self, pushes: Iterable[tuple[str, Any]], *, event: tuple[str, int] | None = None
    ) -> None:
        for name, value in pushes:
            self._push(name, value)
        if event is not None:
            self.handed_over = event
            self.on_told(event[1])
        NEWS.tell()

    def refresh(self, view: str, make: Callable[[], Any], *, key: object = None) -> None:
        waiting: deque[tuple[str, Callable[[], Any]]] | None = getattr(self._making, "views", None)
        if waiting is not None:
            # Asked for while a view is made: its turn comes after that one's.
            waiting.append((view, make))
            return
        self._making.views = waiting = deque([(view, make)])
        try:
            while waiting:
                name, making = waiting.popleft()
                value = making()
                if value is not None:
                    self._push(name, value)
        finally:
            self._making.views = None
        NEWS.tell()

    def _push(self, name: str, value: Any) -> None:
        self.pushes.append((name, value))
        self.values[name] = value

    def of(self, *names: str) -> list[tuple[str, Any]]:
        """The pushes of these attributes, in order."""
        return [push for push in list(self.pushes) if push[0] in names]

    def json_of(self, name: str) -> list[dict[str, Any]]:
        """The values pushed for an attribute whose values are JSON."""
        return [json.loads(value) for _, value in self.of(name)]


# --- Archive ---------------------------------------------------------------------------------


class FakeArchive:
    """`ports.Archive` in memory: blocks in, SBIs and their statuses out.

    `absent` makes it answer nothing, `refusing_sbis` and `refusing_statuses` take none; clear
    `answers` (or `takes_sbis`) to have it hang until they are set again.
    """

    def __init__(self) -> None:
        self.blocks: dict[str, dict[int, str]] = {}
        self.files: dict[str, str] = {}
        self.absent = False
        self.refusing_sbis = False
        self.refusing_statuses = False
        self.answers = threading.Event()
        self.answers.set()
        self.takes_sbis = threading.Event()
        self.takes_sbis.set()
        self.fetched: list[BlockReference] = []
        self.sbi_requests: list[SchedulingBlockInstance] = []
        self.sbis: dict[str, SchedulingBlockInstance] = {}
        self.statuses: list[tuple[str, str]] = []
        self._numbers = itertools.count(1)

    def put(self, text: str, *, sbd_id: str = SBD, version: int = 1) -> None:
        self.blocks.setdefault(sbd_id, {})[version] = text

    def fetch(self, reference: BlockReference) -> FetchedBlock:
        self.fetched.append(reference)
        NEWS.tell()
        self.answers.wait()
        self.check()
        if reference.path is not None:
            return FetchedBlock(self._sound(self.files.get(reference.path), reference), None)
        versions = self.blocks.get(reference.sbd_id or "", {})
        version = reference.version or max(versions, default=0)
        return FetchedBlock(self._sound(versions.get(version), reference), version)

    def _sound(self, text: str | None, reference: BlockReference) -> str:
        if text is None:
            raise SchedulingBlockNotFound(f"the archive has no {reference}")
        if len(text.encode()) > BLOCK_LIMIT:
            raise SchedulingBlockInvalid(f"{reference} is larger than {BLOCK_LIMIT} bytes")
        return text

    def create_sbi(self, instance: SchedulingBlockInstance) -> str:
        self.sbi_requests.append(instance)
        NEWS.tell()
        self.takes_sbis.wait()
        self.check()
        if self.refusing_sbis:
            raise OdaUnavailable("the archive takes no SBIs")
        sbi_id = f"sbi-fake-{next(self._numbers):05}"
        self.sbis[sbi_id] = instance
        self.statuses.append((sbi_id, "Created"))
        NEWS.tell()
        return sbi_id

    def update_sbi_status(self, sbi_id: str, status: str) -> None:
        self.check()
        if self.refusing_statuses:
            raise OdaUnavailable("the archive takes no status")
        self.statuses.append((sbi_id, status))
        NEWS.tell()

    def check(self) -> None:
        if self.absent:
            raise OdaUnavailable("the archive does not answer")

    def let_go(self) -> None:
        """End every wait, so that no thread is left behind."""
        self.answers.set()
        self.takes_sbis.set()


# --- Executor --------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReplyLost:
    """The command is done, and its reply does not arrive."""

    error: Exception


class FakeExecutor:
    """`ports.Executor`: a small honest ScriptExecution, whose scripts do what the test says.

    A script that is prepared becomes READY by itself (unless `prepares` is false), one that is
    stopped becomes STOPPED (unless `stops` is false), an abort script runs to COMPLETE (unless
    `aborts` is false); everything else is told with `say` and `end`. Events are handed over by one
    thread, in order, while `tells` is true.

    `troubles[command]` is a queue of what befalls the next calls: an exception to raise before
    anything is done, `ReplyLost` to raise one afterwards, or None. A call waits for
    `gates[command]`, if there is one.
    """

    def __init__(self, name: str = "mid-oso/script-execution/01") -> None:
        self.name = name
        self.listener: ExecutorListener | None = None
        self.epoch = uuid.uuid4().hex
        self.events: list[dict[str, Any]] = []
        self.procedures: dict[int, dict[str, Any]] = {}
        self.commands: dict[int, PrepareProcessCommand] = {}
        self.calls: list[tuple[str, Any]] = []
        self.starts: list[StartProcessCommand] = []
        self.prepares = self.stops = self.aborts = True
        self.has_abort_script = True
        self.findings: list[dict[str, str]] = []
        self.away = False
        self.troubles: dict[str, deque[Any]] = {}
        self.gates: dict[str, threading.Event] = {}
        self.log: dict[int, list[dict[str, Any]]] = {}
        self.listener_errors: list[Exception] = []
        self._lock = threading.RLock()
        self._tells = True
        self._undelivered: deque[Callable[[ExecutorListener], None]] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._closed = False
        self._thread = threading.Thread(target=self._deliver, daemon=True)
        self._thread.start()

    # --- The port

    def prepare(self, command: PrepareProcessCommand) -> dict[str, Any]:
        return self._do("prepare", command, lambda: self._prepare(command))

    def start(self, command: StartProcessCommand) -> dict[str, Any]:
        return self._do("start", command, lambda: self._start(command))

    def stop(self, command: StopProcessCommand) -> dict[str, Any]:
        return self._do("stop", command, lambda: self._stop(command))

    def get(self, procedure_id: int) -> dict[str, Any]:
        return self._do("get", procedure_id, lambda: self._get(procedure_id))

    def events_since(self, seq: int) -> list[dict[str, Any]]:
        found = [dict(event) for event in self.events if event["seq"] > seq]
        return self._do("events_since", seq, lambda: found)

    def unfinished(self) -> list[int]:
        return self._do("unfinished", None, self.alive)

    def check(self, command: PrepareProcessCommand, timeout: float) -> list[dict[str, str]]:
        return self._do("check", command, lambda: self.findings)

    def _do(self, name: str, argument: Any, work: Callable[[], T]) -> T:
        self.calls.append((name, argument))
        NEWS.tell()
        gate = self.gates.get(name)
        if gate is not None:
            gate.wait()
        if self._closed:
            raise ActivityError("the test is over")
        if self.away:
            raise ExecutorUnavailable(f"{self.name} does not answer")
        queue = self.troubles.get(name)
        trouble = queue.popleft() if queue else None
        if isinstance(trouble, Exception):
            raise trouble
        with self._lock:
            reply = work()
        if isinstance(trouble, ReplyLost):
            raise trouble.error
        return reply

    def _prepare(self, command: PrepareProcessCommand) -> dict[str, Any]:
        procedure_id = self.procedure_of(command.request_id)
        if procedure_id is None:
            procedure_id = len(self.procedures) + 1
            self._create(procedure_id, command)
            if self.prepares:
                self.make_ready(procedure_id)
        return {"procedure_id": procedure_id, "state": self.procedures[procedure_id]["state"]}

    def _create(self, procedure_id: int, command: PrepareProcessCommand) -> None:
        self.commands[procedure_id] = command
        self.procedures[procedure_id] = {
            "procedure_id": procedure_id,
            "request_id": command.request_id,
            "state": "UNKNOWN",
            "previous_state": "UNKNOWN",
            "pid": None,
            "exit_code": None,
            "signal": None,
            "reason": None,
            "error": None,
            "result": None,
            "stacktrace": None,
            "progress": 0.0,
            "message": "",
            "script": {**command.script.to_json(), "seen": True},
            "subarray_id": command.subarray_id,
            "labels": dict(command.labels),
            "started": False,
        }
        self.say(procedure_id, "CREATING")

    def _start(self, command: StartProcessCommand) -> dict[str, Any]:
        procedure = self._known(command.procedure_id)
        ready = procedure["state"] == "READY"
        over = procedure["state"] in ("COMPLETE", "STOPPED", "FAILED")
        if procedure["started"] or over or not (ready or command.force_start):
            raise WrongState(f"procedure {command.procedure_id} is {procedure['state']}")
        procedure["started"] = True
        self.starts.append(command)
        if ready:
            self.say(command.procedure_id, "RUNNING")
        return self._summary(command.procedure_id)

    def _stop(self, command: StopProcessCommand) -> dict[str, Any]:
        procedure = self._known(command.procedure_id)
        skipped = self._no_abort_because(procedure, command)
        request_id = None
        if procedure["state"] not in ("COMPLETE", "STOPPED", "FAILED"):
            procedure["run_abort"] = procedure.get("run_abort") or skipped is None
            if self.stops:
                self.end(command.procedure_id, "STOPPED", reason="STOPPED_BY_REQUEST")
        if skipped is None:
            request_id = abort_request_id(procedure["request_id"])
        return {
            **self._summary(command.procedure_id),
            "abort_request_id": request_id,
            "abort_skipped": skipped,
        }

    def _no_abort_because(
        self, procedure: Mapping[str, Any], command: StopProcessCommand
    ) -> str | None:
        if procedure["state"] in ("COMPLETE", "STOPPED", "FAILED"):
            return "it had ended before the stop"
        if not command.run_abort:
            return "run_abort is false"
        return None if self.has_abort_script else "no abort script is configured"

    def _get(self, procedure_id: int) -> dict[str, Any]:
        tail = self.log.get(procedure_id, [])[-50:]
        return {**self._summary(procedure_id), "output_tail": tail}

    def _known(self, procedure_id: int) -> dict[str, Any]:
        if procedure_id not in self.procedures:
            raise UnknownActivity(f"no procedure has the id {procedure_id}")
        return self.procedures[procedure_id]

    def _summary(self, procedure_id: int) -> dict[str, Any]:
        return dict(self._known(procedure_id))

    # --- What scripts do

    def mains(self) -> list[int]:
        """The procedures whose main was entered, once for each time."""
        return [each["procedure_id"] for each in self.events if each["state"] == "RUNNING"]

    def say(self, procedure_id: int, state: str, **details: Any) -> None:
        """A procedure comes to a state."""
        with self._lock:
            procedure = self.procedures[procedure_id]
            procedure.update(details, previous_state=procedure["state"], state=state)
            event = {
                "epoch": self.epoch,
                "seq": len(self.events) + 1,
                "time": utc_now(),
                **{
                    key: procedure[key]
                    for key in (
                        "procedure_id",
                        "request_id",
                        "state",
                        "previous_state",
                        "pid",
                        "exit_code",
                        "signal",
                        "reason",
                        "error",
                    )
                },
            }
            procedure.update(epoch=event["epoch"], seq=event["seq"], time=event["time"])
            self.events.append(event)
            self.hand_over(event)

    def make_ready(self, procedure_id: int) -> None:
        with self._lock:
            for state in ("IDLE", "LOADING", "INITIALISING", "READY"):
                self.say(procedure_id, state)
            if self.procedures[procedure_id]["started"]:
                self.say(procedure_id, "RUNNING")

    def end(self, procedure_id: int, state: str = "COMPLETE", **details: Any) -> None:
        """A script and every process of it are gone."""
        with self._lock:
            self.say(procedure_id, state, **details)
            procedure = self.procedures[procedure_id]
            if state == "STOPPED" and procedure.get("run_abort"):
                self._run_abort_script(procedure)

    def _run_abort_script(self, stopped: Mapping[str, Any]) -> None:
        command = PrepareProcessCommand(
            abort_request_id(stopped["request_id"]),
            FileSystemScript("file:///scripts/abort.py"),
            subarray_id=stopped["subarray_id"],
            labels={**stopped["labels"], "abort_of": stopped["procedure_id"]},
        )
        procedure_id = len(self.procedures) + 1
        self._create(procedure_id, command)
        if self.aborts:
            self.make_ready(procedure_id)
            self.say(procedure_id, "RUNNING")
            self.say(procedure_id, "COMPLETE")

    def progress(self, procedure_id: int, percent: float, message: str = "") -> None:
        report = {"procedure_id": procedure_id, "progress": percent, "message": message}
        self._hand_over(lambda listener: listener.on_script_progress(self.name, report))

    def announce(self, procedure_id: int, message: str) -> None:
        report = {"procedure_id": procedure_id, "message": message}
        self._hand_over(lambda listener: listener.on_script_message(self.name, report))

    # --- Contact

    @property
    def tells(self) -> bool:
        return self._tells

    @tells.setter
    def tells(self, tells: bool) -> None:
        with self._changed:
            self._tells = tells
            self._changed.notify_all()

    def hand_over(self, event: Mapping[str, Any]) -> None:
        """Give an event to the listener, which may have had it before."""
        copy = dict(event)
        self._hand_over(lambda listener: listener.on_procedure_event(self.name, copy))

    def lose_events(self) -> None:
        """What was not handed over yet never will be."""
        with self._changed:
            self._undelivered.clear()

    def go_away(self, *, noticed: bool = True) -> None:
        """Answer nothing and tell nothing; `noticed`: for longer than a second."""
        self.away = True
        self.tells = False
        if noticed and self.listener is not None:
            self.listener.on_executor_lost(self.name)

    def come_back(self) -> None:
        """Answer again, and tell what happened meanwhile first."""
        self.away = False
        self._undelivered.append(lambda listener: listener.on_executor_back(self.name))
        self.tells = True
        self.settled()

    def forget_everything(self) -> None:
        """Begin a new history, as after the loss of the old one."""
        with self._lock:
            self.epoch = uuid.uuid4().hex
            self.events.clear()
            self.procedures.clear()
            self.commands.clear()
            self.lose_events()

    def settled(self, timeout: float = 2.0) -> None:
        """Wait until everything was handed over."""
        with self._changed:
            done = self._changed.wait_for(lambda: not self._busy and not self._undelivered, timeout)
        assert done, "the executor's events were not handed over in time"

    def _hand_over(self, tell: Callable[[ExecutorListener], None]) -> None:
        with self._changed:
            self._undelivered.append(tell)
            self._changed.notify_all()

    def _deliver(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: self._closed or (self._tells and self._undelivered and self.listener)
                )
                if self._closed:
                    return
                tell = self._undelivered.popleft()
                self._busy = True
            try:
                assert self.listener is not None
                tell(self.listener)
            except Exception as error:
                # As in the real one, a listener that fails does not end the following.
                self.listener_errors.append(error)
            NEWS.tell()

    # --- Looking

    def procedure_of(self, request_id: str) -> int | None:
        for procedure_id, procedure in self.procedures.items():
            if procedure["request_id"] == request_id:
                return procedure_id
        return None

    def called(self, name: str) -> list[Any]:
        """The arguments of the calls of one command."""
        return [argument for called, argument in list(self.calls) if called == name]

    def alive(self) -> list[int]:
        """The procedures that are not over."""
        ended = ("COMPLETE", "STOPPED", "FAILED")
        return [key for key, it in list(self.procedures.items()) if it["state"] not in ended]

    def close(self) -> None:
        """End the thread, and every loop that would go on asking."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for gate in self.gates.values():
            gate.set()
        self._thread.join(2.0)


# --- Script host -----------------------------------------------------------------------------


class FakeScriptHost:
    """`ports.ScriptHost` that notes what it is asked; what scripts do is told with `say` and `end`.

    `away` makes it unreachable, `busy` has it waited for. `on_launch` and `on_launched` are called
    inside each launch, before and after it takes effect. As the real one it starts a script once,
    however often it is asked.
    """

    def __init__(self) -> None:
        self.listener: ScriptHostListener | None = None
        self.away = self.busy = False
        self.on_launch: Callable[[], None] = lambda: None
        self.on_launched: Callable[[], None] = lambda: None
        self.launched: list[ProcessSpec] = []
        self.started: list[tuple[int, str, ProcedureInput]] = []
        self.start_messages: list[int] = []
        self.stopped: list[tuple[int, float]] = []
        self.forgotten: list[int] = []
        self.lines: dict[int, list[dict[str, Any]]] = {}
        self.alive: set[int] = set()
        self.opened = self.closed = False

    def open(self) -> None:
        self.opened = True

    @property
    def takes_at_once(self) -> bool:
        return not self.away and not self.busy

    def wait_for_contact(self) -> None:
        self._reach()

    def launch(self, spec: ProcessSpec) -> None:
        self.on_launch()
        self._reach()
        self.launched.append(spec)
        self.alive.add(spec.procedure_id)
        NEWS.tell()
        self.on_launched()

    def start(self, procedure_id: int, function: str, args: ProcedureInput) -> None:
        self._reach()
        self.start_messages.append(procedure_id)
        if procedure_id not in [started for started, _, _ in self.started]:
            self.started.append((procedure_id, function, args))
        NEWS.tell()

    def stop(self, procedure_id: int, grace: float) -> None:
        self._reach()
        self.stopped.append((procedure_id, grace))
        NEWS.tell()

    def forget(self, procedure_id: int) -> None:
        self.forgotten.append(procedure_id)
        self.lines.pop(procedure_id, None)

    def greatest_id(self) -> int:
        return max((spec.procedure_id for spec in self.launched), default=0)

    def read_output(
        self, procedure_id: int, offset: int, limit: int
    ) -> tuple[list[dict[str, Any]], int, int]:
        lines = self.lines.get(procedure_id, [])[offset : offset + limit]
        return lines, offset + len(lines), 0

    def output_tail(self, procedure_id: int, lines: int = 50) -> list[dict[str, Any]]:
        return self.lines.get(procedure_id, [])[-lines:]

    def close(self) -> None:
        self.closed = True

    def _reach(self) -> None:
        if self.away:
            raise ExecutorUnavailable("the script host cannot be reached")

    @property
    def told(self) -> ScriptHostListener:
        assert self.listener is not None
        return self.listener

    def say(self, procedure_id: int, *states: str, pid: int = 4711) -> None:
        for state in states:
            self.told.on_process_state(procedure_id, state, pid)

    def make_ready(self, procedure_id: int) -> None:
        self.say(procedure_id, "IDLE", "LOADING", "INITIALISING", "READY")

    def print(self, procedure_id: int, *texts: str) -> None:
        lines = self.lines.setdefault(procedure_id, [])
        for text in texts:
            lines.append({"n": len(lines), "stream": "stdout", "time": utc_now(), "text": text})
        self.told.on_output(procedure_id, len(lines))

    def end(self, procedure_id: int, state: str = "COMPLETE", **details: Any) -> None:
        self.alive.discard(procedure_id)
        self.told.on_process_end(procedure_id, ProcessEnd(state, **details))


# --- The door, and the rest of an executor's parts --------------------------------------------


class FakeDoor:
    """`ports.ScriptSource`: lets every script in, except those in `refused`.

    Scripts of repositories are made ready while `opens` is set.
    """

    def __init__(self) -> None:
        self.refused: dict[str, ActivityError] = {}
        self.broken: dict[str, Exception] = {}
        self.opens = threading.Event()
        self.opens.set()
        self.located: list[Script] = []

    def admit(self, script: Script) -> LocatedScript | None:
        uri = getattr(script, "uri", "inline")
        if uri in self.refused:
            raise self.refused[uri]
        if isinstance(script, GitScript) or uri in self.broken or not self.opens.is_set():
            return None
        self.located.append(script)
        return LocatedScript(Path("/scripts/observe.py"), script.to_json())

    def locate(
        self, script: Script, *, report: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> LocatedScript:
        self.located.append(script)
        NEWS.tell()
        if isinstance(script, GitScript):
            report("cloning")
        while not self.opens.wait(0.002):
            if cancelled():
                raise EnvironmentFailed("cancelled")
        error = self.broken.get(getattr(script, "uri", "inline"))
        if error is not None:
            raise error
        described = script.to_json()
        if isinstance(script, GitScript):
            described["commit"] = "a" * 40
            return LocatedScript(Path("/clones/a/observe.py"), described, Path("/envs/a/python"))
        return LocatedScript(Path("/scripts/observe.py"), described)

    def needs_environment(self, script: Script) -> bool:
        return isinstance(script, GitScript)


class FakeInspector:
    """`ports.ScriptInspector` that finds what it is told to."""

    def __init__(self) -> None:
        self.findings: list[dict[str, str]] = []
        self.asked: list[dict[str, Any]] = []

    def __call__(
        self,
        path: Path,
        *,
        init_args: ProcedureInput,
        main_args: ProcedureInput | None,
        subarray_id: int | None,
    ) -> list[dict[str, str]]:
        self.asked.append({"path": path, "init": init_args, "main": main_args})
        return self.findings


class FakeBlockFiles:
    """`ports.BlockFiles` in memory; `broken` makes its directory unusable."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.broken = False
        self._numbers = itertools.count(1)

    def write(self, block: BlockContent) -> Path:
        if self.broken:
            raise EnvironmentFailed("the directory for Scheduling Blocks cannot be used")
        version = 1 if block.version is None else block.version
        path = f"/sbs/{block.sbd_id or 'draft'}-{version}-{next(self._numbers)}.json"
        self.files[path] = block.content
        return Path(path)

    def remove(self, path: str) -> None:
        self.files.pop(path, None)
