"""The stack as a user starts it: `ska-oso-activity up` in processes of its own."""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
SCRIPTS = HERE / "scripts"
MISBEHAVING = HERE.parent / "scripts" / "misbehaving"
SHARED = Path(__file__).parents[2].parent / "shared"
ACTIVITY_DEVICE = "mid-oso/activity/01"
SCRIPT_EXECUTION = "mid-oso/script-execution/01"
READY_SECONDS = 60
Json = dict[str, Any]


def patience(seconds: float) -> float:
    """A deadline for something that should be quick, on a machine that may be busy."""
    return time.monotonic() + seconds


class Stack:
    """A running stack, its archive and its folders of scripts."""

    def __init__(self, *options: str) -> None:
        """Make its folders.

        Args:
            options: of `ska-oso-activity up`, beside those that every stack has.
        """
        self._options = options
        self.directory = Path(tempfile.mkdtemp(prefix="oso-acceptance-"))
        self.oda = self.directory / "oda"
        self.scripts = self.directory / "scripts"
        self.repositories = self.directory / "repositories"
        for folder in (self.oda / "sbd", self.scripts, self.repositories):
            folder.mkdir(parents=True)
        self.log = self.directory / "stderr"
        self.ready: Json = {}
        self.stdout: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def tango_host(self) -> str:
        return str(self.ready["tango_host"])

    def start(self) -> None:
        roots = [self.scripts, SCRIPTS, MISBEHAVING]
        command = [Path(sys.executable).parent / "ska-oso-activity", "up", "--port", "0"]
        command += ["--state-dir", self.directory / "state", "--oda", self.oda]
        command += [word for root in roots for word in ("--scripts", root)]
        command += ["--repository", f"file://{self.repositories}/", *self._options]
        environment = {k: v for k, v in os.environ.items() if k != "TANGO_HOST"}
        with self.log.open("wb") as stderr:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                env=environment, start_new_session=True,
            )  # fmt: skip
        self.ready = json.loads(self._line())

    def _line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        text, deadline = b"", patience(READY_SECONDS)
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not text.endswith(b"\n"):
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                piece = os.read(self._process.stdout.fileno(), 4096) if ready else b""
                if not piece:
                    raise RuntimeError(f"the stack did not start: {self.log.read_text()}")
                text += piece
        return text

    def stop(self) -> None:
        """End it as Ctrl-C does; whatever is still there afterwards is killed and told."""
        if self._process is None:
            return
        family = self.family()
        self._process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        _, left = psutil.wait_procs(family, timeout=3)
        told = [" ".join(process.cmdline()) for process in left if process.is_running()]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        if told:
            raise RuntimeError(f"still alive after the stack was stopped: {told}")

    def family(self) -> list[psutil.Process]:
        """The launcher and all that came from it."""
        assert self._process is not None
        with suppress(psutil.NoSuchProcess):
            launcher = psutil.Process(self._process.pid)
            return [launcher, *launcher.children(recursive=True)]
        return []

    # What is run here.

    def script(self, name: str) -> str:
        """The URI of one of the scripts that are kept beside the tests."""
        path = next(root / name for root in (SCRIPTS, MISBEHAVING) if (root / name).is_file())
        return f"file://{path}"

    def write_script(self, text: str, name: str | None = None) -> str:
        path = self.scripts / (name or f"written_{uuid.uuid4().hex}.py")
        path.write_text(text, encoding="utf-8")
        return f"file://{path}"

    def activity(self, script: str, **function_args: Json) -> Json:
        """An entry of a block's `activities`: a script's name here or URI, and its arguments."""
        path = script if ":" in script else self.script(script)
        return {"kind": "filesystem", "path": path, "function_args": function_args}

    def block(
        self, activities: Json, sbd_id: str | None = None, version: int = 1, **more: Any
    ) -> str:
        """Put a block into the archive; its id."""
        sbd_id = sbd_id or f"sbd-{uuid.uuid4().hex[:12]}"
        block = {"interface": "https://schema.skao.int/ska-oso-pdm-sbd/0.1", "sbd_id": sbd_id}
        block |= {"telescope": "ska_mid", "metadata": {"version": version}}
        block |= {"activities": activities, **more}
        self.write_block(sbd_id, json.dumps(block).encode(), version)
        return sbd_id

    def write_block(self, sbd_id: str, content: bytes, version: int = 1) -> Path:
        """Put a block's text into the archive, whole at once, as an archive would."""
        path = self.oda / "sbd" / sbd_id / f"{version}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.directory / f"partial-{uuid.uuid4().hex}"
        partial.write_bytes(content)
        partial.rename(path)
        return path

    def block_of(self, script: str, **function_args: Json) -> str:
        """A block whose one activity, `observe`, is this script."""
        return self.block({"observe": self.activity(script, **function_args)})

    def gated(self, gate: Path) -> str:
        """A block whose script runs until there is a file `gate`."""
        return self.block_of("gated.py", main={"kwargs": {"gate": str(gate)}})

    def entities(self, kind: str) -> list[Path]:
        """The newest version of each entity in the archive."""
        folders = sorted((self.oda / kind).glob("*/"))
        return [max(folder.glob("*.json"), key=lambda path: int(path.stem)) for folder in folders]
