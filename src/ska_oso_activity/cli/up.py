"""`ska-oso-activity up`: the whole stack on one machine, in the foreground (cli)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Annotated

import typer

from ska_oso_activity.cli.console import say
from ska_oso_activity.cli.errors import UsageError
from ska_oso_activity.cli.options import (
    OdaOption,
    RepositoryOption,
    ScriptsOption,
    SimulateTmcOption,
    SubarraysOption,
    TelescopeOption,
    TmcDelayOption,
    TmcNamesOption,
)
from ska_oso_activity.cli.stack.description import Places, Telescope
from ska_oso_activity.cli.stack.launcher import Ready, Stack, run
from ska_oso_activity.cli.stack.state_directory import state_directory
from ska_oso_activity.cli.stack.tmc import Tmc, TmcNames


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
    simulate_tmc: SimulateTmcOption = False,
    subarrays: SubarraysOption = 2,
    tmc_names: TmcNamesOption = TmcNames.NEW,
    tmc_delay: TmcDelayOption = None,
    telescope: TelescopeOption = Telescope.MID,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address that everything binds to.")
    ] = "127.0.0.1",
) -> None:
    """Start everything on this machine and keep it running until Ctrl-C.

    When the devices answer, one line of JSON on stdout says where they are; everything else goes to
    stderr, and what the servers write to the `logs` in the state directory.
    """
    tmc = Tmc(subarrays, tmc_names, tmc_delay) if simulate_tmc else None
    state = state_directory(state_dir)
    places = Places(
        state.path, oda or state.default_oda, tuple(scripts or ()), tuple(repository or ())
    )
    say(f"starting; state directory: {state.path}")
    stack = Stack(state, places, telescope, _address(host), port, tmc)
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
        "tmc": list(ready.tmc),
    }
    print(json.dumps(line), flush=True)
    say(f"ready: export TANGO_HOST={ready.tango_host}; Ctrl-C stops everything")
