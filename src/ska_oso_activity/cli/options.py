"""Options that several commands share (cli)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ska_oso_activity.cli.stack.description import Telescope

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
