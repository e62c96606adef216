"""A stack to be ill-treated, as a user starts it, with an archive and scripts of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import tango

from faults import disk, plan
from faults.kinds import Kind
from ska_oso_activity.cli.stack.processes import descendants, kill_all
from ska_oso_activity.cli.stack.program import SHIM

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = Path(__file__).parent.parent
STOP_SECONDS = 30.0
GRACE = 1.0
"""The stack's StopGrace: short, so that many stops fit into a minute."""
_COMMAND_LINES = {
    plan.ACTIVITY_DEVICE: "devices.activity_device",
    plan.SCRIPT_EXECUTION: "devices.script_execution",
    plan.DATABASE: "databaseds",
    plan.HOST: "ska_oso_activity.script_host",
}


class Stack:
    """The launcher, in a temporary directory; everything is gone when it is left."""

    def __init__(self, *, small_disk: bool) -> None:
        self.small_disk = small_disk
        self.directory = Path(tempfile.mkdtemp(prefix="ska-oso-faults-"))
        self.notes = self.directory / "notes"
        self.oda = self.directory / "oda"
        self._scripts = self.directory / "scripts"
        self._state = self.directory / "state"
        self._log = self.directory / "launcher.log"
        self.history: dict[str, str] = {}
        """What activities that have ended came to, by command id."""
        self.archive_lock = threading.Lock()
        self.environment = _environment(self.directory / "bytecode")
        """For programs of ours, in which they find the package that we run."""

    def __enter__(self) -> Stack:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        for each in (self.notes, self._state):
            each.mkdir(mode=0o700)
        (self.oda / "sbd").mkdir(parents=True)
        shutil.copytree(SCRIPTS, self._scripts, ignore=shutil.ignore_patterns("__pycache__"))
        python = [sys.executable, "-I", "-S", str(SHIM), str(os.getpid()), sys.executable]
        command = [*python, "-m", "faults.launcher", "up", "--port", "0"]
        command += ["--state-dir", str(self._state), "--oda", str(self.oda)]
        command += ["--scripts", str(self._scripts)]
        if self.small_disk:
            command = disk.with_small_disk(self._state, command)
        with self._log.open("wb") as stderr:
            self._launcher = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        line = self._launcher.stdout.readline() if self._launcher.stdout else b""
        if not line:
            raise RuntimeError(f"the stack did not start:\n{self._log.read_text()}")
        ready = json.loads(line)
        self.tango_host = str(ready["tango_host"])
        (activity,), (executor,) = ready["activity"], ready["script_execution"]
        self.devices = {
            plan.ACTIVITY_DEVICE: f"tango://{self.tango_host}/{activity}",
            plan.SCRIPT_EXECUTION: f"tango://{self.tango_host}/{executor}",
        }
        host, port = self.tango_host.rsplit(":", 1)
        tango.Database(host, int(port)).put_device_property(executor, {"StopGrace": [str(GRACE)]})
        tango.DeviceProxy(self.devices[plan.SCRIPT_EXECUTION]).command_inout("Init")

    def stop(self) -> None:
        """End everything and remove it."""
        family = self.family()
        launcher = getattr(self, "_launcher", None)
        if launcher is not None:
            for pid in family:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            launcher.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                launcher.wait(STOP_SECONDS)
            kill_all(family | {launcher.pid} if launcher.returncode is None else family)
            launcher.wait()
            if launcher.stdout:
                launcher.stdout.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- What is where

    @property
    def state(self) -> Path:
        """The state directory as we can reach it: it may be mounted where we are not."""
        if self.small_disk:
            return Path(f"/proc/{self._launcher.pid}/root{self._state}")
        return self._state

    @property
    def launcher_pid(self) -> int:
        return self._launcher.pid

    def family(self) -> set[int]:
        """Everything that the launcher started and that is alive."""
        launcher = getattr(self, "_launcher", None)
        return set() if launcher is None else descendants(launcher.pid)

    def pid_of(self, role: str) -> int | None:
        """The process of ours that plays that role now."""
        for pid in sorted(self.family()):
            with suppress(OSError):
                if role == plan.FORK_SERVER:
                    if Path(f"/proc/{pid}/comm").read_text().strip() == "fork server":
                        return pid
                    continue
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if any(_COMMAND_LINES[role] in word.decode() for word in words[:4]) and (
                    role != plan.HOST or b"ska_oso_activity.script_host" in words
                ):
                    return pid
        return None

    def admin(self, server: str) -> str:
        """The admin device of a device server."""
        return f"tango://{self.tango_host}/dserver/{server}/01"

    def logs(self) -> dict[str, str]:
        """The ends of all logs, by name."""
        paths = [self._log, *self.state.glob("logs/*.log"), *self.state.glob("*/host/*.log")]
        return {path.name: _tail(path) for path in paths if path.is_file()}

    # --- The archive

    def add(self, name: str, kind: Kind) -> str:
        """Put a block and a script for one activity there; returns the block's id."""
        script = self._scripts / f"{name}.py"
        shutil.copyfile(SCRIPTS / kind.script, script)
        activity: dict[str, Any] = {"kind": "filesystem", "path": script.as_uri()}
        activity["function_args"] = {"main": {"kwargs": dict(kind.arguments)}}
        sbd_id = f"sbd-{name}"
        block = {
            "interface": "https://schema.skao.int/ska-oso-pdm-sbd/0.1",
            "sbd_id": sbd_id,
            "telescope": "ska_mid",
            "activities": {"observe": activity},
            "targets": ["x" * 1000] * (kind.padding // 1000),
        }
        with self.archive_lock:
            path = self.oda / "sbd" / sbd_id / "1.json"
            path.parent.mkdir()
            if kind.block == "fifo":
                os.mkfifo(path)
            elif kind.block == "garbage":
                path.write_bytes(b'{"sbd_id": "' + bytes(range(128, 256)))
            else:
                path.write_text(json.dumps(block), encoding="utf-8")
        return sbd_id


def _environment(byte_code: Path) -> dict[str, str]:
    """Ours, with the package that we run, and a place where each file is compiled once."""
    import ska_oso_activity

    source = Path(ska_oso_activity.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(ROOT)])}
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        environment["PYTHONPYCACHEPREFIX"] = str(byte_code)
    return environment


def _tail(path: Path, size: int = 60_000) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace")
