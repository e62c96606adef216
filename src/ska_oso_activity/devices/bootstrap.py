"""Where the services behind our devices are put together (devices layer).

Each device hands in its properties and gets a ready service; tests may hand in other adapters.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from ska_oso_activity.adapters import pdm
from ska_oso_activity.adapters.block_files import PrivateBlockFiles
from ska_oso_activity.adapters.disk_space import require_free_space
from ska_oso_activity.adapters.environments import Environments
from ska_oso_activity.adapters.filesystem_oda import FilesystemOda
from ska_oso_activity.adapters.git_repositories import CachedGitRepositories
from ska_oso_activity.adapters.host_client import HostClient
from ska_oso_activity.adapters.script_check import inspect_script
from ska_oso_activity.adapters.script_source import ScriptDoor
from ska_oso_activity.adapters.sqlite_history import SqliteHistory
from ska_oso_activity.adapters.tango_executor import TangoExecutor
from ska_oso_activity.application.activity_follow import ActivityFollower
from ska_oso_activity.application.activity_register import ActivityRegister
from ska_oso_activity.application.activity_run import ActivityRun
from ska_oso_activity.application.activity_service import MAX_UNFINISHED, ActivityService
from ska_oso_activity.application.command_history import CommandNotes, finished_commands
from ska_oso_activity.application.command_tracker import CommandTracker
from ska_oso_activity.application.enquiries import Enquiries
from ska_oso_activity.application.executor_pool import ExecutorPool
from ska_oso_activity.application.outcomes import Outcomes
from ska_oso_activity.application.planner import Planner
from ska_oso_activity.application.ports import Archive, Executor
from ska_oso_activity.application.procedure_register import ProcedureRegister
from ska_oso_activity.application.script_execution_service import (
    ExecutionSettings,
    ScriptExecutionService,
)
from ska_oso_activity.application.watch import Watch
from ska_oso_activity.application.workers import Workers
from ska_oso_activity.devices.publisher import TangoPublisher

LIFELINE = "SKA_OSO_ACTIVITY_LIFELINE"
"""Environment variable: the descriptor whose end ends the script host; set by the launcher."""

GIT_TIMEOUT = 120.0
GIT_MAX_BYTES = 512 * 1024 * 1024
BUILD_TIMEOUT = 600.0


class Health(Protocol):
    """Told what is wrong with a part of a device, or (None) that it works again."""

    def __call__(self, of: str, what: str | None, *, failed: bool = False) -> None:
        """`failed`: the device can do nothing without it."""


@dataclass
class ActivityParts:
    """The services behind an ActivityDevice."""

    service: ActivityService
    enquiries: Enquiries
    register: ActivityRegister
    archive: Archive
    _executors: Sequence[TangoExecutor]
    _closers: Sequence[Callable[[], None]]

    def close(self) -> None:
        """Let go of everything; activities go on."""
        for executor in self._executors:
            executor.close()
        for close in self._closers:
            close()


def build_activity_parts(  # noqa: PLR0913
    *,
    device: str,
    publisher: TangoPublisher,
    tracker: CommandTracker,
    health: Health,
    executor_names: Sequence[str],
    state_directory: Path,
    oda_directory: Path,
    block_roots: Sequence[Path],
    subarray_id: int,
    keep: int,
) -> ActivityParts:
    """Put an ActivityDevice's services together and take up what is unfinished."""
    history = SqliteHistory(state_directory / "activities.db", keep=_at_least_one(keep))
    register = ActivityRegister(
        history, publisher, on_disk_health=lambda trouble: health("history", trouble, failed=True)
    )
    with _given_back_unless_done(register.close):
        publisher.on_told = register.told
        archive = FilesystemOda(oda_directory, block_roots)
        outcomes = Outcomes(register, tracker, archive)
        planner = Planner(archive, pdm)
        listener = _Late()
        executors = {
            name: TangoExecutor(
                name,
                listener,
                cursor=register.note(f"cursor {name}"),
                on_cursor=partial(register.set_note, f"cursor {name}"),
            )
            for name in executor_names
        }
        pool = ExecutorPool({name: _as_executor(each) for name, each in executors.items()})
        workers = Workers("activity", most=2 * MAX_UNFINISHED)
        run = ActivityRun(register, outcomes, tracker, pool, planner, archive, workers, device)
        service = ActivityService(
            register, run, tracker, pool, subarray_id=subarray_id, allows_file=archive.allows_file
        )
        enquiries = Enquiries(service, planner, pool, tracker)
        follower = ActivityFollower(register, outcomes, pool, run, on_contact=health, device=device)
        listener.follower = follower
        notes = CommandNotes(register.note, register.set_note)
        notes.attach(tracker)
        follower.recover()
        tracker.recover(finished_commands(register))
        for executor in executors.values():
            executor.begin()
        watches = [
            Watch(archive.check, partial(health, "archive")),
            Watch(partial(require_free_space, state_directory), partial(health, "disk")),
        ]
        for watch in watches:
            watch.begin()
        return ActivityParts(
            service,
            enquiries,
            register,
            archive,
            list(executors.values()),
            [
                *(each.close for each in watches),
                run.close,
                enquiries.close,
                outcomes.close,
                register.close,
            ],
        )


