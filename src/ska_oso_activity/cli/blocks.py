"""`ska-oso-activity validate` and `describe`: look into Scheduling Blocks (cli)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from ska_oso_activity.cli.connection import connect
from ska_oso_activity.cli.console import err, out, printable
from ska_oso_activity.cli.errors import FAILED
from ska_oso_activity.cli.options import DeviceOption, JsonOption, TangoHostOption
from ska_oso_activity.cli.request import block_argument, block_keys, read_script_args
from ska_oso_activity.cli.run import ScriptArgsOption

BlockArgument = Annotated[
    str, typer.Argument(metavar="BLOCK", help="sbd_id, oda:// or file:// URI, or a JSON file.")
]


def validate(
    block: BlockArgument,
    activity: Annotated[str, typer.Argument(metavar="ACTIVITY", help="Its name in the block.")],
    *,
    subarray: Annotated[
        int | None, typer.Option(min=1, max=16, help="The subarray to run on.")
    ] = None,
    script_args: ScriptArgsOption = None,
    create_env: Annotated[
        bool, typer.Option("--create-env", help="Git scripts: in an environment of their own.")
    ] = False,
    device: DeviceOption = None,
    tango_host: TangoHostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check all that running the activity would need; nothing is run.

    Exit code: 0 valid, 1 not valid, 2 the request was refused, 4 the device is away.
    """
    request = {
        **block_keys(block),
        "activity_name": activity,
        **read_script_args(script_args),
        "create_env": create_env,
        **({} if subarray is None else {"subarray_id": subarray}),
    }
    client = connect(device, tango_host)
    with err.status("checking"):
        report = client.validate(request).raw
    if as_json:
        print(json.dumps(report))
    elif report["findings"]:
        table = Table("finding", "what is wrong", box=box.SIMPLE_HEAD)
        for finding in report["findings"]:
            table.add_row(finding["code"], printable(finding["message"]))
        out.print(table)
    if not as_json:
        out.print("valid" if report["valid"] else "not valid")
    raise typer.Exit(0 if report["valid"] else FAILED)


def describe(
    block: BlockArgument,
    *,
    device: DeviceOption = None,
    tango_host: TangoHostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what can be run in a Scheduling Block."""
    client = connect(device, tango_host)
    description = client.describe(block_argument(block)).raw
    if as_json:
        print(json.dumps(description))
        return
    version = description.get("version")
    out.print(
        f"{description.get('sbd_id') or 'a draft'}"
        f"{'' if version is None else f' version {version}'}, {description.get('telescope')}"
    )
    table = Table("activity", "kind", "script", "functions", box=box.SIMPLE_HEAD)
    for name, activity in description["activities"].items():
        table.add_row(
            printable(name),
            printable(str(activity.get("kind"))),
            printable(activity.get("error") or _script(activity["script"])),
            printable(", ".join(activity.get("functions") or ())),
        )
    out.print(table)


def _script(script: Mapping[str, Any]) -> str:
    """Where a script is from, in a few words."""
    if "repo" not in script:
        return str(script.get("uri") or script.get("content") or "")
    commit = script.get("commit") or script.get("branch") or "the default branch"
    return f"{script['uri']} of {script['repo']} at {commit}"
