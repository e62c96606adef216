"""ActivityDevice's services on fakes, put together as in `devices/bootstrap.py`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ska_oso_activity.adapters import pdm
from ska_oso_activity.application.activity_follow import ActivityFollower
from ska_oso_activity.application.activity_register import ActivityRegister
from ska_oso_activity.application.activity_run import ActivityRun
from ska_oso_activity.application.activity_service import MAX_UNFINISHED, ActivityService
from ska_oso_activity.application.command_tracker import CommandTracker
from ska_oso_activity.application.enquiries import Enquiries
from ska_oso_activity.application.executor_pool import ExecutorPool
from ska_oso_activity.application.outcomes import Outcomes
from ska_oso_activity.application.planner import Planner
from ska_oso_activity.application.ports import History
from ska_oso_activity.application.workers import Workers
from ska_oso_activity.domain.request import ListRequest, StartRequest, StopRequest
from tests.fakes import (
    FakeArchive,
    FakeExecutor,
    InMemoryHistory,
    RecordingPublisher,
    activity_command,
    block_text,
    eventually,
)

TERMINAL = ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass
class Bench:
    """One life of an ActivityDevice without its device."""

    history: History = field(default_factory=InMemoryHistory)
    archive: FakeArchive = field(default_factory=FakeArchive)
    executors: list[FakeExecutor] = field(default_factory=lambda: [FakeExecutor()])
    subarray_id: int = 0
    device: str = "mid-oso/activity/01"
    file_roots: tuple[str, ...] = ("/blocks/",)

    def __post_init__(self) -> None:
        if not self.archive.blocks:
            self.archive.put(block_text())
        self.publisher = RecordingPublisher()
        self.tracker = CommandTracker(self.publisher)
        self.health: list[tuple[str, str | None]] = []
        self.register = ActivityRegister(
            self.history,
            self.publisher,
            on_disk_health=lambda trouble: self.health.append(("history", trouble)),
        )
        self.publisher.on_told = self.register.told
        self.outcomes = Outcomes(self.register, self.tracker, self.archive)
        planner = Planner(self.archive, pdm)
        pool = ExecutorPool({each.name: each for each in self.executors})
        self.workers = Workers("activity", most=2 * MAX_UNFINISHED)
        self.run = ActivityRun(
            self.register,
            self.outcomes,
            self.tracker,
            pool,
            planner,
            self.archive,
            self.workers,
            self.device,
        )
        self.service = ActivityService(
            self.register,
            self.run,
            self.tracker,
            pool,
            subarray_id=self.subarray_id,
            allows_file=lambda path: path.startswith(self.file_roots),
        )
        self.enquiries = Enquiries(self.service, planner, pool, self.tracker)
        self.follower = ActivityFollower(
            self.register,
            self.outcomes,
            pool,
            self.run,
            on_contact=lambda name, trouble: self.health.append((name, trouble)),
            device=self.device,
        )

    def begin(self) -> Bench:
        """Take up what is unfinished, as the device does when it starts."""
        self.follower.recover()
        for executor in self.executors:
            executor.listener = self.follower
            if not executor.away:
                executor.come_back()
        return self

    def close(self) -> None:
        self.archive.let_go()
        for executor in self.executors:
            executor.close()
        self.workers.close()
        self.enquiries.close()
        self.outcomes.close()
        self.register.close()

    # --- What clients do

    @property
    def executor(self) -> FakeExecutor:
        return self.executors[0]

    def run_activity(self, **request: Any) -> int:
        """Accept a request; returns the activity's id."""
        command_id = self.service.run_activity(activity_command(**request))
        return int(self.service.get_activity(command_id)["activity_id"])

    def start_activity(self, activity_id: int, **request: Any) -> str:
        text = json.dumps({"activity_id": activity_id, **request})
        return self.service.start_activity(StartRequest.parse(text))

    def stop_activity(self, activity_id: int | None = None, **request: Any) -> str:
        if activity_id is not None:
            request["activity_id"] = activity_id
        return self.service.stop_activity(StopRequest.parse(json.dumps(request)))

    def listed(self, **request: Any) -> list[int]:
        found = self.service.list_activities(ListRequest.parse(json.dumps(request)))
        return [each["activity_id"] for each in found]

    # --- What they see

    def disk_troubles(self) -> list[str | None]:
        """What was said of the history: a trouble, or None once it was over."""
        return [trouble for part, trouble in list(self.health) if part == "history"]

    def get(self, activity_id: int) -> dict[str, Any]:
        return self.service.get_activity(str(activity_id))

    def state(self, activity_id: int) -> str:
        return str(self.get(activity_id)["state"])

    def becomes(self, activity_id: int, *states: str, timeout: float = 2.0) -> None:
        """Wait until an activity is in one of these states, and has told so."""
        eventually(lambda: self.state(activity_id) in states, timeout)

    def events(self, activity_id: int | None = None) -> list[dict[str, Any]]:
        """The values of activityEvent, as pushed."""
        told = self.publisher.json_of("activityEvent")
        return [each for each in told if activity_id in (None, each["activity_id"])]

    def story(self, activity_id: int) -> list[str]:
        """The states an activity was told to be in, in order."""
        return [each["state"] for each in self.events(activity_id)]

    def results(self, command_id: str) -> list[list[Any]]:
        """The results that a long-running command was pushed with."""
        told = list(self.publisher.pushes)
        return [
            json.loads(value[1])
            for name, value in told
            if name == "longRunningCommandResult" and value[0] == command_id
        ]

    def result(self, command_id: str, timeout: float = 2.0) -> list[Any]:
        """The one result of a long-running command, once it is there."""
        eventually(lambda: self.results(command_id), timeout)
        (result,) = self.results(command_id)
        return list(result)

    def statuses(self, command_id: str) -> list[int]:
        """The statuses a long-running command was told to have, in order."""
        told = [json.loads(text) for uid, text in self.lrc_events() if uid == command_id]
        return [news["status"] for news in told if "status" in news]

    def lrc_events(self) -> list[tuple[str, str]]:
        return [value for name, value in list(self.publisher.pushes) if name == "_lrcEvent"]

    def running(self, **request: Any) -> int:
        """An activity whose main is running."""
        activity_id = self.run_activity(**request)
        self.becomes(activity_id, "RUNNING")
        return activity_id

    def ready(self, **request: Any) -> int:
        """An activity that was prepared and waits for StartActivity."""
        activity_id = self.run_activity(prepare_only=True, **request)
        self.becomes(activity_id, "READY")
        eventually(lambda: self.get(activity_id)["sbi_id"] is not None)
        return activity_id

    def ended(self, **request: Any) -> int:
        """An activity that has succeeded."""
        activity_id = self.running(**request)
        self.executor.end(self.get(activity_id)["procedure_id"])
        self.becomes(activity_id, "SUCCEEDED")
        return activity_id
