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
from ska_oso_activity.cli.connection import connect
from ska_oso_activity.cli.console import err, out, printable
from ska_oso_activity.cli.demo_plan import Plan, of_block, of_samples
from ska_oso_activity.cli.errors import FAILED, INTERRUPTED
from ska_oso_activity.cli.stack.background import stack_in_background
from ska_oso_activity.cli.views import view_for
from ska_oso_activity.client.devices import Summary
from ska_oso_activity.client.follow import Follower
from ska_oso_activity.client.happenings import Finished

DEVICE = "mid-oso/activity/01"
TMC_DELAY = 0.8
"""Seconds that each command of the simulated TMC takes, so that people can follow."""
LONG = "Scans take as long as the block says; --seconds-per-scan 1 makes each a second long."


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
        typer.Option(
            "--sample-script",
            help="Run our allocate_and_observe.py in place of the block's script.",
        ),
    ] = False,
    seconds_per_scan: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="For our scripts. (default: as the block says)"
        ),
    ] = None,
) -> None:
    """Start everything in a temporary directory, run activities there, and clean up.

    A Mid block on subarray 1 and a Low block on subarray 2 are observed at the same time, by
    scripts that drive simulators of both telescopes' TMC. The exit code is 0 only if all activities
    SUCCEEDED.
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
            if block and sample_script and seconds_per_scan is None:
                err.print(LONG, style="yellow", soft_wrap=True)
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
        with err.status("Starting a Tango database, both devices and a simulated TMC"):
            arguments = _up_arguments(plan, directory)
            tango_host = running.enter_context(stack_in_background(arguments, directory))
            client = connect(DEVICE, tango_host).device
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
        *("--simulate-tmc", "--subarrays", "2", "--tmc-delay", str(TMC_DELAY)),
        *(word for path in plan.scripts for word in ("--scripts", str(path))),
        *(word for prefix in plan.repositories for word in ("--repository", prefix)),
    ]


def _script_args(seconds_per_scan: float | None) -> dict[str, Any]:
    if seconds_per_scan is None:
        return {}
    return {"script_args": {"main": {"kwargs": {"seconds_per_scan": seconds_per_scan}}}}


def _table(summaries: list[Summary]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("subarray", "block", "activity", "states passed", "result"):
        table.add_column(column, overflow="fold")
    for summary in summaries:
        table.add_row(
            str(summary.get("subarray_id") or ""),
            printable(wording.block(summary)),
            printable(summary["activity_name"]),
            wording.states_passed(summary, between="\n"),
            _how_it_ended(summary),
        )
    return table


def _how_it_ended(summary: Summary) -> Text:
    """What the script returned, of an object each item on a line; or why it returned nothing."""
    if summary["state"] != "SUCCEEDED":
        return wording.ending(summary)
    result = summary.get("result")
    if not isinstance(result, dict):
        return printable(json.dumps(result, ensure_ascii=False))
    lines = [
        printable(f"{key}: {_in_words(value)}")
        for key, value in result.items()
        if key != "subarray_id"  # has a column of its own
    ]
    return Text("\n").join(lines)


def _in_words(value: object) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
