"""`ska-oso-activity`: all commands of the command line in one place (cli)."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import ska_oso_activity
from ska_oso_activity.cli.blocks import describe, validate
from ska_oso_activity.cli.console import err
from ska_oso_activity.cli.demo import demo
from ska_oso_activity.cli.errors import INTERRUPTED, CliError, exit_code_of
from ska_oso_activity.cli.look import list_, output, show
from ska_oso_activity.cli.registration import registration
from ska_oso_activity.cli.run import run, start
from ska_oso_activity.cli.stop import stop
from ska_oso_activity.cli.up import up
from ska_oso_activity.cli.watch import watch
from ska_oso_activity.client.errors import ClientError

app = typer.Typer(
    help="Run the observing scripts of SKA telescope activities, on Tango.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"ska-oso-activity {ska_oso_activity.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show it and exit."),
    ] = False,
) -> None:
    pass


for panel, commands in {
    "Activities": (run, start, stop, watch),
    "Looking back": (list_, show, output),
    "Scheduling Blocks": (validate, describe),
    "The stack": (up, demo, registration),
}.items():
    for command in commands:
        app.command(command.__name__.rstrip("_"), rich_help_panel=panel)(command)


def main() -> None:
    """Run the command line; an error is one sentence on stderr and an exit code."""
    try:
        app()
    except (CliError, ClientError) as error:
        err.print(f"error: {error}", style="red", soft_wrap=True)
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
