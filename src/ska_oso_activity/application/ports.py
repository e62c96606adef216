"""What the application needs from others; each port has its adapter in `adapters`.

Application layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.errors import Reason
from ska_oso_activity.domain.limits import Limits
from ska_oso_activity.domain.procedure import (
    BlockContent,
    PrepareProcessCommand,
    StartProcessCommand,
    StopProcessCommand,
)
from ska_oso_activity.domain.scheduling_block import (
    BlockActivity,
    BlockReference,
    SchedulingBlock,
)
from ska_oso_activity.domain.script import GitScript, Script

# --- The archive -----------------------------------------------------------------------------


@dataclass(frozen=True)
class FetchedBlock:
    """A block's text as the archive gave it, and the archive's version of it (None for a file)."""

    content: str
    version: int | None


@dataclass(frozen=True)
class SchedulingBlockInstance:
    """What an SBI records of one execution of a block."""

    sbd_id: str
    sbd_version: int | None
    telescope: str | None
    subarray_id: int | None
    activity_name: str
    executed_at: str
    runtime_args: Mapping[str, ProcedureInput]


class Archive(Protocol):
    """The Observatory Data Archive (ODA). Calls may take long; never made under a lock."""

    def fetch(self, reference: BlockReference) -> FetchedBlock:
        """The text of a block.

        Raises:
            SchedulingBlockNotFound: there is none.
            SchedulingBlockInvalid: it is too large, or not text.
            OdaUnavailable: the archive does not answer.
        """

    def create_sbi(self, instance: SchedulingBlockInstance) -> str:
        """Record an execution with status Created; returns its `sbi_id`.

        Raises:
            OdaUnavailable: it could not be written.
        """

    def update_sbi_status(self, sbi_id: str, status: str) -> None:
        """Record a status: Executing, Observed or Failed.

        Raises:
            OdaUnavailable: it could not be written.
        """

    def check(self) -> None:
        """Raise OdaUnavailable with the reason if the archive cannot be used now."""


class BlockReader(Protocol):
    """Reads the project data model (PDM) as far as an activity needs it."""

    def read_scheduling_block(
        self, fetched: FetchedBlock, reference: BlockReference
    ) -> SchedulingBlock:
        """The block in a text.

        Raises:
            SchedulingBlockInvalid: it is not one, or not the one that was asked for.
        """

    def find_activity(self, block: SchedulingBlock, name: str) -> BlockActivity:
        """One activity of a block.

        Raises:
            ActivityNotFound: the block has no such activity.
            SchedulingBlockInvalid: it has, and it cannot be read.
        """

    def describe(self, block: SchedulingBlock) -> dict[str, Any]:
        """What can be run in a block, as DescribeSchedulingBlock tells it."""


# --- History on disk -------------------------------------------------------------------------


class History(Protocol):
    """Records and their events on disk. Calls are short; made under a service's lock."""

    epoch: str
    """Identity of this history: seq numbers rise within it."""
    told: int
    """The greatest seq known to have been pushed; stored with the next record."""

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
        """Store a record and the event that brought it here, in one transaction.

        Args:
            event: its seq and its JSON; None where the record changed without a transition.
            finished: nothing will change in the record: it may be removed when it is old.
            durable: return only after it is synced to the disk.
            reserve: this is new: take it only with space set aside for what will follow.

        Raises:
            OSError: the disk takes no record; ENOSPC: a smaller one it may take.
        """

    def require_room(self) -> None:
        """See that something new would be taken.

        Raises:
            OSError: the disk is full, or cannot be used; what was accepted before has its space.
        """

    def record(self, record_id: int) -> dict[str, Any] | None:
        """One record."""

    def records(self) -> Iterable[dict[str, Any]]:
        """All records, by rising id."""

    def events_since(self, seq: int, limit: int | None = None) -> list[dict[str, Any]]:
        """Events after `seq`, oldest first."""

    def event_texts_since(self, seq: int, limit: int | None = None) -> list[str]:
        """The same as JSON texts, as they were written."""

    def last_seq(self) -> int:
        """The greatest seq ever used; 0 for none."""

    def next_id(self) -> int:
        """The id that the next new record may take: greater than any ever used."""

    def trim(self) -> list[int]:
        """Remove the oldest finished records beyond the bound; returns their ids."""

    def get_note(self, key: str) -> str | None:
        """A small value kept beside the records."""

    def set_note(self, key: str, value: str) -> None:
        """Keep a small value; durable from the next durable append on.

        Raises:
            OSError: the disk takes nothing.
        """

    def close(self) -> None:
        """Let go of the files."""


