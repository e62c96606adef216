"""`ska-oso-activity demo`: from nothing to finished activities, in one go (cli)."""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from ska_oso_activity.cli import wording
from ska_oso_activity.cli.client import Summary, connect
from ska_oso_activity.cli.console import err, out, printable
from ska_oso_activity.cli.demo_plan import Plan, of_block, of_samples
from ska_oso_activity.cli.errors import FAILED, INTERRUPTED
from ska_oso_activity.cli.follow import Follower
from ska_oso_activity.cli.happenings import Finished
from ska_oso_activity.cli.stack.background import stack_in_background
from ska_oso_activity.cli.views import view_for

DEVICE = "mid-oso/activity/01"


def demo(
    *,
    block: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Run this block instead."),
    ] = None,
    activity: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of that block. (default: observe)")
    ] = None,
    scripts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Where its script is, if not where the block says. (default: beside the block)",
        ),
    ] = None,
    sample_script: Annotated[
        bool,
        typer.Option("--sample-script", help="Run our observe.py in place of the block's script."),
    ] = False,
    seconds_per_scan: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="For our observe.py. (default: as the block says)"
        ),
    ] = None,
) -> None:
    """Start everything in a temporary directory, run activities there, and clean up.

    A Mid block on subarray 1 and a Low block on subarray 2 are observed at the same time. The exit
    code is 0 only if all activities SUCCEEDED.
    """
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="ska-oso-activity-demo-") as name:
            directory = Path(name).resolve()
            if block is None:
                plan = of_samples(directory)
            else:
                plan = of_block(
                    block,
                    directory,
                    activity=activity,
                    scripts=scripts,
                    sample_script=sample_script,
                )
            summaries = _run(plan, directory, _script_args(seconds_per_scan))
    except KeyboardInterrupt:
        err.print("Interrupted; all is stopped and removed.")
        raise typer.Exit(INTERRUPTED) from None
    out.print(_table(summaries))
    if not all(summary["state"] == "SUCCEEDED" for summary in summaries):
        raise typer.Exit(FAILED)
    out.print(f"All SUCCEEDED, in {time.monotonic() - began:.0f} s.", style="bold green")


def _run(plan: Plan, directory: Path, more: Mapping[str, Any]) -> list[Summary]:
    """Start a stack, run the plan's activities side by side, show them; how they ended."""
    if plan.note:
        err.print(plan.note, style="yellow", soft_wrap=True)
    with ExitStack() as running:
        with err.status("Starting a Tango database and the two devices"):
            arguments = _up_arguments(plan, directory)
            tango_host = running.enter_context(stack_in_background(arguments, directory))
            client = connect(DEVICE, tango_host)
        err.print(f"{DEVICE} is ON (TANGO_HOST={tango_host})", soft_wrap=True)
        follower = running.enter_context(Follower(client))
        lanes: dict[int, str] = {}
        for request in plan.requests:
            number = follower.follow(client.submit("RunActivity", {**request, **more}))
            lanes[number] = f"subarray {request['subarray_id']}"
        ended: dict[int, Summary] = {}
        with view_for(out, lanes.__getitem__, as_json=False) as view:
            for happening in follower:
                view.show(happening)
                if isinstance(happening, Finished):
                    ended[happening.activity_id] = happening.summary
        return [ended[number] for number in lanes]


def _up_arguments(plan: Plan, directory: Path) -> list[str]:
    return [
        *("--port", "0", "--state-dir", str(directory / "state"), "--oda", str(plan.oda)),
        *(word for path in plan.scripts for word in ("--scripts", str(path))),
        *(word for prefix in plan.repositories for word in ("--repository", prefix)),
    ]


def _script_args(seconds_per_scan: float | None) -> dict[str, Any]:
    if seconds_per_scan is None:
        return {}
    return {"script_args": {"main": {"kwargs": {"seconds_per_scan": seconds_per_scan}}}}


def _table(summaries: list[Summary]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("subarray", "block", "activity", "states passed", "scans", "result"):
        table.add_column(column, overflow="fold")
    for summary in summaries:
        result = summary.get("result")
        scans = result.pop("scans", "") if isinstance(result, dict) else ""
        table.add_row(
            str(summary.get("subarray_id") or ""),
            printable(wording.block(summary)),
            printable(summary["activity_name"]),
            wording.states_passed(summary, between="\n"),
            str(scans),
            _how_it_ended(summary),
        )
    return table


def _how_it_ended(summary: Summary) -> Text:
    if summary["state"] == "SUCCEEDED":
        return printable(json.dumps(summary.get("result"), ensure_ascii=False))
    return wording.ending(summary)
