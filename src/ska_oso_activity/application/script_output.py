"""The attribute scriptOutput: what scripts print, as it comes (application layer)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ska_oso_activity.application.ports import Publisher, ScriptHost
from ska_oso_activity.domain import strict_json

OUTPUT_LINES = 200
"""Lines of output in one event of scriptOutput at most."""
OUTPUT_BEHIND = 2000
"""How many lines scriptOutput may be behind; about a second's worth of events."""
LOGGED_LINES = 20
"""Lines of one event of scriptOutput that go on into the device's own log."""

_log = logging.getLogger("ska_oso_activity.scripts")


class ScriptOutput:
    """Tells of each script's output what was not told yet.

    Args:
        host: gives the script host, which keeps the output.
        labels: gives those of a procedure, which say what activity it is for.
    """

    def __init__(
        self,
        publisher: Publisher,
        host: Callable[[], ScriptHost],
        labels: Callable[[int], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        self._publisher = publisher
        self._labels = labels
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
        self._log_lines(procedure_id, lines)
        if next_offset < newest:
            self.on_output(procedure_id, newest)
        return strict_json.dumps(
            {"procedure_id": procedure_id, "offset": lines[0]["n"], "lines": lines}
        )

    def _log_lines(self, procedure_id: int, lines: Sequence[Mapping[str, Any]]) -> None:
        """Put what a script logs into the device's log, tagged with its activity."""
        logged = [line["text"] for line in lines if line["stream"] == "log"]
        if not logged or not _log.isEnabledFor(logging.CRITICAL):
            return
        activity_id = self._labels(procedure_id).get("activity_id")
        tags = f"procedure:{procedure_id}"
        if activity_id is not None:
            tags = f"activity:{activity_id},{tags}"
        for text in logged[:LOGGED_LINES]:
            _log.log(_level_of(text), "%s", text, extra={"tags": tags})
        if len(logged) > LOGGED_LINES:
            more = len(logged) - LOGGED_LINES
            _log.warning("%d more lines: see GetOutput", more, extra={"tags": tags})


def _level_of(text: str) -> int:
    """The level of a line as scripts' logging writes it: `WARNING name: message`."""
    word = text.partition(" ")[0]
    level = logging.getLevelName(word) if word.isupper() else None
    return level if isinstance(level, int) else logging.INFO
