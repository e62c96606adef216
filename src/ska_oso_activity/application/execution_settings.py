"""What a site decides about running scripts (application layer)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ska_oso_activity.domain.errors import ScriptNotAllowed
from ska_oso_activity.domain.limits import Limits


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

    def require_telescope(self, telescope: str | None) -> None:
        """Check that scripts for a telescope are run here.

        Raises:
            ScriptNotAllowed: they are not.
        """
        if self.telescopes and telescope not in self.telescopes:
            raise ScriptNotAllowed(
                f"scripts for {telescope or 'no telescope'} are not run here: the property "
                f"Telescopes allows {', '.join(sorted(self.telescopes))}"
            )

    def environment_for(self, telescope: str | None) -> dict[str, str]:
        """The environment variables of a script for a telescope."""
        return {**self.environment, **self.environments.get(telescope or "", {})}
