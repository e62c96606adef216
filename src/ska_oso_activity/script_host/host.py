"""The script host: owns scripts, and tells a device server about them (script host)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ska_oso_activity.domain.errors import InvalidRequest, Reason
from ska_oso_activity.script_host.directory import HostDirectory
from ska_oso_activity.script_host.environment import mark_of, script_environment
from ska_oso_activity.script_host.fork_server import discard
from ska_oso_activity.script_host.journal import SUPERSEDED, Journal
from ska_oso_activity.script_host.leader import Leader
from ska_oso_activity.script_host.link import Connection, Door
from ska_oso_activity.script_host.loop import Loop, Timer
from ska_oso_activity.script_host.memory import OutOfMemory
from ska_oso_activity.script_host.messages import PROTOCOL, Message, encode
from ska_oso_activity.script_host.output import OUTPUT_LIMIT, OutputWriter
from ska_oso_activity.script_host.pool import NO_FORK_SERVER, Pool
from ska_oso_activity.script_host.process import End, ScriptProcess
from ska_oso_activity.script_host.request import LaunchRequest
from ska_oso_activity.script_host.survivors import LeaderNote
from ska_oso_activity.script_host.sweep import Family, kill_own_descendants

IDLE_SECONDS = 60.0
"""How long a host stays without a script and without a server."""

BACKLOG_BYTES = 1024 * 1024
"""What may wait in the connection; the rest waits in the journal, where news replaces old news."""

END_SECONDS = 0.05
"""How long a server that is attached may take to acknowledge an end, before we write it to disk."""

PROCESSES = 3
"""How many processes a script is given, if one after the other is killed before it loads it."""

LOG = logging.getLogger(__name__)


@dataclass
class Order:
    """A script on its way to a process.

    Attributes:
        mark: of its processes.
        processes: how many it was given.
        note: of the one that it has.
    """

    request: LaunchRequest
    mark: str
    output: OutputWriter
    processes: int = 0
    note: LeaderNote | None = None


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
        self._journal = Journal(directory)
        self._sent = 0
        self._pump_is_due = False
        self._commands: dict[str, Callable[[Message], None]] = {
            "launch": self._launch,
            "start": self._start,
            "stop": self._stop,
            "forget": self._forget,
            "ack": self._acknowledge,
            "pool": self._resize_pool,
            "ping": self._answer,
        }
        self._door = Door(
            loop,
            directory.listen(),
            on_attached=self._on_attached,
            on_message=self._on_message,
            on_detached=self._on_detached,
            on_drained=self._pump,
        )
        self._check_idle()

    def close(self) -> None:
        """Shut the door. What no server has acknowledged stays on disk."""
        self._pump_now()
        self._journal.write_ends()
        if self._door.current:
            self._door.current.send(encode({"kind": "ending"}))
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
        for process in list(self._processes.values()):
            process.stop()
        self._check_idle()

    def end_now(self) -> None:
        """Kill all scripts and what they started, and end this process."""
        LOG.warning("ending at once, with %d scripts", len(self._processes))
        try:
            self._pool.close()  # first: it would signal processes that had been collected
        except Exception:
            LOG.exception("the pool cannot be closed")
        left = kill_own_descendants()
        if left:
            LOG.error("processes %s cannot be killed", left)
        self.close()
        os._exit(0)

    # --- The server

    def _on_attached(self, connection: Connection) -> None:
        known = sorted(self._journal.procedures() | self._processes.keys() | self._expecting.keys())
        connection.send(
            encode(
                {
                    "hello": PROTOCOL,
                    "host": self._name,
                    "pid": os.getpid(),
                    "procedures": known,
                    "answers": ["ping"],
                }
            )
        )
        self._sent = 0
        self._check_idle()
        self._pump(connection)

    def _on_detached(self) -> None:
        self._journal.write_ends()
        self._check_idle()

    def _on_message(self, message: Message) -> None:
        command = self._commands.get(str(message.get("kind")))
        if command is None:
            LOG.info("a message of an unknown kind is ignored: %s", sorted(message))
            return
        try:
            command(message)
        except (KeyError, TypeError, ValueError, InvalidRequest):
            LOG.exception("the message cannot be understood and is ignored: %s", sorted(message))
        except Exception:  # those that came with it count all the same
            LOG.exception("the message could not be dealt with: %s", sorted(message))

    def _pump(self, connection: Connection) -> None:
        """Send what is new, as far as the server takes it."""
        room = BACKLOG_BYTES - connection.backlog
        lines: list[bytes] = []
        for event in self._journal.after(self._sent):
            if room < 0:
                break
            self._sent = event.order
            lines.append(event.line)
            room -= len(event.line)
        if lines:
            connection.send(b"".join(lines))

    def _pump_now(self) -> None:
        self._pump_is_due = False
        if self._door.current:
            self._pump(self._door.current)

    def _emit(self, procedure_id: int, kind: str, fields: dict[str, Any]) -> None:
        """Note an event, and send it with what else happens in this turn of the loop."""
        if self._pump_is_due and kind in SUPERSEDED:
            self._pump_now()  # or it would take the place of the last one, not yet sent
        self._journal.append(procedure_id, kind, fields)
        if kind == "end":
            # A server that is there has it on its own disk in no time.
            delay = 0.0 if self._door.current is None else END_SECONDS
            self._loop.call_later(delay, partial(self._journal.write_end, procedure_id))
        if not self._pump_is_due:
            self._pump_is_due = True
            self._loop.call_later(0, self._pump_now)

    # --- Its commands

    def _launch(self, message: Message) -> None:
        procedure_id = int(message["procedure_id"])
        if procedure_id in self._launched or procedure_id in self._journal.procedures():
            LOG.warning("procedure %d was launched before: nothing is done", procedure_id)
            return
        self._launched.add(procedure_id)
        try:
            self._directory.remove(procedure_id)
        except OSError as error:
            LOG.warning("what procedure %d left before stays: %s", procedure_id, error)
        mark = mark_of(self._name, procedure_id)
        try:
            request = LaunchRequest.from_json(message)
        except (KeyError, TypeError, ValueError, InvalidRequest) as error:
            self._could_not_launch(procedure_id, message.get("python"), error)
            return
        variables = script_environment(os.environ, request.environment, mark)
        output = OutputWriter(
            self._directory.output_of(procedure_id), request.limits.output_bytes or OUTPUT_LIMIT
        )
        self._find_process(Order(replace(request, variables=variables), mark, output), [])
        self._check_idle()

    def _find_process(self, order: Order, waiting: list[Message]) -> None:
        """Have a process made or found for a script; `waiting` is for it, once it is there."""
        request = order.request
        self._expecting[request.procedure_id] = waiting
        try:
            self._pool.take(
                request.script_path,
                request.python,
                request.variables or {},
                partial(self._follow, order),
                partial(self._could_not_launch, request.procedure_id, request.python),
            )
        except Exception as error:
            LOG.exception("no process can be found")
            if request.procedure_id in self._expecting:
                self._could_not_launch(request.procedure_id, request.python, error)

    def _follow(self, order: Order, leader: Leader) -> None:
        """Give a script its process; from now on there is an end, whatever happens."""
        request, pid = order.request, leader.pid
        order.processes += 1
        self._family.add(pid, order.mark)
        try:
            process = ScriptProcess(
                self._loop,
                request,
                leader,
                self._family,
                order.output,
                emit=partial(self._emit, request.procedure_id),
                on_end=partial(self._on_end, order, pid),
                memory=self._memory,
            )
        except Exception as error:
            LOG.exception("process %d cannot be followed", pid)
            for fd in leader.ends.descriptors():
                self._loop.unwatch(fd)
            self._family.remove(pid)
            self._family.add_helper(pid)
            discard(self._loop, self._family, leader)
            self._could_not_launch(request.procedure_id, request.python, error)
            return
        self._processes[request.procedure_id] = process
        for message in self._expecting.pop(request.procedure_id):
            self._on_message(message)
        if self._terminating:
            process.stop()
        # The script is on its way: the rest takes none of its time.
        order.note = LeaderNote(self._directory, pid)
        LOG.info("procedure %d: %s in process %d", request.procedure_id, request.script_path, pid)
        self._check_idle()

    def _could_not_launch(self, procedure_id: int, python: Any, error: Exception) -> None:
        LOG.error("procedure %d cannot be launched: %s", procedure_id, error)
        waiting = self._expecting.pop(procedure_id, [])
        end = {"state": "FAILED", "reason": Reason.INTERNAL_ERROR.value}
        if python:
            end["reason"] = Reason.ENVIRONMENT_ERROR.value
        end["error"] = f"the interpreter {python or ''} could not be started: {error}"
        if any(message.get("kind") == "stop" for message in waiting):
            end = {"state": "STOPPED", "reason": Reason.STOPPED_BY_REQUEST.value}
        self._emit(procedure_id, "end", end)
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
            self._launched.discard(procedure_id)  # its number is not given again

    def _acknowledge(self, message: Message) -> None:
        self._journal.acknowledge(int(message["procedure_id"]), int(message["n"]))

    def _answer(self, message: Message) -> None:
        if self._door.current:
            pong = {"kind": "pong", "ping": message.get("ping"), "trouble": self._pool.trouble}
            self._door.current.send(encode(pong))

    def _resize_pool(self, message: Message) -> None:
        self._pool.resize(max(NO_FORK_SERVER, int(message["warm"])))

    # --- Ends

    def _on_end(self, order: Order, pid: int, end: End) -> None:
        """Tell it, unless another process can run the script without running any of it twice."""
        procedure_id, fields = order.request.procedure_id, end.fields
        del self._processes[procedure_id]
        self._family.remove(pid)
        if order.note:
            order.note.remove()
            order.note = None
        if end.unheard and order.processes < PROCESSES:
            LOG.warning("procedure %d gets another process: %s", procedure_id, fields["error"])
            start = {**end.start, "procedure_id": procedure_id}
            self._find_process(order, [start] if end.start else [])
        else:
            if end.unheard:
                text = f"{fields['error']}, as were {order.processes - 1} other processes"
                fields = {**fields, "error": text}
            self._emit(procedure_id, "end", fields)
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