def _at_least_one(keep: int) -> int:
    if keep < 1:
        raise ValueError(f"the property HistorySize is {keep}: 1 is the least, 1000 the default")
    return keep


@contextmanager
def _given_back_unless_done(*closers: Callable[[], None]) -> Iterator[None]:
    """Close what was opened if the rest fails: it is tried again, and a history opens only once."""
    try:
        yield
    except BaseException:
        for close in closers:
            close()
        raise


def _as_executor(executor: Executor) -> Executor:
    """Have the type checker hold the adapter against its port."""
    return executor


class _Late:
    """The listener of executors, which are made before the follower that needs them."""

    follower: ActivityFollower

    def __getattr__(self, name: str) -> Callable[..., None]:
        method: Callable[..., None] = getattr(self.follower, name)
        return method


def build_script_execution_service(  # noqa: PLR0913
    *,
    publisher: TangoPublisher,
    tracker: CommandTracker,
    health: Health,
    state_directory: Path,
    script_roots: Sequence[Path],
    repositories: Sequence[str],
    allow_inline: bool,
    block_directory: Path,
    settings: ExecutionSettings,
    warm: int,
    keep: int,
) -> ScriptExecutionService:
    """Put a ScriptExecution device's services together and take up what is running."""
    history = SqliteHistory(state_directory / "procedures.db", keep=_at_least_one(keep))
    environments = Environments(state_directory / "environments", BUILD_TIMEOUT)
    git = CachedGitRepositories(
        state_directory / "repositories", repositories, GIT_TIMEOUT, GIT_MAX_BYTES, environments
    )
    door = ScriptDoor(script_roots, allow_inline, git, state_directory / "inline")
    blocks = PrivateBlockFiles(block_directory, settings.limits.user)
    service: ScriptExecutionService
    register = ProcedureRegister(
        history,
        publisher,
        on_disk_health=lambda trouble: health("history", trouble, failed=True),
        on_forget=lambda procedure_id, path: service.forget(procedure_id, path),  # noqa: PLW0108
    )
    with _given_back_unless_done(register.close):
        publisher.on_told = register.told
        service = ScriptExecutionService(
            register,
            publisher,
            tracker,
            door,
            inspect_script,
            blocks,
            settings,
        )
        lifeline = os.environ.get(LIFELINE)
        host = HostClient(
            state_directory / "host",
            service.listener,
            lifeline_fd=None if lifeline is None else int(lifeline),
            warm=warm,
            last_host=register.note("host"),
            on_host=partial(register.set_note, "host"),
            on_slow=partial(health, "start of scripts"),
        )
        notes = CommandNotes(register.note, register.set_note)
        notes.attach(tracker)
        service.begin(host)
        for watch in (
            # Without the one nothing can be run at all, without the other no activity.
            Watch(
                host.check,
                partial(health, "script host", failed=True),
                interval=1.5,
                patience=3.0,
            ),
            Watch(blocks.check, partial(health, "Scheduling Blocks", failed=True)),
            Watch(partial(require_free_space, state_directory), partial(health, "disk")),
        ):
            watch.begin()
            service.closers.append(watch.close)
        return service
