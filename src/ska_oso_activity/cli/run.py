"""`ska-oso-activity run` and `start`: run an activity and watch it to its end (cli)."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from ska_oso_activity.cli import wording
from ska_oso_activity.cli.connection import SUBMIT_LIMIT, connect
from ska_oso_activity.cli.console import err, out, printable
from ska_oso_activity.cli.errors import FAILED, INTERRUPTED, STOPPED
from ska_oso_activity.cli.options import DeviceOption, JsonOption, TangoHostOption
from ska_oso_activity.cli.request import block_keys, read_script_args
from ska_oso_activity.cli.views import view_for
from ska_oso_activity.client.devices import ActivityDevice
from ska_oso_activity.client.errors import ClientError
from ska_oso_activity.client.follow import Follower
from ska_oso_activity.client.happenings import Finished

EXIT_CODES = {"SUCCEEDED": 0, "READY": 0, "FAILED": FAILED, "STOPPED": STOPPED}

ScriptArgsOption = Annotated[
    str | None,
    typer.Option(
        "--script-args",
        metavar="JSON|@FILE",
        help='Laid over those of the block: {"main": {"args": [], "kwargs": {}}, "init": ...}',
    ),
]


def run(
    block: Annotated[
        str, typer.Argument(metavar="BLOCK", help="sbd_id, oda:// or file:// URI, or a JSON file.")
    ],
    activity: Annotated[str, typer.Argument(metavar="ACTIVITY", help="Its name in the block.")],
    *,
    subarray: Annotated[
        int | None, typer.Option(min=1, max=16, help="The subarray to run on.")
    ] = None,
    script_args: ScriptArgsOption = None,
    prepare_only: Annotated[
        bool, typer.Option("--prepare-only", help="Stop at READY; `start` goes on.")
    ] = False,
    create_env: Annotated[
        bool, typer.Option("--create-env", help="Git scripts: in an environment of their own.")
    ] = False,
    request_id: Annotated[
        str | None,
        typer.Option(help="The same one again starts nothing new. (default: a new one)"),
    ] = None,
    requested_by: Annotated[str | None, typer.Option(help="(default: your user name)")] = None,
    comment: Annotated[str | None, typer.Option(help="Kept in the record.")] = None,
    device: DeviceOption = None,
    tango_host: TangoHostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an activity of a Scheduling Block and watch it to its end.

    Exit code: 0 SUCCEEDED (or READY), 1 FAILED, 2 refused, 3 STOPPED, 4 device away, 130 Ctrl-C
    (the activity is left running).
    """
    request: dict[str, Any] = {
        **block_keys(block),
        "activity_name": activity,
        **read_script_args(script_args),
        "prepare_only": prepare_only,
        "create_env": create_env,
        "subarray_id": subarray,
        "request_id": request_id or None,
        "requested_by": requested_by or _user_name(),
        "comment": comment,
    }
    client = connect(device, tango_host)

    def submit() -> str:
        before = client.device.activities(limit=1) if request_id else []
        started = client.run(request, timeout=SUBMIT_LIMIT)
        if before:
            number = started.activity_id
            if number <= before[0]["activity_id"]:
                err.print(
                    f"request id {request_id} is known already: this is activity {number}",
                    soft_wrap=True,
                )
        return started.command_id

    _run_to_end(
        client.device,
        submit,
        until_ready=prepare_only,
        as_json=as_json,
    )


def start(
    activity_id: Annotated[int, typer.Argument(metavar="N", help="Id of an activity.")],
    *,
    script_args: ScriptArgsOption = None,
    device: DeviceOption = None,
    tango_host: TangoHostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an activity that was prepared with --prepare-only, and watch it to its end.

    Exit codes as for `run`.
    """
    request = {"activity_id": activity_id, **read_script_args(script_args)}
    client = connect(device, tango_host).device
    _run_to_end(
        client, lambda: client.submit("StartActivity", request), until_ready=False, as_json=as_json
    )


def _run_to_end(
    client: ActivityDevice, submit: Callable[[], str], *, until_ready: bool, as_json: bool
) -> None:
    """Send the request, show what happens, and exit with the code that tells the end."""
    activity_id: int | None = None
    try:
        # Follow first, send then: no event can be missed.
        with Follower(client, executors=client.executors()) as follower:
            activity_id = follower.follow(submit(), until_ready=until_ready)
            with view_for(out, lambda number: f"[{number}]", as_json=as_json) as view:
                for happening in follower:
                    view.show(happening)
                    if isinstance(happening, Finished):
                        summary = happening.summary
    except KeyboardInterrupt:
        if activity_id is None:
            raise
        err.print(
            f"Activity {activity_id} is left running: `ska-oso-activity show {activity_id}` looks "
            f"at it, `ska-oso-activity stop {activity_id}` stops it.",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    except ClientError as error:
        if activity_id is None:
            raise
        raise type(error)(f"{error}; activity {activity_id} may be running on") from error
    if not as_json:
        _print_end(summary)
    raise typer.Exit(EXIT_CODES[summary["state"]])


def _print_end(summary: Mapping[str, Any]) -> None:
    out.print(wording.ending(summary), soft_wrap=True)
    if summary.get("stacktrace"):
        for line in summary["stacktrace"].rstrip().splitlines():
            out.print(Text("  ").append_text(printable(line)), style="dim", soft_wrap=True)
    if summary["state"] == "SUCCEEDED":
        out.print(f"result: {wording.result(summary)}", soft_wrap=True)
    elif summary["state"] == "READY":
        out.print(f"`ska-oso-activity start {summary['activity_id']}` goes on.", soft_wrap=True)


def _user_name() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in many containers
        return None
