"""The stack that is measured, as a user starts it, with an archive made for the purpose."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import tango

from ska_oso_activity.cli.stack.processes import descendants, kill_all

SCRIPTS = Path(__file__).parent / "scripts"
BIG_BLOCK = 100_000
"""Bytes of the large Scheduling Block; observing ones have up to about so many."""
STOP_SECONDS = 30.0


class Stack:
    """`ska-oso-activity up` in a temporary directory, gone when left."""

    def __enter__(self) -> "Stack":
        self.directory = Path(tempfile.mkdtemp(prefix="ska-oso-bench-"))
        self.state = self.directory / "state"
        self._oda = self.directory / "oda"
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        family = self.family()
        self._launcher.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._launcher.wait(STOP_SECONDS)
        kill_all(family)  # nothing is left, unless something is wrong
        self._launcher.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self) -> None:
        command = [sys.executable, "-m", "ska_oso_activity.cli", "up", "--port", "0"]
        command += ["--state-dir", str(self.state), "--oda", str(self._oda)]
        command += ["--scripts", str(SCRIPTS)]
        self._oda.mkdir()
        _allow_byte_code(self.directory / "bytecode")
        log = self.directory / "stderr"
        with log.open("wb") as stderr:
            # In a session of its own, Ctrl-C reaches us alone and we stop it.
            self._launcher = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
            )
        assert self._launcher.stdout
        line = self._launcher.stdout.readline()
        if not line:
            raise RuntimeError(f"the stack did not start:\n{log.read_text()}")
        ready = json.loads(line)
        (self.activity_device,) = ready["activity"]
        (self.script_execution,) = ready["script_execution"]
        # Where cppTango looks, in this process and in those that it starts.
        os.environ["TANGO_HOST"] = ready["tango_host"]

    def keep_warm(self, size: int | None) -> None:
        """Have so many processes wait for scripts; None: as many as by default."""
        database = tango.Database()
        if size is None:
            database.delete_device_property(self.script_execution, ["WarmScripts"])
        else:
            database.put_device_property(self.script_execution, {"WarmScripts": [str(size)]})
        tango.DeviceProxy(self.script_execution).command_inout("Init")

    def family(self) -> set[int]:
        """The launcher and everything that it started."""
        return {self._launcher.pid} | descendants(self._launcher.pid)

    def add_block(self, sbd_id: str, script: str, *, size: int = 0, **kwargs: Any) -> str:
        """Put a block into the archive whose activity `observe` is one of our scripts.

        Args:
            size: bytes that the block has at least.
            kwargs: the block's own arguments for main.
        """
        activity = {"kind": "filesystem", "path": f"file://{SCRIPTS / script}"}
        activity["function_args"] = {"main": {"kwargs": kwargs}}  # type: ignore[assignment]
        block: dict[str, Any] = {
            "interface": "https://schema.skao.int/ska-oso-pdm-sbd/0.1",
            "sbd_id": sbd_id,
            "telescope": "ska_mid",
            "activities": {"observe": activity},
            "targets": [],
        }
        while len(json.dumps(block)) < size:
            block["targets"] += [_target(len(block["targets"]) + number) for number in range(50)]
        path = self._oda / "sbd" / sbd_id / "1.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(block), encoding="utf-8")
        return sbd_id


def _allow_byte_code(folder: Path) -> None:
    """See that each Python file is compiled once, as those of an installed package are.

    Where byte code may not be written beside the sources, it goes to `folder`.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder)


def _target(number: int) -> dict[str, Any]:
    """A target as PDM blocks have them, more or less."""
    return {
        "target_id": f"target-{number}",
        "name": f"Field {number}",
        "reference_coordinate": {
            "kind": "icrs",
            "ra_str": f"{number % 24:02}:12:34.567",
            "dec_str": f"-{number % 90:02}:43:21.098",
            "pm_ra": number * 0.125,
            "pm_dec": number * -0.125,
            "epoch": 2000.0,
        },
        "radial_velocity": {"quantity": {"value": 0.0, "unit": "km / s"}, "definition": "RADIO"},
    }
