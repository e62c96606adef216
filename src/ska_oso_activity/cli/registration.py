"""`ska-oso-activity registration`: our devices for a production Tango database (cli)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ska_oso_activity.cli.options import RepositoryOption, TelescopeOption
from ska_oso_activity.cli.stack.description import Places, Telescope, dsconfig, our_devices

STATE = Path("/var/lib/ska-oso-activity")
ODA = Path("/var/lib/oda")
SCRIPTS = Path("/scripts")


def registration(
    *,
    telescope: TelescopeOption = Telescope.MID,
    state_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Directory of all durable files.")
    ] = STATE,
    oda: Annotated[Path, typer.Option(metavar="DIR", help="Filesystem ODA.")] = ODA,
    scripts: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help=f"Scripts may come from here; may be repeated (default: {SCRIPTS})"
        ),
    ] = None,
    repository: RepositoryOption = None,
) -> None:
    """Print our devices and their properties as JSON that dsconfig's json2tango reads.

    The paths are those of the machines that the servers will run on; they are not looked at.
    """
    places = Places(state_dir, oda, tuple(scripts or (SCRIPTS,)), tuple(repository or ()))
    print(json.dumps(dsconfig(our_devices(telescope, places)), indent=2))
