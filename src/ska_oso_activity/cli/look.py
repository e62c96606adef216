"""`ska-oso-activity list`, `show` and `output`: look at activities, now and afterwards (cli)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from ska_oso_activity.cli import wording
from ska_oso_activity.cli.connection import connect
from ska_oso_activity.cli.console import err, out, printable
from ska_oso_activity.cli.errors import UsageError
from ska_oso_activity.cli.options import DeviceOption, JsonOption, TangoHostOption
from ska_oso_activity.client.errors import ClientError
from ska_oso_activity.client.happenings import OutputWritten
from ska_oso_activity.domain.activity import ActivityState

NARROW = 80
"""Columns below which `list` does without the last messages."""
STATES = [s.name for s in ActivityState if s is not ActivityState.NONE]
ActivityArgument = Annotated[int, typer.Argument(metavar="N", help="Id of an activity.")]
StateChoice = typer.Option(
    "--state",
    metavar="STATE",
    case_sensitive=False,
    help=f"Only those that are {', '.join(STATES)}.",
)


def list_(
    *,
    state: Annotated[str | None, StateChoice] = None,
    sbd: Annotated[str | None, typer.Option(metavar="SBD_ID", help="Only of this block.")] = None,
    subarray: Annotated[
        int | None, typer.Option(min=1, max=16, help="Only on this subarray.")
    ] = None,
    before: Annotated[
        int | None, typer.Option(metavar="N", help="Only older ones than activity N.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    device: DeviceOption = None,
    tango_host: TangoHostOption = None,
    as_json: JsonOption = False,
) -> None:
    """List activities, the newest first."""
    if state and state.upper() not in STATES:
        raise UsageError(f"--state is one of {', '.join(STATES)}, not {state!r}")
    summaries = connect(device, tango_host).device.activities(
        state=state and state.upper(),
        sbd_id=sbd,
        subarray_id=subarray,
        before=before,
        limit=limit,
    )
    if as_json:
        for summary in summaries:
            print(json.dumps(summary))
    elif not summaries:
        out.print("No activities.")
    else:
        out.print(_table(summaries, narrow=out.width < NARROW))


def show(
    activity_id: ActivityArgument,
    *,
    device: DeviceOption = None,
    tango_host: TangoHostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that is known of an activity, and the end of its output."""
    summary = connect(device, tango_host).device.activity(activity_id)
    if as_json:
        print(json.dumps(summary))
        return
    out.print(wording.ending(summary), soft_wrap=True)
    out.print(_details(summary))
    _section("stacktrace", (summary.get("stacktrace") or "").rstrip().splitlines())
    if summary.get("result") is not None:
        _section("result", wording.result(summary).splitlines())
    if (summary.get("abort") or {}).get("error"):
        _section("abort script", str(summary["abort"]["error"]).splitlines())
    if summary.get("output_tail"):
        out.print(Text("output", style="bold"))
        for line in summary["output_tail"]:
            out.print(Text("  ").append_text(wording.output_line(line)), soft_wrap=True)


def output(
    activity_id: ActivityArgument,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the activity ends.")
    ] = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="That of the abort script that was run after it.")
    ] = False,
    device: DeviceOption = None,
    tango_host: TangoHostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the output of an activity's script."""
    if follow and abort:
        raise UsageError("--follow is for the activity's own script, not for the abort script")
    client = connect(device, tango_host)
    if follow:
        for happening in client.follow(activity_id):
            if isinstance(happening, OutputWritten):
                _tell_dropped(happening.lost)
                _print_lines(happening.lines, as_json=as_json)
        return
    summary = client.device.activity(activity_id)
    procedure_id = (summary.get("abort") or {}).get("procedure_id") if abort else None
    if abort and procedure_id is None:
        raise UsageError(f"no abort script was run for activity {activity_id}")
    procedure_id = summary.get("procedure_id") if procedure_id is None else procedure_id
    if summary.get("executor") is None or procedure_id is None:
        return  # no script of it was ever started
    offset = 0
    try:
        executor = client.device.executor(summary["executor"])
        while (page := executor.output(procedure_id, offset)).next_offset > offset:
            _tell_dropped(page.dropped - offset)
            _print_lines(page.lines, as_json=as_json)
            offset = page.next_offset
    except ClientError:
        # The executor is away or has forgotten: the activity's own record has the end of it.
        tail = [line for line in summary.get("output_tail") or () if line["n"] >= offset]
        if abort or not tail:
            raise
        _tell_dropped(tail[0]["n"] - offset)
        _print_lines(tail, as_json=as_json)


def _tell_dropped(count: int) -> None:
    if count > 0:
        err.print(f"{count} earlier lines are no longer kept", style="yellow")


def _print_lines(lines: Any, *, as_json: bool) -> None:
    for line in lines:
        if as_json:
            print(json.dumps(line), flush=True)
        else:
            out.print(wording.output_line(line), soft_wrap=True)


def _table(summaries: list[Mapping[str, Any]], *, narrow: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    if narrow:
        table.caption = "last messages need 80 columns, or --json"
    table.add_column("id", justify="right", no_wrap=True)
    for column in ("state", "lane", "requested (UTC)"):
        table.add_column(column, no_wrap=True)
    # On a narrow terminal these give way, by more lines.
    for column in ("activity", "block", *(() if narrow else ("last message",))):
        table.add_column(column, overflow="fold", min_width=5 if narrow else 10)
    for summary in summaries:
        requested = (summary.get("activity_states") or [["", ""]])[0][1]
        cells: list[str | Text] = [
            str(summary["activity_id"]),
            wording.state(summary["state"]),
            str(summary.get("subarray_id") or ""),
            requested[5:19].replace("T", " "),
            printable(summary["activity_name"]),
            printable(wording.block(summary)),
            printable(summary.get("reason") or summary.get("message") or ""),
        ]
        table.add_row(*cells[: len(table.columns)])
    return table


def _details(summary: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=True)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    shown_elsewhere = {"state", "activity_states", "stacktrace", "result", "output_tail", "error"}
    table.add_row("states", wording.states_passed(summary))
    for key, value in summary.items():
        if key not in shown_elsewhere and value not in (None, "", [], {}):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            table.add_row(key, printable(text))
    return table


def _section(title: str, lines: list[str]) -> None:
    if lines:
        out.print(Text(title, style="bold"))
        for line in lines:
            out.print(Text("  ").append_text(printable(line)), soft_wrap=True)
