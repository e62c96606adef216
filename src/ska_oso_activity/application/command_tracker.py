"""Long-running commands (LRCs) as SKA clients follow them (application layer).

Tango-free: it turns what happens to a command into values of the SKA attributes, which the device
pushes in the order they are handed over. The rules are those of SKABaseDevice as clients see them.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ska_oso_activity.application.ports import Publisher
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.control_model import ENDED, ResultCode, TaskStatus

_T = TaskStatus
TRANSITIONS: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    _T.STAGING: frozenset({_T.QUEUED, _T.IN_PROGRESS, _T.REJECTED}),
    _T.QUEUED: frozenset({_T.IN_PROGRESS, _T.ABORTED, _T.REJECTED}),
    _T.IN_PROGRESS: frozenset({_T.COMPLETED, _T.FAILED, _T.ABORTED}),
    **{status: frozenset() for status in ENDED},
}

MAX_EXECUTING = 128
MAX_QUEUED = 32
MAX_QUEUE_ATTRIBUTE = max(2 * MAX_QUEUED + MAX_EXECUTING, 32)
MAX_FINISHED = 100
LINGER = 10.0
"""Seconds for which a finished command stays in the v1 attributes."""
REVIVAL = 30.0
"""Seconds after a start of the server for which the v1 attributes list what has finished since, and
in as long before: cppTango revives a client's subscription some 10 s after the server went down,
and a terminal status that is not listed any more by then would never reach that client."""
RUNNING = frozenset({"RunActivity", "StartActivity"})
"""Commands that run something; where a list is full, all others leave it first."""
ABORT_PATIENCE = 30.0
"""Seconds for which an Abort in progress keeps new commands out: an executor that is away must not
close the device until it is back."""


@dataclass
class LongRunningCommand:
    """One call of a long-running command. Times are seconds since 1970."""

    uid: str
    name: str
    submitted: float
    status: TaskStatus = TaskStatus.STAGING
    started: float | None = None
    finished: float | None = None
    progress: int | None = None
    result: tuple[int, str] | None = None

    def describe(self, *, with_status: bool = False) -> str:
        """The command as an entry of lrcQueue, lrcExecuting or lrcFinished."""
        entry: dict[str, Any] = {"uid": self.uid, "name": self.name}
        if with_status:
            entry["status"] = self.status.name
        entry["submitted_time"] = _iso(self.submitted)
        if self.started is not None:
            entry["started_time"] = _iso(self.started)
        if self.finished is not None:
            entry["finished_time"] = _iso(self.finished)
        elif self.progress is not None:
            entry["progress"] = self.progress
        if self.result is not None:
            entry["result"] = list(self.result)
        return strict_json.dumps(entry)


class CommandTracker:
    """All long-running commands of one device.

    Args:
        publisher: takes the values of the LRC attributes, in order.
        clock: seconds since 1970.
    """

    def __init__(self, publisher: Publisher, clock: Callable[[], float] = time.time) -> None:
        self._publisher = publisher
        self._clock = clock
        self._lock = threading.Lock()
        self._live: OrderedDict[str, LongRunningCommand] = OrderedDict()
        self._done: OrderedDict[str, LongRunningCommand] = OrderedDict()
        self._done_entries: OrderedDict[str, str] = OrderedDict()
        self._late: deque[tuple[float, LongRunningCommand]] = deque(maxlen=MAX_FINISHED)
        """Commands that v1 lists though they have finished, with the time when that was told."""
        self._begun = clock()
        self._told: dict[str, list[str]] = {}
        self.awaiting: dict[str, set[int]] = {}
        """Of each Abort, the activities or procedures whose end it waits for. Kept here, as
        commands outlive an Init."""
        self.keep: Callable[[LongRunningCommand], None] | None = None
        """Called with each command that has finished, without any lock of ours held."""
        self.keep_live: Callable[[list[str]], None] | None = None
        """Called now and then with the ids of all that have not, likewise."""

    def submit(self, name: str, *, queued: bool = True) -> str:
        """Take a command in: STAGING, then QUEUED. Returns its id.

        Args:
            queued: False for one that never queues (Abort): STAGING, then IN_PROGRESS.
        """
        with self._lock:
            now = self._clock()
            command = LongRunningCommand(f"{now}_{uuid.uuid4().node}_{name}", name, now)
            self._live[command.uid] = command
            if queued:
                self._tell(command, "queue", status=TaskStatus.STAGING)
                self._move(command, TaskStatus.QUEUED)
                self._tell(command, "queue", status=TaskStatus.QUEUED)
            else:
                self._tell(command, status=TaskStatus.STAGING)
                self._move(command, TaskStatus.IN_PROGRESS)
                command.started = now
                self._tell(command, "executing", status=TaskStatus.IN_PROGRESS)
            return command.uid

    def resume(
        self, uid: str, name: str, *, begun: bool = True, started: float | None = None
    ) -> None:
        """Take up a command that a restart came upon.

        Args:
            begun: whether it is in progress; else it is queued.
            started: when it began, in seconds since 1970; None: now.
        """
        with self._lock:
            if uid in self._live or uid in self._done:
                return
            command = LongRunningCommand(uid, name, submitted_at(uid), TaskStatus.QUEUED)
            if begun:
                command.status = TaskStatus.IN_PROGRESS
                command.started = self._clock() if started is None else started
            self._live[uid] = command
            self._tell(command, "executing" if begun else "queue", status=command.status)

    def recover(self, commands: Iterable[LongRunningCommand]) -> None:
        """Show again what had finished before a restart.

        Args:
            commands: finished ones, in any order; those that are known are passed over.
        """
        with self._lock:
            new = [c for c in commands if c.uid not in self._live and c.uid not in self._done]
            if not new:
                return
            every = sorted([*new, *self._done.values()], key=_finished)
            newest = every[-MAX_FINISHED:]
            # After an Init, those known once that were too many by then are given again.
            new = [each for each in newest if each.uid not in self._done]
            if not new:
                return
            listed = {each.uid for _, each in self._late}
            late = [(_finished(each), each) for each in new if each.uid not in listed]
            self._late = deque(
                sorted([*late, *self._late], key=lambda each: each[0]), maxlen=MAX_FINISHED
            )
            last = newest[-1]
            pushes: list[tuple[str, Any]] = []
            if last.uid not in self._done:
                pushes.append(("longRunningCommandResult", (last.uid, _result_text(last))))
            self._done = OrderedDict((each.uid, each) for each in newest)
            self._done_entries = OrderedDict(
                (each.uid, each.describe(with_status=True)) for each in newest
            )
            self._list_v1(pushes)
            self._list(pushes, "lrcFinished", list(self._done_entries.values()))
            self._publisher.publish(pushes)

    def start(self, uid: str, *, at: float | None = None) -> None:
        """The work of a command has begun: IN_PROGRESS.

        Args:
            at: when, in seconds since 1970; None: now.
        """
        with self._lock:
            command = self._live.get(uid)
            if command is None or command.status is TaskStatus.IN_PROGRESS:
                return
            self._move(command, TaskStatus.IN_PROGRESS)
            command.started = self._clock() if at is None else at
            self._tell(command, "queue", "executing", status=TaskStatus.IN_PROGRESS)

    def progress(self, uid: str, percent: int) -> None:
        """Report how far a command in progress is, 0 to 100 percent."""
        with self._lock:
            command = self._live.get(uid)
            if command is None or command.progress == percent:
                return
            command.progress = percent
            self._tell(command, "executing", progress=percent)

    def finish(
        self, uid: str, status: TaskStatus, code: ResultCode, text: str, *, at: float | None = None
    ) -> bool:
        """End a command with its result; False if it had ended before.

        Args:
            at: when, in seconds since 1970; None: now.
        """
        with self._lock:
            command = self._live.get(uid)
            if command is None:
                return False
            told = self._clock()
            now = told if at is None else at
            begun = status not in {TaskStatus.ABORTED, TaskStatus.REJECTED}
            if command.status is TaskStatus.QUEUED and begun:
                self._move(command, TaskStatus.IN_PROGRESS)
                command.started = now
                self._tell(command, "queue", "executing", status=TaskStatus.IN_PROGRESS)
            was_queued = command.status is TaskStatus.QUEUED
            self._move(command, status)
            command.finished = now
            command.result = (int(code), text)
            del self._live[uid]
            self._done[uid] = command
            self._late.append((told, command))
            self._done_entries[uid] = command.describe(with_status=True)
            while len(self._done) > MAX_FINISHED:
                self._done.popitem(last=False)
                self._done_entries.popitem(last=False)
            self._publisher.publish([("longRunningCommandResult", (uid, _result_text(command)))])
            lists = ("queue", "finished") if was_queued else ("executing", "finished")
            self._tell(command, *lists, status=status, result=command.result)
        if self.keep is not None:
            self.keep(command)
        return True

    def finish_abort(self, uid: str) -> None:
        """End an Abort: all that it stopped is gone."""
        self.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "Abort completed OK")

    def abort_queued(self, *names: str) -> None:
        """End the commands of these names that have not begun: ABORTED."""
        with self._lock:
            queued = [
                each.uid
                for each in self._live.values()
                if each.status is TaskStatus.QUEUED and each.name in names
            ]
        for uid in queued:
            self.finish(uid, TaskStatus.ABORTED, ResultCode.ABORTED, "Command has been aborted")

    @property
    def aborting(self) -> str | None:
        """The id of an Abort that is in progress, and is not waiting for something for long."""
        with self._lock:
            since = self._clock() - ABORT_PATIENCE
            for command in self._live.values():
                if command.name == "Abort" and command.submitted > since:
                    return command.uid
        return None

    def expire(self) -> None:
        """Take from the v1 attributes what has finished longer ago than `LINGER`.

        Called once a second: what is alive then is kept, for the case that the server is killed.
        """
        with self._lock:
            live = list(self._live)
            ids = [each.uid for each in self._listed()]
            if ids != self._told.get("longRunningCommandIDsInQueue", []):
                pushes: list[tuple[str, Any]] = []
                self._list_v1(pushes)
                self._publisher.publish(pushes)
        if self.keep_live is not None:
            self.keep_live(live)

    def withdraw(self, uid: str) -> None:
        """End a command that could not be accepted after all: REJECTED."""
        with self._lock:
            command = self._live.pop(uid, None)
            if command is not None:
                self._move(command, TaskStatus.REJECTED)
                self._tell(command, "queue", status=TaskStatus.REJECTED)

    def status(self, uid: str) -> str:
        """Name of a command's status; NOT_FOUND for an id that is not known."""
        with self._lock:
            command = self._live.get(uid) or self._done.get(uid)
            return (command.status if command else TaskStatus.NOT_FOUND).name

    def _move(self, command: LongRunningCommand, status: TaskStatus) -> None:
        if status not in TRANSITIONS[command.status]:
            raise RuntimeError(
                f"{command.uid} is {command.status.name}: it cannot become {status.name}"
            )
        command.status = status

    def _tell(self, command: LongRunningCommand, *lists: str, **news: Any) -> None:
        """Push what changed: the v1 attributes, the v2 event, then the lists of v2."""
        pushes: list[tuple[str, Any]] = []
        if "status" in news:
            self._list_v1(pushes)
        running = [each for each in self._live.values() if each.status is TaskStatus.IN_PROGRESS]
        running = _fitting(running, MAX_EXECUTING)
        if "executing" in lists and "status" in news:
            names = [each.name for each in running]
            self._list(pushes, "longRunningCommandInProgress", names)
        if "progress" in news or "result" in news:
            percents = [
                text
                for each in running
                if each.progress is not None
                for text in (each.uid, str(each.progress))
            ]
            self._list(pushes, "longRunningCommandProgress", percents)
        pushes.append(("_lrcEvent", (command.uid, strict_json.dumps(news))))
        if "queue" in lists:
            waiting = (TaskStatus.STAGING, TaskStatus.QUEUED)
            queued = [each.describe() for each in self._live.values() if each.status in waiting]
            self._list(pushes, "lrcQueue", queued[-MAX_QUEUE_ATTRIBUTE:])
        if "executing" in lists:
            self._list(pushes, "lrcExecuting", [each.describe() for each in running])
        if "finished" in lists:
            self._list(pushes, "lrcFinished", list(self._done_entries.values()))
        self._publisher.publish(pushes)

    def _list_v1(self, pushes: list[tuple[str, Any]]) -> None:
        """Push what protocol v1 lists: names, ids and statuses of the same commands."""
        listed = self._listed()
        self._list(pushes, "longRunningCommandsInQueue", [each.name for each in listed])
        self._list(pushes, "longRunningCommandIDsInQueue", [each.uid for each in listed])
        statuses = [text for each in listed for text in (each.uid, each.status.name)]
        pushes.append(("longRunningCommandStatus", statuses))

    def _list(self, pushes: list[tuple[str, Any]], name: str, value: list[str]) -> None:
        """Push a list, unless it is what was pushed last."""
        if value != self._told.get(name, []):
            self._told[name] = value
            pushes.append((name, value))

    def _listed(self) -> list[LongRunningCommand]:
        """What the v1 attributes list: the live commands and those told as finished of late."""
        horizon = self._clock() - LINGER
        if horizon < self._begun + REVIVAL - LINGER:
            horizon = self._begun - REVIVAL
        late = self._late
        while late and late[0][0] <= horizon:
            late.popleft()
        room = MAX_QUEUE_ATTRIBUTE - len(self._live)
        if room <= 0:
            return _fitting(list(self._live.values()), MAX_QUEUE_ATTRIBUTE)
        done = [command for _, command in late]
        return [*done[-room:], *self._live.values()]


def _fitting(commands: list[LongRunningCommand], most: int) -> list[LongRunningCommand]:
    """As many as fit, in their order: those that run something, and the newest of the others."""
    excess = len(commands) - most
    if excess <= 0:
        return commands
    others = [each.uid for each in commands if each.name not in RUNNING]
    left_out = set(others[:excess])
    return [each for each in commands if each.uid not in left_out][-most:]


def submitted_at(uid: str) -> float:
    """When a command was submitted, in seconds since 1970: its id begins with that."""
    try:
        return float(uid.partition("_")[0])
    except ValueError:
        return 0.0


def _finished(command: LongRunningCommand) -> float:
    return command.finished or 0.0


def name_of(uid: str) -> str:
    """A command's name: its id ends with that."""
    return uid.rsplit("_", 1)[-1]


def _result_text(command: LongRunningCommand) -> str:
    """A result as longRunningCommandResult has it: with a blank, since clients compare the text."""
    return json.dumps(list(command.result or ()))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds")
