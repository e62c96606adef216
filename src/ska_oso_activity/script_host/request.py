"""What a server asks the host to run (script host)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.limits import Limits


@dataclass(frozen=True)
class LaunchRequest:
    """Everything needed to run one script.

    Attributes:
        block_path: file of the Scheduling Block, for main's `sb_json`.
        environment: variables set on top of the host's own.
        python: the interpreter; None for the host's own.
        grace: how long threads may go on after main, in seconds.
        limits: what the script may use.
        variables: the whole environment of the script's process; the host's to find out.
    """

    procedure_id: int
    script_path: str
    init: ProcedureInput = field(default_factory=ProcedureInput)
    block_path: str | None = None
    subarray_id: int | None = None
    environment: dict[str, str] = field(default_factory=dict)
    python: str | None = None
    grace: float = 3.0
    limits: Limits = field(default_factory=Limits)
    variables: dict[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """The keys of the `launch` message."""
        return {
            "procedure_id": self.procedure_id,
            "script_path": self.script_path,
            "init": self.init.to_json(),
            "block_path": self.block_path,
            "subarray_id": self.subarray_id,
            "environment": self.environment,
            "python": self.python,
            "grace": self.grace,
            "limits": self.limits.to_json(),
            "variables": self.variables,
        }

    @staticmethod
    def from_json(message: dict[str, Any]) -> LaunchRequest:
        """Read the `launch` message of any release.

        Raises:
            KeyError, TypeError, ValueError, InvalidRequest: it is not one.
        """
        return LaunchRequest(
            procedure_id=int(message["procedure_id"]),
            script_path=str(message["script_path"]),
            init=ProcedureInput.from_json(message.get("init")),
            block_path=message.get("block_path"),
            subarray_id=message.get("subarray_id"),
            environment={str(k): str(v) for k, v in (message.get("environment") or {}).items()},
            python=message.get("python"),
            grace=float(message.get("grace", 3.0)),
            limits=Limits.from_json(message.get("limits")),
        )
