"""`ska-oso-activity up`: the whole stack on one machine, in the foreground (cli)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Annotated

import typer

from ska_oso_activity.cli.console import say
from ska_oso_activity.cli.errors import UsageError
from ska_oso_activity.cli.options import OdaOption, RepositoryOption, ScriptsOption, TelescopeOption
from ska_oso_activity.cli.stack.description import Places, Telescope
from ska_oso_activity.cli.stack.launcher import Ready, Stack, run
from ska_oso_activity.cli.stack.state_directory import state_directory


def up(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the Tango database; 0 picks a free one.")
    ] = 10000,
    state_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Directory of all durable files.")
    ] = Path(".ska-oso-activity"),
    oda: OdaOption = None,
    scripts: ScriptsOption = None,
    repository: RepositoryOption = None,
    simulate_tmc: Annotated[
        bool,
        typer.Option("--simulate-tmc", help="TMC simulators (not there yet)."),
    ] = False,
    subarrays: Annotated[
        int, typer.Option(min=1, max=16, help="Subarrays of each TMC simulator.")
    ] = 16,
    telescope: TelescopeOption = Telescope.MID,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address that everything binds to.")
    ] = "127.0.0.1",
) -> None:
    """Start everything on this machine and keep it running until Ctrl-C.

    When the devices answer, one line of JSON on stdout says where they are; everything else goes to
    stderr, and what the servers write to the `logs` in the state directory.
    """
    if simulate_tmc:
        raise UsageError(
            f"--simulate-tmc (with {subarrays} subarrays): the TMC simulators are not there yet; "
            "nothing was started. Leave the option out"
        )
    state = state_directory(state_dir)
    places = Places(
        state.path, oda or state.default_oda, tuple(scripts or ()), tuple(repository or ())
    )
    say(f"starting; state directory: {state.path}")
    stack = Stack(state, places, telescope, _address(host), port)
    run(stack, say=say, ready=_print_ready)


def _address(host: str) -> str:
    """The IPv4 address of a host; given a name, Tango would bind its event sockets to all."""
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise UsageError(f"--host {host}: no address of this machine ({error})") from error


def _print_ready(ready: Ready) -> None:
    line = {
        "ready": True,
        "tango_host": ready.tango_host,
        "activity": [ready.activity],
        "script_execution": [ready.script_execution],
        "tmc": [],
    }
    print(json.dumps(line), flush=True)
    say(f"ready: export TANGO_HOST={ready.tango_host}; Ctrl-C stops everything")
