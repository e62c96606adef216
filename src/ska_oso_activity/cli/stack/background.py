"""A stack of our own in the background, for as long as it is needed (cli)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ska_oso_activity.cli.errors import LaunchError
from ska_oso_activity.cli.stack.program import SHIM

STOP_LIMIT = 30.0


@contextmanager
def stack_in_background(arguments: Sequence[str], directory: Path) -> Iterator[str]:
    """Run `ska-oso-activity up` with `arguments`; gives the Tango host once its devices answer.

    It is another process, because it takes over signals and orphans. It dies with us. Main thread.

    Args:
        directory: where it runs, and writes what it has to say.

    Raises:
        LaunchError: it did not come up; the text has what it said.
    """
    log = directory / "up.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(SHIM), str(os.getpid())),
                *(sys.executable, "-m", "ska_oso_activity.cli", "up", *arguments),
            ],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            # Ctrl-C in the terminal is for us; we stop it in order.
            start_new_session=True,
        )
    try:
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            process.wait()
            said = log.read_text(errors="replace").strip()
            raise LaunchError(f"the stack did not come up:\n{said}")
        yield str(json.loads(line)["tango_host"])
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
