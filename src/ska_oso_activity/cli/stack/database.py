"""The embedded Tango database: pytango-db on an SQLite file (cli)."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ska_oso_activity.cli.errors import LaunchError
from ska_oso_activity.cli.stack.program import Program
from ska_oso_activity.cli.stack.state_directory import StateDirectory

LOG_NAME = "TangoDatabase"
_LISTENING = re.compile(r"Database DS listening on: host=(\S+), port=(\d+)\.")


def database_program(state: StateDirectory, host: str, port: int) -> Program:
    """The database server, listening on `host` and `port`.

    It is called by our own interpreter: the console script of pytango-db may not be on the path.
    """
    return Program(
        "the Tango database",
        (
            *(sys.executable, "-c", "from databaseds.database import main; main()"),
            *("--host", host, "--port", str(port), "--print-host-port", "2"),
        ),
        log=state.log(LOG_NAME),
        directory=state.path,
        environment={"PYTANGO_DATABASE_NAME": str(state.database)},
    )


def listening_address(log: Path, offset: int) -> tuple[str, int] | None:
    """The host and port that the database said it listens on, in its log after byte `offset`."""
    with log.open("rb") as file:
        file.seek(offset)
        found = _LISTENING.search(file.read().decode(errors="replace"))
    return (found[1], int(found[2])) if found else None


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Hold a port for the database to take over meanwhile; returns its number.

    With the number fixed from the first start on (0: a free one is chosen here), omniORB sets
    SO_REUSEADDR, and a database that died can be started again on the same port at once.

    Raises:
        LaunchError: `host` and `port` cannot be listened on; the database itself would only put
            that into its log.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((host, port))
        except OSError as error:
            raise LaunchError(
                f"the Tango database cannot listen on {host}:{port} ({error.strerror}): "
                "choose another port with --port (0 picks a free one)"
            ) from error
        yield held.getsockname()[1]
