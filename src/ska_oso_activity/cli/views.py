"""Shows happenings as they come: plain lines, JSON for programs, or live on a terminal (cli)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from ska_oso_activity.cli import wording
from ska_oso_activity.cli.console import printable
from ska_oso_activity.client.happenings import (
    Announced,
    Finished,
    Happening,
    Noted,
    OutputWritten,
    Progressed,
    StateChanged,
)
from ska_oso_activity.domain.activity import TERMINAL

Name = Callable[[int], str]
"""What to call an activity, given its id."""


class View(Protocol):
    """Somewhere to show happenings, while entered."""

    def __enter__(self) -> View: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, happening: Happening) -> None:
        """Show one thing that happened."""


class PlainView:
    """One line for each thing, that reads well in a log."""

    def __init__(self, console: Console, name: Name) -> None:
        self._console = console
        self._name = name

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Nothing is held."""

    def show(self, happening: Happening) -> None:
        """Print it."""
        for line in lines_of(happening, self._name, progress=True):
            self._console.print(line, soft_wrap=True)


class JsonView:
    """One JSON object on a line for each thing; `type` says what it is."""

    def __enter__(self) -> JsonView:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Nothing is held."""

    def show(self, happening: Happening) -> None:
        """Print it."""
        print(json.dumps(json_of(happening)), flush=True)


class LiveView:
    """Lines that scroll by, and below them each activity's state, progress and last message."""

    def __init__(self, console: Console, name: Name, *, keep: bool) -> None:
        self._name = name
        self._keep = keep
        self._bars: dict[int, TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[state]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn(
                "{task.fields[message]}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=console,
            expand=True,
        )

    def __enter__(self) -> LiveView:
        self._progress.start()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._progress.stop()

    def show(self, happening: Happening) -> None:
        """Print it or move the bars."""
        for line in lines_of(happening, self._name, progress=False):
            self._progress.console.print(line, soft_wrap=True)
        if isinstance(happening, StateChanged):
            self._move(happening.activity_id, state=wording.state(happening.state).markup)
            if happening.state in TERMINAL and not self._keep:
                self._progress.remove_task(self._bars.pop(happening.activity_id))
        elif isinstance(happening, Progressed):
            message = {"message": printable(happening.message).plain} if happening.message else {}
            self._move(happening.activity_id, completed=happening.percent, **message)
        elif isinstance(happening, Announced):
            self._move(happening.activity_id, message=printable(happening.message).plain)
        elif isinstance(happening, Finished):
            self._progress.stop_task(self._bar(happening.activity_id))

    def _move(self, activity_id: int, **changes: Any) -> None:
        self._progress.update(self._bar(activity_id), **changes)

    def _bar(self, activity_id: int) -> TaskID:
        if activity_id not in self._bars:
            self._bars[activity_id] = self._progress.add_task(
                self._name(activity_id), total=100.0, state="", message=""
            )
        return self._bars[activity_id]


def view_for(console: Console, name: Name, *, as_json: bool, keep: bool = True) -> View:
    """The view that suits where the output goes.

    Args:
        keep: on a terminal, activities that have ended stay in sight.
    """
    if as_json:
        return JsonView()
    return LiveView(console, name, keep=keep) if console.is_terminal else PlainView(console, name)


def lines_of(happening: Happening, name: Name, *, progress: bool) -> Iterable[Text]:
    """A happening as lines of text, those of progress only if asked."""
    if isinstance(happening, Noted):
        yield Text(happening.text, style="yellow")
        return
    before = Text.assemble((name(happening.activity_id), "dim"), "  ")
    if isinstance(happening, StateChanged):
        yield before.append_text(wording.change(happening))
    elif isinstance(happening, OutputWritten):
        if happening.lost:
            yield before.copy().append(f"({happening.lost} lines are lost)", style="yellow")
        for line in happening.lines:
            yield before.copy().append("| ").append_text(wording.output_line(line))
    elif progress and isinstance(happening, Progressed):
        yield before.append(f"{happening.percent:.0f} % ").append_text(printable(happening.message))
    elif progress and isinstance(happening, Announced):
        yield before.append_text(printable(happening.message))


def json_of(happening: Happening) -> dict[str, Any]:
    """A happening as a JSON object."""
    if isinstance(happening, Noted):
        return {"type": "note", "text": happening.text}
    known = {"activity_id": happening.activity_id}
    if isinstance(happening, StateChanged):
        told = {
            "state": happening.state.name,
            "previous_state": happening.previous_state.name,
            "time": happening.time,
            "message": happening.message,
        }
        return {"type": "state", **known, **told, **(happening.event or {})}
    if isinstance(happening, OutputWritten):
        lines = list(happening.lines)
        return {"type": "output", **known, "lines": lines, "lost": happening.lost}
    if isinstance(happening, Progressed):
        return {
            "type": "progress",
            **known,
            "progress": happening.percent,
            "message": happening.message,
        }
    if isinstance(happening, Announced):
        return {"type": "message", **known, "message": happening.message}
    return {"type": "finished", **known, "summary": happening.summary}