# --- The executor, as ActivityDevice sees it -------------------------------------------------


class Executor(Protocol):
    """A ScriptExecution device. Calls block for a few seconds at most; never made under a lock.

    All raise ExecutorUnavailable if nothing was delivered, ExecutorUncertain if it may have been,
    and the executor's own refusal as an ActivityError with its reason.
    """

    name: str

    def prepare(self, command: PrepareProcessCommand) -> dict[str, Any]:
        """PrepareProcess: `{"procedure_id", "state"}`."""

    def start(self, command: StartProcessCommand) -> dict[str, Any]:
        """StartProcess: the summary."""

    def stop(self, command: StopProcessCommand) -> dict[str, Any]:
        """StopProcess: the summary, with `abort_request_id` and `abort_skipped`."""

    def get(self, procedure_id: int) -> dict[str, Any]:
        """GetProcess: the summary with its output tail."""

    def events_since(self, seq: int) -> list[dict[str, Any]]:
        """EventsSince: the procedure events after `seq`."""

    def unfinished(self) -> list[int]:
        """The procedures there that have not ended, as far as is known there and told."""

    def check(self, command: PrepareProcessCommand, timeout: float) -> list[dict[str, str]]:
        """CheckProcess: its findings, waiting `timeout` seconds at most."""


class ExecutorListener(Protocol):
    """Told what executors do, in order; `on_executor_lost` comes from a thread of its own."""

    def on_procedure_event(self, executor: str, event: Mapping[str, Any]) -> None:
        """A procedure changed state."""

    def on_script_progress(self, executor: str, report: Mapping[str, Any]) -> None:
        """A script reported progress: `{"procedure_id", "progress", "message"}`."""

    def on_script_message(self, executor: str, report: Mapping[str, Any]) -> None:
        """A script announced something: `{"procedure_id", "message"}`."""

    def on_executor_room(self, executor: str, free: int) -> None:
        """It would take so many more scripts."""

    def on_executor_health(self, executor: str, health: str, why: str) -> None:
        """It says how well it is: `OK`, `DEGRADED`, `FAILED` or `UNKNOWN`, and what is wrong."""

    def on_executor_lost(self, executor: str) -> None:
        """It has not answered for a second."""

    def on_executor_back(self, executor: str) -> None:
        """It answers (again); all events it has were handed over before."""


# --- Scripts, as ScriptExecution sees them ---------------------------------------------------


@dataclass(frozen=True)
class LocatedScript:
    """A script that may be run, where it lies.

    Attributes:
        path: the real path of the file.
        described: the script's JSON, with the commit that a branch resolved to.
        python: the interpreter to run it with; None for our own.
    """

    path: Path
    described: dict[str, Any]
    python: Path | None = None


