"""`ska-oso-activity stop`: stop an activity and wait until it is (cli)."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ska_oso_activity.cli.client import connect
from ska_oso_activity.cli.console import err, out, printable
from ska_oso_activity.cli.errors import FAILED, UsageError
from ska_oso_activity.cli.options import DeviceOption, JsonOption, TangoHostOption


def stop(
    activity_id: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Id of an activity.")
    ] = None,
    *,
    subarray: Annotated[
        int | None, typer.Option(min=1, max=16, help="Stop what runs on this subarray.")
    ] = None,
    no_abort: Annotated[
        bool, typer.Option("--no-abort", help="Run no abort script afterwards.")
    ] = False,
    device: DeviceOption = None,
    tango_host: TangoHostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop an activity; by default the abort script then puts its subarray in order.

    Returns when both are done. Exit code: 0 stopped (or finished before), 1 the abort script
    failed, 2 refused, 4 the device is away.
    """
    if (activity_id is None) == (subarray is None):
        raise UsageError("say what to stop: the id of an activity, or --subarray")
    which = {"activity_id": activity_id} if subarray is None else {"subarray_id": subarray}
    client = connect(device, tango_host)
    with err.status("stopping"):
        result = client.complete("StopActivity", {**which, "run_abort": not no_abort})
    if as_json:
        print(json.dumps({"code": result.code, "text": result.text}))
    else:
        out.print(printable(result.text), soft_wrap=True)
    raise typer.Exit(FAILED if result.code else 0)
