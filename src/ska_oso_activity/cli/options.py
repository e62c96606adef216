"""Options that several commands share (cli)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ska_oso_activity.cli.stack.description import Telescope
from ska_oso_activity.cli.stack.tmc import TmcNames

OdaOption = Annotated[
    Path | None,
    typer.Option(
        "--oda",
        exists=True,
        file_okay=False,
        resolve_path=True,
        metavar="DIR",
        help="Filesystem ODA (default: oda, in the state directory)",
    ),
]
ScriptsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--scripts",
        exists=True,
        file_okay=False,
        resolve_path=True,
        metavar="DIR",
        help="Scripts may come from here; may be repeated (default: none)",
    ),
]
RepositoryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--repository",
        metavar="URL-PREFIX",
        help="Git repositories that scripts may come from; may be repeated (default: none)",
    ),
]
TelescopeOption = Annotated[
    Telescope, typer.Option("--telescope", help="What our devices are named for.")
]
SimulateTmcOption = Annotated[
    bool,
    typer.Option(
        "--simulate-tmc", help="Start TMC simulators of both telescopes, for scripts to drive."
    ),
]
SubarraysOption = Annotated[
    int, typer.Option("--subarrays", min=1, max=16, help="Subarrays of each TMC simulator.")
]
TmcNamesOption = Annotated[
    TmcNames,
    typer.Option(
        "--tmc-names", help="Names of the simulators: mid-tmc/... or the older ska_mid/..."
    ),
]
TmcDelayOption = Annotated[
    float | None,
    typer.Option(
        "--tmc-delay",
        min=0.0,
        metavar="SECONDS",
        help="What a command of the simulators takes (default: 0.05)",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="The ActivityDevice (default: the only one of the Tango database)",
    ),
]
TangoHostOption = Annotated[
    str | None,
    typer.Option(
        "--tango-host",
        envvar="TANGO_HOST",
        metavar="HOST:PORT",
        help="The Tango database (default: that of `up`, 127.0.0.1:10000)",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs, on one line each.")]
