"""CheckProcess: looks at scripts without executing anything of them (application layer)."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from ska_oso_activity.application.execution_settings import ExecutionSettings
from ska_oso_activity.application.ports import Publisher, ScriptInspector, ScriptSource
from ska_oso_activity.application.workers import Workers
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.errors import ActivityError, Reason, UnknownActivity
from ska_oso_activity.domain.procedure import PrepareProcessCommand
from ska_oso_activity.domain.script import GitScript

_log = logging.getLogger(__name__)

MAX_CHECKS = 200


class ScriptChecks:
    """Checks scripts in the background, and keeps the last findings."""

    def __init__(
        self,
        publisher: Publisher,
        door: ScriptSource,
        inspect: ScriptInspector,
        settings: ExecutionSettings,
    ) -> None:
        self._publisher = publisher
        self._door = door
        self._inspect = inspect
        self._settings = settings
        self._workers = Workers("check", most=8)
        self._lock = threading.Lock()
        self._checks: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def close(self) -> None:
        """Begin no more checks."""
        self._workers.close()

    def begin(self, command: PrepareProcessCommand) -> str:
        """Check a script; returns the check's id at once."""
        check_id = str(uuid.uuid4())
        self._note({"check_id": check_id, "valid": None, "findings": []})
        self._workers.submit(lambda: self._check(check_id, command))
        return check_id

    def outcome(self, check_id: str) -> dict[str, Any]:
        """The outcome of a check; `valid` is null while it is going on.

        Raises:
            UnknownActivity: there is no such check, or it is too old.
        """
        with self._lock:
            outcome = self._checks.get(check_id.strip())
        if outcome is None:
            raise UnknownActivity(
                f"no check has the id {check_id!r:.80}: the last {MAX_CHECKS} are kept"
            )
        return outcome

    def _check(self, check_id: str, command: PrepareProcessCommand) -> None:
        try:
            findings = self._findings(command)
        except ActivityError as error:
            findings = [{"code": error.reason.value, "message": str(error)}]
        except Exception as error:
            _log.exception("check %s", check_id)
            findings = [{"code": Reason.INTERNAL_ERROR.value, "message": str(error)}]
        outcome = {"check_id": check_id, "valid": not findings, "findings": findings}
        self._note(outcome)
        self._publisher.publish([("processCheck", strict_json.dumps(outcome))])

    def _findings(self, command: PrepareProcessCommand) -> list[dict[str, str]]:
        self._settings.require_telescope(command.telescope)
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

    def _note(self, outcome: dict[str, Any]) -> None:
        with self._lock:
            self._checks[outcome["check_id"]] = outcome
            while len(self._checks) > MAX_CHECKS:
                self._checks.popitem(last=False)
