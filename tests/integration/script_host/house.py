"""A script host in a directory of its own, and short words for what tests do with it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from ska_oso_activity.adapters.host_client import HostClient
from ska_oso_activity.application.ports import ProcessSpec
from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.script_host.environment import MARK
from ska_oso_activity.script_host.procfs import environment_value, process, snapshot
from tests.integration.script_host.recorder import PATIENCE, Recorder

MISBEHAVING = Path(__file__).parents[2] / "scripts" / "misbehaving"


class House:
    """One directory, the host in it, and a client of it with its recorder."""

    def __init__(self, directory: Path, **options):
        self.directory = directory
        self.options = options
        self.ids = itertools.count(1)
        self.hosts: dict[str, int] = {}
        self.attach()

    @property
    def is_warm(self):
        """Whether scripts come from the fork server."""
        return self.options.get("warm", 4) >= 0

    # --- The client

    def attach(self):
        """Attach a (new) client with a new recorder."""
        self.heard = Recorder()
        self.client = HostClient(self.directory, self.heard, **self.options)
        self.client.open()
        self.heard.wait("attached")
        self.note_host()

    def note_host(self):
        identity = json.loads((self.directory / "host.json").read_text())
        self.pid = identity["pid"]
        self.hosts[identity["host"]] = self.pid

    def wait_for_host(self, number):
        """Wait until the client has attached for the nth time."""
        wait_until(lambda: len(self.heard.all("attached")) >= number, "the next host")
        self.note_host()

    # --- Scripts

    def launch(
        self, path: Path, *, init=None, function="main", args=(), kwargs=None, **spec
    ) -> int:
        """Launch a script and have it started as soon as it is ready, unless `function` is None."""
        procedure_id = next(self.ids)
        given = ProcedureInput(**init) if init else ProcedureInput()
        spec = {"block_path": None, "subarray_id": None, **spec}
        self.client.wait_for_contact()
        self.client.launch(ProcessSpec(procedure_id, str(path), given, **spec))
        if function:
            self.start(procedure_id, function, args, kwargs)
        return procedure_id

    def start(self, procedure_id, function="main", args=(), kwargs=None):
        self.client.start(procedure_id, function, ProcedureInput(tuple(args), kwargs or {}))

    def run(self, path: Path, **options) -> Any:
        """Launch, start and wait for the end."""
        return self.heard.wait_end(self.launch(path, **options))

    def misbehave(self, name: str, *args, **options) -> Any:
        return self.run(MISBEHAVING / f"{name}.py", args=args, **options)

    def launch_misbehaving(self, name: str, *args, until: str, **options) -> int:
        """Launch and wait for a line that the script prints once it is at its worst."""
        procedure_id = self.launch(MISBEHAVING / f"{name}.py", args=args, **options)
        self.wait_line(procedure_id, until)
        return procedure_id

    def wait_line(self, procedure_id, text):
        self.heard.wait("output", procedure_id, lambda _: text in self.texts(procedure_id))

    def lines(self, procedure_id):
        return self.client.read_output(procedure_id, 0, 1_000_000)[0]

    def texts(self, procedure_id):
        return [line["text"] for line in self.lines(procedure_id)]

    def output_files(self, procedure_id):
        return list((self.directory / "output" / str(procedure_id)).iterdir())

    # --- Processes

    def marked(self):
        """Pids of living processes of scripts of all hosts that were here."""
        return [pid for pid, procedure_id in self._marks() if procedure_id != 0]

    def helpers(self):
        """Pids of their fork servers, and of the processes that wait for scripts."""
        return [pid for pid, procedure_id in self._marks() if procedure_id == 0]

    def waiting(self):
        """Pids of the processes that wait for scripts."""
        return [pid for pid in self.helpers() if name_of(pid) == "script, waiting"]

    def fork_server(self):
        """Pid of the fork server; None if there is none that takes orders."""
        return next((pid for pid in self.helpers() if name_of(pid) == "fork server"), None)

    def wait_fork_server(self, number=1):
        """Wait until the nth fork server takes orders."""
        log = self.directory / "host.log"
        ready = "the fork server is ready"
        wait_until(lambda: log.read_text().count(ready) >= number, "the fork server")

    def freeze_fork_server(self):
        """SIGSTOP the fork server and the process that it has made ahead of time."""
        frozen: set[int] = set()
        while new := set(self.helpers()) - frozen:  # one may just be coming
            for pid in new:
                with contextlib.suppress(ProcessLookupError):  # it was just ending
                    os.kill(pid, signal.SIGSTOP)
                wait_until(lambda pid=pid: not is_alive(pid) or is_halted(pid), "its halt")
            frozen |= new

    def wait_warm(self, count=4):
        """Wait until so many processes wait for scripts."""
        wait_until(lambda: len(self.waiting()) == count, f"{count} waiting processes")

    def _marks(self):
        for pid, each in snapshot().items():
            host, _, procedure_id = (environment_value(pid, MARK) or "").partition(":")
            if each.alive and host in self.hosts:
                yield pid, int(procedure_id)

    def tear_down(self):
        """Let go, end the host, and fail if anything of it is left."""
        self.client.close()
        for pid in self.hosts.values():
            if is_alive(pid):
                os.kill(pid, signal.SIGTERM)
        try:
            wait_until(lambda: not any(map(is_alive, self.hosts.values())), "the host to end")
            assert self.marked() + self.helpers() == []
        finally:
            for pid in [*self.hosts.values(), *self.marked(), *self.helpers()]:
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    found = process(pid)
    return found is not None and found.alive


def is_halted(pid: int) -> bool:
    found = process(pid)
    return found is not None and found.state == "T"


def wait_until(condition, what: str, patience: float = PATIENCE):
    """Wait for what nobody tells: a process of others that is gone, a file that is there."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)