class ScriptSource(Protocol):
    """The door that scripts come through."""

    def admit(self, script: Script) -> LocatedScript | None:
        """Check a script against the policy, at once and without a network.

        Returns:
            The script, if it is there already; None: `locate` makes it ready.

        Raises:
            ScriptNotAllowed, ScriptNotFound: it may not, or cannot, be run.
        """

    def locate(
        self, script: Script, *, report: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> LocatedScript:
        """Make a script ready to run; may take long.

        Args:
            report: called with lines of progress.
            cancelled: polled; true ends the work with EnvironmentFailed.

        Raises:
            ScriptNotAllowed, ScriptNotFound, EnvironmentFailed.
        """

    def needs_environment(self, script: Script) -> bool:
        """Whether `locate` has a repository to clone or an environment to build."""


class GitRepositories(Protocol):
    """Checked-out commits of allowed repositories."""

    def admit(self, script: GitScript) -> None:
        """Check the names in a git script; see `ScriptSource.admit`."""

    def locate(
        self, script: GitScript, *, report: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> LocatedScript:
        """Clone or find the commit; see `ScriptSource.locate`."""


class ScriptInspector(Protocol):
    """Looks into a script without executing anything of it."""

    def __call__(
        self,
        path: Path,
        *,
        init_args: ProcedureInput,
        main_args: ProcedureInput | None,
        subarray_id: int | None,
    ) -> list[dict[str, str]]:
        """Findings `{"code", "message"}`; none: it compiles, and the arguments fit."""


class BlockFiles(Protocol):
    """The Scheduling Blocks that scripts are given, as files on the executor's host."""

    def write(self, block: BlockContent) -> Path:
        """Write a block for a script, byte for byte; returns its path.

        Raises:
            EnvironmentFailed: the directory is not ours, or cannot be written.
        """

    def remove(self, path: str) -> None:
        """Remove a block's file, if it is there."""


@dataclass(frozen=True)
class ProcessSpec:
    """Everything the script host needs to run one script."""

    procedure_id: int
    script_path: str
    init: ProcedureInput
    block_path: str | None
    subarray_id: int | None
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    grace: float = 3.0
    labels: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class ProcessEnd:
    """How a script's process ended; by now no process of it is alive."""

    state: str
    reason: Reason | None = None
    error: str | None = None
    stacktrace: str | None = None
    result: Any = None
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""


class ScriptHost(Protocol):
    """The process that owns scripts. Calls send a message and return; answers are events.

    They raise ExecutorUnavailable where there is no contact with the host just now, and have then
    done nothing: they are due again at `on_host_attached`. A repeat does nothing.
    """

    @property
    def takes_at_once(self) -> bool:
        """Whether there is contact, and sending has not to wait."""

    def wait_for_contact(self) -> None:
        """Wait while a host is being found or started.

        Raises:
            ExecutorUnavailable: the host cannot be reached or started.
        """

    def launch(self, spec: ProcessSpec) -> None:
        """Make a process and load the script in it."""

    def start(self, procedure_id: int, function: str, args: ProcedureInput) -> None:
        """Run a function of a script, as soon as it is ready."""

    def stop(self, procedure_id: int, grace: float) -> None:
        """Ask, terminate, kill; `grace` seconds are the sum of the polite rungs."""

    def forget(self, procedure_id: int) -> None:
        """The procedure's record is gone: its output may go too."""

    def greatest_id(self) -> int:
        """The greatest procedure id that is known there, whatever became of our records."""

    def read_output(
        self, procedure_id: int, offset: int, limit: int
    ) -> tuple[list[dict[str, Any]], int, int]:
        """Lines of output from `offset`: lines, next offset, how many were dropped before them."""

    def output_tail(self, procedure_id: int, lines: int = 50) -> list[dict[str, Any]]:
        """The last lines of output."""

    def open(self) -> None:
        """Make contact, in the background: the listener hears `on_host_attached`."""

    def close(self) -> None:
        """Let go of the host; scripts go on."""


class ScriptHostListener(Protocol):
    """Told what the script host sees; called from one thread, in order."""

    def on_process_state(self, procedure_id: int, state: str, pid: int | None) -> None:
        """IDLE, LOADING, INITIALISING, READY or RUNNING."""

    def on_process_end(self, procedure_id: int, end: ProcessEnd) -> None:
        """The script and every process of it are gone."""

    def on_progress(self, procedure_id: int, progress: float, message: str) -> None:
        """The script reported progress, 0 to 100 percent."""

    def on_message(self, procedure_id: int, message: str) -> None:
        """The script announced something."""

    def on_output(self, procedure_id: int, next_offset: int) -> None:
        """There are lines of output up to `next_offset`; at most some 20 a second."""

    def on_host_attached(self, known: frozenset[int], *, same_host: bool) -> None:
        """Contact with a host was made.

        Args:
            known: the procedures it has news of or runs.
            same_host: it is the one of the last contact, perhaps in an earlier life of ours: what
                it does not know it never got, or it has told the end of it.
        """

    def on_host_lost(self) -> None:
        """The host is gone, and its scripts with it."""


# --- Who listens to us -----------------------------------------------------------------------


class Publisher(Protocol):
    """Hands what happened to the outside, in order; never blocks.

    It outlives services that are built anew: what was handed over before is pushed all the same.
    """

    handed_over: tuple[str, int]
    """Epoch and seq of the last event that was handed over; `("", 0)` for none."""

    def publish(
        self, pushes: Iterable[tuple[str, Any]], *, event: tuple[str, int] | None = None
    ) -> None:
        """Push attribute values one after the other.

        Args:
            event: epoch and seq of what they tell, which is noted as told once they are pushed.
        """

    def refresh(self, view: str, make: Callable[[], Any], *, key: object = None) -> None:
        """Push a view soon: at most 10 a second, the last one always.

        Args:
            make: called, without any lock held, when the view is due; None: there is nothing new.
            key: tells apart what one attribute shows in turn, such as the output of two scripts.
        """
