"""Questions that take a while: ValidateActivity and DescribeSchedulingBlock (application layer)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from ska_oso_activity.application.activity_service import ActivityService
from ska_oso_activity.application.command_tracker import MAX_QUEUED, CommandTracker
from ska_oso_activity.application.executor_pool import ExecutorPool
from ska_oso_activity.application.planner import Planner
from ska_oso_activity.application.workers import Workers
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.control_model import ResultCode, TaskStatus
from ska_oso_activity.domain.errors import ActivityError, NoCapacity, Reason
from ska_oso_activity.domain.request import ActivityCommand
from ska_oso_activity.domain.scheduling_block import BlockReference

_log = logging.getLogger(__name__)

CHECK_TIMEOUT = 60.0
"""Seconds that an executor may take to check a script."""
MAX_ENQUIRIES = 32
"""How many are looked into at once."""


class Enquiries:
    """Answers questions about blocks; executes nothing and writes nothing to the archive."""

    def __init__(
        self,
        service: ActivityService,
        planner: Planner,
        executors: ExecutorPool,
        tracker: CommandTracker,
    ) -> None:
        self._service = service
        self._planner = planner
        self._executors = executors
        self._tracker = tracker
        self._workers = Workers("enquiry", most=MAX_ENQUIRIES)
        self._unanswered = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the threads."""
        self._workers.close()

    def validate(self, command: ActivityCommand) -> str:
        """Check everything that RunActivity checks, and more; returns the LRC's id.

        Raises:
            InvalidRequest: the request itself cannot be.
            NoCapacity: too many questions are unanswered.
        """
        self._service.check_block_reference(command)
        subarray_id = self._service.lane_of_request(command)

        def check() -> tuple[ResultCode, str]:
            findings = self._findings(command, subarray_id)
            report = {"valid": not findings, "findings": findings}
            code = ResultCode.FAILED if findings else ResultCode.OK
            return code, strict_json.dumps(report)

        return self._ask("ValidateActivity", check)

    def _findings(self, command: ActivityCommand, subarray_id: int | None) -> list[dict[str, Any]]:
        try:
            plan = self._planner.plan_command(command, subarray_id)
            executor = self._executors.choose({})
            return list(executor.check(plan.command("", {}), CHECK_TIMEOUT))
        except NoCapacity as error:
            return [{"code": Reason.EXECUTOR_UNAVAILABLE.value, "message": str(error)}]
        except ActivityError as error:
            return [{"code": error.reason.value, "message": str(error)}]

    def describe(self, reference: BlockReference) -> str:
        """What can be run in a block; returns the LRC's id.

        Raises:
            InvalidRequest: the block is in a file outside the allowed folders.
            NoCapacity: too many questions are unanswered.
        """
        self._service.check_block_reference(ActivityCommand(reference, "-"))

        def look() -> tuple[ResultCode, str]:
            try:
                return ResultCode.OK, strict_json.dumps(self._planner.describe(reference))
            except ActivityError as error:
                return ResultCode.FAILED, f"{error.reason}: {error}"

        return self._ask("DescribeSchedulingBlock", look)

    def _ask(self, name: str, question: Callable[[], tuple[ResultCode, str]]) -> str:
        with self._lock:
            if self._unanswered >= MAX_ENQUIRIES + MAX_QUEUED:
                raise NoCapacity(
                    f"{name} is not accepted while {self._unanswered} questions about blocks are "
                    "unanswered: ask again when some have been"
                )
            self._unanswered += 1
        command_id = self._tracker.submit(name)

        def work() -> None:
            self._tracker.start(command_id)
            try:
                code, text = question()
            except Exception as error:
                _log.exception("%s", name)
                code, text = ResultCode.FAILED, f"{Reason.INTERNAL_ERROR}: {error}"
            failed = code is ResultCode.FAILED
            status = TaskStatus.FAILED if failed else TaskStatus.COMPLETED
            with self._lock:
                self._unanswered -= 1
            self._tracker.finish(command_id, status, code, text)

        self._workers.submit(work)
        return command_id
