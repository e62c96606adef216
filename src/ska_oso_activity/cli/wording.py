"""How activities, their states, times and lines are put into words and colours (cli)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.text import Text

from ska_oso_activity.cli.console import printable
from ska_oso_activity.client.happenings import StateChanged
from ska_oso_activity.domain.activity import TERMINAL, ActivityState

STYLES = {
    ActivityState.REQUESTED: "cyan",
    ActivityState.PREPARING: "cyan",
    ActivityState.READY: "blue",
    ActivityState.RUNNING: "bold blue",
    ActivityState.STOPPING: "yellow",
    ActivityState.SUCCEEDED: "bold green",
    ActivityState.FAILED: "bold red",
    ActivityState.STOPPED: "bold yellow",
    ActivityState.UNKNOWN: "magenta",
}
STREAM_STYLES = {"stderr": "red", "log": "dim"}


def state(name: str | ActivityState) -> Text:
    """A state's name in its colour."""
    known = name if isinstance(name, ActivityState) else ActivityState[name]
    return Text(known.name, style=STYLES.get(known, ""))


def clock(time: str) -> str:
    """The time of day (UTC) of a time of the interface, to the millisecond: `22:10:03.123`."""
    return time[11:23]


def seconds_between(earlier: str, later: str) -> float:
    """The seconds between two times of the interface."""
    return (_moment(later) - _moment(earlier)).total_seconds()


def change(happening: StateChanged) -> Text:
    """A change of state as one line."""
    line = Text.assemble(
        (clock(happening.time), "dim"), " ", state(happening.previous_state), " -> "
    )
    line.append_text(state(happening.state))
    if happening.message:
        line.append("  ").append_text(printable(happening.message))
    return line


def output_line(line: Mapping[str, Any]) -> Text:
    """A line of a script's output, in the colour of its stream."""
    text = printable(line["text"])
    text.stylize(STREAM_STYLES.get(line["stream"], ""))
    return text


def states_passed(summary: Mapping[str, Any], between: str = ", ") -> Text:
    """The states of an activity with the seconds spent in each: `PREPARING 0.1 s, RUNNING ...`."""
    passed: list[list[str]] = summary["activity_states"]
    line = Text()
    for (name, since), until in zip(passed, [*passed[1:], None], strict=True):
        if line:
            line.append(between)
        line.append_text(state(name))
        if until is not None:
            line.append(f" {seconds_between(since, until[1]):.1f} s")
    return line


def ending(summary: Mapping[str, Any]) -> Text:
    """How an activity stands or ended, as one sentence."""
    line = Text(f"Activity {summary['activity_id']} ").append_text(state(summary["state"]))
    if summary.get("reason"):
        line.append(f": {summary['reason']}")
    if summary.get("error"):
        line.append(": ").append_text(printable(summary["error"]))
    elif ActivityState[summary["state"]] in TERMINAL and summary.get("message"):
        line.append(": ").append_text(printable(summary["message"]))
    return line


def result(summary: Mapping[str, Any]) -> str:
    """What main returned, as JSON that reads well."""
    return json.dumps(summary["result"], indent=2, ensure_ascii=False)


def block(summary: Mapping[str, Any]) -> str:
    """The Scheduling Block of an activity: its id, with the version where known, or its URI."""
    if not summary.get("sbd_id"):
        return str(summary.get("sb_uri") or "")
    version = summary.get("sbd_version")
    return f"{summary['sbd_id']}" + (f" v{version}" if version is not None else "")


def _moment(time: str) -> datetime:
    return datetime.fromisoformat(time.replace("Z", "+00:00"))
