"""The attribute scriptOutput: what scripts print, as it comes (application layer)."""

from __future__ import annotations

from collections.abc import Callable

from ska_oso_activity.application.ports import Publisher, ScriptHost
from ska_oso_activity.domain import strict_json

OUTPUT_LINES = 200
"""Lines of output in one event of scriptOutput at most."""
OUTPUT_BEHIND = 2000
"""How many lines scriptOutput may be behind; about a second's worth of events."""


class ScriptOutput:
    """Tells of each script's output what was not told yet.

    Args:
        host: gives the script host, which keeps the output.
    """

    def __init__(self, publisher: Publisher, host: Callable[[], ScriptHost]) -> None:
        self._publisher = publisher
        self._host = host
        self._told: dict[int, int] = {}
        self._known: dict[int, int] = {}

    def on_output(self, procedure_id: int, next_offset: int) -> None:
        """See `ScriptHostListener.on_output`."""
        self._known[procedure_id] = next_offset
        if next_offset > self._told.get(procedure_id, 0):
            self._publisher.refresh(
                "scriptOutput", lambda: self._news(procedure_id), key=procedure_id
            )

    def forget(self, procedure_id: int) -> None:
        """The procedure's record is gone."""
        self._told.pop(procedure_id, None)
        self._known.pop(procedure_id, None)

    def _news(self, procedure_id: int) -> str | None:
        """The next lines of a script's output.

        What is far behind a flood is passed over: `offset` shows the gap, and GetOutput has it.
        """
        newest = self._known.get(procedure_id, 0)
        told = max(self._told.get(procedure_id, 0), newest - OUTPUT_BEHIND)
        lines, next_offset, _ = self._host().read_output(procedure_id, told, OUTPUT_LINES)
        if not lines:
            return None
        self._told[procedure_id] = next_offset
        if next_offset < newest:
            self.on_output(procedure_id, newest)
        return strict_json.dumps(
            {"procedure_id": procedure_id, "offset": lines[0]["n"], "lines": lines}
        )
