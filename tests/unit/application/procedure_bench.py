"""ScriptExecution's service on fakes, put together as in `devices/bootstrap.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ska_oso_activity.application.command_tracker import CommandTracker
from ska_oso_activity.application.ports import History
from ska_oso_activity.application.procedure_register import ProcedureRegister
from ska_oso_activity.application.script_execution_service import (
    ExecutionSettings,
    ScriptExecutionService,
)
from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.procedure import (
    PrepareProcessCommand,
    StartProcessCommand,
    StopProcessCommand,
)
from ska_oso_activity.domain.script import FileSystemScript
from tests.fakes import (
    FakeBlockFiles,
    FakeDoor,
    FakeInspector,
    FakeScriptHost,
    InMemoryHistory,
    RecordingPublisher,
    eventually,
)

SCRIPT = FileSystemScript("file:///scripts/observe.py")


@dataclass
class ProcedureBench:
    """One life of a ScriptExecution without its device."""

    history: History = field(default_factory=InMemoryHistory)
    host: FakeScriptHost = field(default_factory=FakeScriptHost)
    blocks: FakeBlockFiles = field(default_factory=FakeBlockFiles)
    settings: ExecutionSettings = field(
        default_factory=lambda: ExecutionSettings(
            abort_script=Path("/scripts/abort.py"),
            abort_args={"reason": "stopped"},
            environments={"ska_mid": {"SKA_TELESCOPE": "SKA-Mid"}},
        )
    )
    tracker: CommandTracker | None = None

    def __post_init__(self) -> None:
        self.publisher = RecordingPublisher()
        self.tracker = self.tracker or CommandTracker(self.publisher)
        self.door = FakeDoor()
        self.inspect = FakeInspector()
        self.health: list[str | None] = []
        self.register = ProcedureRegister(
            self.history,
            self.publisher,
            on_disk_health=self.health.append,
            on_forget=lambda procedure_id, path: self.service.forget(procedure_id, path),  # noqa: PLW0108
        )
        self.publisher.on_told = self.register.told
        self.service = ScriptExecutionService(
            self.register,
            self.publisher,
            self.tracker,
            self.door,
            self.inspect,
            self.blocks,
            self.settings,
        )

    def begin(
        self, known: frozenset[int] = frozenset(), *, same_host: bool = False
    ) -> ProcedureBench:
        """Take up the history; the host says which procedures it knows."""
        self.host.listener = self.service.listener
        self.service.begin(self.host)
        self.service.listener.on_host_attached(known, same_host=same_host)
        return self

    def restarted(self, tracker: CommandTracker | None = None) -> ProcedureBench:
        """Another life on the same history and host, not begun; the first one is cut off.

        Args:
            tracker: the commands of the first one, which outlive an Init.
        """
        self.host.listener = None
        return ProcedureBench(
            history=self.history.reopened(),  # type: ignore[attr-defined]
            host=self.host,
            blocks=self.blocks,
            settings=self.settings,
            tracker=tracker,
        )

    def close(self) -> None:
        self.door.opens.set()
        self.service.close()

    # --- What clients do

    def prepare(self, request_id: str = "r-1", **changes: Any) -> int:
        command = PrepareProcessCommand(request_id, **{"script": SCRIPT, **changes})
        return int(self.service.prepare_process(command)["procedure_id"])

    def launched(self, request_id: str = "r-1", **changes: Any) -> int:
        procedure_id = self.prepare(request_id, **changes)
        eventually(lambda: procedure_id in self.host.alive)
        return procedure_id

    def ready(self, request_id: str = "r-1", **changes: Any) -> int:
        procedure_id = self.launched(request_id, **changes)
        self.host.make_ready(procedure_id)
        return procedure_id

    def running(self, request_id: str = "r-1", **changes: Any) -> int:
        procedure_id = self.ready(request_id, **changes)
        self.start(procedure_id)
        self.host.say(procedure_id, "RUNNING")
        return procedure_id

    def ended(self, request_id: str = "r-1", **changes: Any) -> int:
        procedure_id = self.running(request_id, **changes)
        self.host.end(procedure_id)
        return procedure_id

    def start(self, procedure_id: int, **changes: Any) -> dict[str, Any]:
        return self.service.start_process(StartProcessCommand(procedure_id, **changes))

    def start_with(self, procedure_id: int, **kwargs: Any) -> dict[str, Any]:
        return self.start(procedure_id, args=ProcedureInput((), kwargs))

    def stop(self, procedure_id: int, *, run_abort: bool = False) -> dict[str, Any]:
        return self.service.stop_process(StopProcessCommand(procedure_id, run_abort))

    # --- What they see

    def state(self, procedure_id: int) -> str:
        return str(self.service.get_process(procedure_id)["state"])

    def becomes(self, procedure_id: int, state: str, timeout: float = 2.0) -> None:
        eventually(lambda: self.state(procedure_id) == state, timeout)

    def events(self, procedure_id: int | None = None) -> list[dict[str, Any]]:
        told = self.publisher.json_of("procedureEvent")
        return [each for each in told if procedure_id in (None, each["procedure_id"])]

    def story(self, procedure_id: int) -> list[str]:
        return [each["state"] for each in self.events(procedure_id)]
