"""The script host: owns scripts, and tells a device server about them (script host)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from ska_oso_activity.domain.errors import InvalidRequest, Reason
from ska_oso_activity.script_host.directory import HostDirectory
from ska_oso_activity.script_host.environment import mark_of, script_environment
from ska_oso_activity.script_host.journal import Journal
from ska_oso_activity.script_host.leader import Leader
from ska_oso_activity.script_host.link import Connection, Door
from ska_oso_activity.script_host.loop import Loop, Timer
from ska_oso_activity.script_host.memory import OutOfMemory
from ska_oso_activity.script_host.messages import PROTOCOL, Message, encode
from ska_oso_activity.script_host.output import OUTPUT_LIMIT, OutputWriter
from ska_oso_activity.script_host.pool import NO_FORK_SERVER, Pool
from ska_oso_activity.script_host.process import ScriptProcess
from ska_oso_activity.script_host.request import LaunchRequest
from ska_oso_activity.script_host.survivors import forget_leader, note_leader
from ska_oso_activity.script_host.sweep import Family, kill_own_descendants

IDLE_SECONDS = 60.0
"""How long a host stays without a script and without a server."""

BACKLOG_BYTES = 1024 * 1024
"""What may wait in the connection; the rest waits in the journal, where news replaces old news."""

LOG = logging.getLogger(__name__)


class Host:
    """Everything of one host: its scripts by procedure id, its journal and its door."""

    def __init__(
        self,
        loop: Loop,
        directory: HostDirectory,
        name: str,
        *,
        umask: int,
        idle_seconds: float,
        warm: int,
    ) -> None:
        """Open the door; the caller holds the directory's lock.

        Args:
            name: this run of the host, unique for ever.
            umask: what scripts create their own files with.
            warm: how many processes are to wait for scripts; see `Pool`.
        """
        self._loop = loop
        self._directory = directory
        self._name = name
        self._idle_seconds = idle_seconds
        self._idle: Timer | None = None
        self._terminating = False
        self._family = Family()
        self._memory = OutOfMemory()
        self._pool = Pool(loop, self._family, name, umask=umask, size=warm)
        self._processes: dict[int, ScriptProcess] = {}
        self._launched: set[int] = set()
        self._expecting: dict[int, list[Message]] = {}
        self._grace: dict[int, float] = {}
        self._journal = Journal(directory)
        self._sent = 0
        self._commands: dict[str, Callable[[Message], None]] = {
            "launch": self._launch,
            "start": self._start,
            "stop": self._stop,
            "forget": self._forget,
            "ack": self._acknowledge,
            "pool": self._resize_pool,
        }
        self._door = Door(
            loop,
            directory.listen(),
            on_attached=self._on_attached,
            on_message=self._on_message,
            on_detached=self._check_idle,
            on_drained=self._pump,
        )
        self._check_idle()

    def close(self) -> None:
        """Shut the door. What no server has acknowledged stays on disk."""
        self._door.close()
        self._pool.close()
        self._directory.remove_socket()

    def terminate(self) -> None:
        """Stop all scripts as their servers would, then end; the second time, at once."""
        if self._terminating:
            self.end_now()
            return
        LOG.info("asked to end, with %d scripts", len(self._processes))
        self._terminating = True
        for procedure_id, process in list(self._processes.items()):
            process.stop(self._grace[procedure_id])
        self._check_idle()

    def end_now(self) -> None:
        """Kill all scripts and what they started, and end this process."""
        LOG.warning("ending at once, with %d scripts", len(self._processes))
        left = kill_own_descendants()
        if left:
            LOG.error("processes %s cannot be killed", left)
        self.close()
        os._exit(0)

    # --- The server

    def _on_attached(self, connection: Connection) -> None:
        known = sorted(self._journal.procedures() | self._processes.keys() | self._expecting.keys())
        connection.send(
            encode({"hello": PROTOCOL, "host": self._name, "pid": os.getpid(), "procedures": known})
        )
        self._sent = 0
        self._check_idle()
        self._pump(connection)

    def _on_message(self, message: Message) -> None:
        command = self._commands.get(str(message.get("kind")))
        if command is None:
            LOG.info("a message of an unknown kind is ignored: %s", sorted(message))
            return
        try:
            command(message)
        except (KeyError, TypeError, ValueError, InvalidRequest):
            LOG.exception("the message cannot be understood and is ignored: %s", sorted(message))

    def _pump(self, connection: Connection) -> None:
        """Send what is new, as far as the server takes it."""
        for event in self._journal.after(self._sent):
            if connection.backlog > BACKLOG_BYTES:
                return
            self._sent = event.order
            connection.send(event.line)

    def _emit(self, procedure_id: int, kind: str, fields: dict[str, Any]) -> None:
        self._journal.append(procedure_id, kind, fields)
        if self._door.current:
            self._pump(self._door.current)

    # --- Its commands

    def _launch(self, message: Message) -> None:
        procedure_id = int(message["procedure_id"])
        if procedure_id in self._launched or procedure_id in self._journal.procedures():
            LOG.warning("procedure %d was launched before: nothing is done", procedure_id)
            return
        self._launched.add(procedure_id)
        self._directory.remove(procedure_id)
        mark = mark_of(self._name, procedure_id)
        try:
            request = LaunchRequest.from_json(message)
        except (KeyError, TypeError, ValueError, InvalidRequest) as error:
            self._could_not_launch(procedure_id, message.get("python"), error)
            return
        variables = script_environment(os.environ, request.environment, mark)
        request = replace(request, variables=variables)
        self._expecting[procedure_id] = []
        self._pool.take(
            request.script_path,
            request.python,
            variables,
            partial(self._follow, request, mark),
            partial(self._could_not_launch, procedure_id, request.python),
        )
        self._check_idle()

    def _follow(self, request: LaunchRequest, mark: str, leader: Leader) -> None:
        procedure_id = request.procedure_id
        self._family.add(leader.pid, mark)
        note_leader(self._directory, leader.pid)
        self._grace[procedure_id] = request.grace
        self._processes[procedure_id] = ScriptProcess(
            self._loop,
            request,
            leader,
            self._family,
            OutputWriter(
                self._directory.output_of(procedure_id), request.limits.output_bytes or OUTPUT_LIMIT
            ),
            emit=partial(self._emit, procedure_id),
            on_gone=partial(self._on_gone, procedure_id, leader.pid),
            memory=self._memory,
        )
        LOG.info("procedure %d: %s in process %d", procedure_id, request.script_path, leader.pid)
        for message in self._expecting.pop(procedure_id):
            self._on_message(message)
        self._check_idle()
        if self._terminating:
            self._processes[procedure_id].stop(request.grace)

    def _could_not_launch(self, procedure_id: int, python: Any, error: Exception) -> None:
        LOG.error("procedure %d cannot be launched: %s", procedure_id, error)
        self._expecting.pop(procedure_id, None)
        reason = Reason.ENVIRONMENT_ERROR if python else Reason.INTERNAL_ERROR
        text = f"the interpreter {python or ''} could not be started: {error}"
        self._emit(procedure_id, "end", {"state": "FAILED", "reason": reason.value, "error": text})
        self._check_idle()

    def _start(self, message: Message) -> None:
        if not self._is_expecting(message) and (process := self._process_of(message)):
            process.start(str(message["function"]), dict(message["args"]))

    def _stop(self, message: Message) -> None:
        if not self._is_expecting(message) and (process := self._process_of(message)):
            process.stop(float(message["grace"]))

    def _process_of(self, message: Message) -> ScriptProcess | None:
        return self._processes.get(message["procedure_id"])

    def _is_expecting(self, message: Message) -> bool:
        """Whether a script's process is still being made; then the message waits for it."""
        expecting = self._expecting.get(message["procedure_id"])
        if expecting is None:
            return False
        expecting.append(message)
        return True

    def _forget(self, message: Message) -> None:
        procedure_id = int(message["procedure_id"])
        if procedure_id not in self._processes and procedure_id not in self._expecting:
            self._journal.forget(procedure_id)
            self._directory.remove(procedure_id)

    def _acknowledge(self, message: Message) -> None:
        self._journal.acknowledge(int(message["procedure_id"]), int(message["n"]))

    def _resize_pool(self, message: Message) -> None:
        self._pool.resize(max(NO_FORK_SERVER, int(message["warm"])))

    # --- Ends

    def _on_gone(self, procedure_id: int, pid: int) -> None:
        del self._processes[procedure_id]
        del self._grace[procedure_id]
        self._family.remove(pid)
        forget_leader(self._directory, pid)
        self._check_idle()

    def _check_idle(self) -> None:
        """End after a while without work and without a server; if asked to end, without delay."""
        if self._idle:
            self._idle.cancel()
            self._idle = None
        if self._processes or self._expecting:
            return
        if self._terminating:
            self._loop.stop()
        elif self._door.current is None:
            self._idle = self._loop.call_later(self._idle_seconds, self._end_idle)

    def _end_idle(self) -> None:
        LOG.info("no script and no server for %g s: ending", self._idle_seconds)
        self._loop.stop()
