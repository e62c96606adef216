"""What long-running commands came to, over a restart of the server (application layer).

The results of commands on activities follow from the activities' own records, so nothing more is
written for them. The few others (Abort, On, questions about blocks) are kept as notes.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict

from ska_oso_activity.application.activity_register import ActivityRegister
from ska_oso_activity.application.command_tracker import (
    MAX_FINISHED,
    CommandTracker,
    LongRunningCommand,
    name_of,
    submitted_at,
)
from ska_oso_activity.application.outcomes import commands_of
from ska_oso_activity.application.records import read_activity
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.control_model import ResultCode, TaskStatus
from ska_oso_activity.domain.errors import ActivityError
from ska_oso_activity.domain.times import seconds_of

_log = logging.getLogger(__name__)

OF_ACTIVITIES = frozenset({"RunActivity", "StartActivity", "StopActivity"})
"""Commands whose end the record of an activity tells."""
QUESTIONS = frozenset({"ValidateActivity", "DescribeSchedulingBlock"})
"""Commands that end with the server: nobody else is at work for them."""
_UNANSWERED = "lrc unanswered"
"""Note of the history: the questions that were unanswered when it was last looked, once a second.

So that those which are answered at once, nearly all, cost no write of their own."""

_UNREADABLE = (
    *(ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError),
    ActivityError,
)
"""What a record, or a note, that another version wrote may raise where it is read."""


class CommandNotes:
    """Keeps commands that belong to no activity: a ring of notes in a history.

    Args:
        get: reads a note.
        put: writes one.
    """

    def __init__(self, get: Callable[[str], str | None], put: Callable[[str, str], None]) -> None:
        self._get = get
        self._put = put
        self._next = 0
        self._lock = threading.Lock()
        self._unanswered: list[str] = []

    def attach(self, tracker: CommandTracker) -> None:
        """Show in a tracker what was kept, and keep what it has from now on.

        Questions that were unanswered when the server went down end: FAILED.
        """
        tracker.recover(self.load())
        tracker.keep = self.keep
        tracker.keep_live = self.keep_live
        for uid in self._unanswered:
            if tracker.status(uid) == TaskStatus.NOT_FOUND.name:
                tracker.resume(uid, name_of(uid), started=submitted_at(uid))
                text = "the server was restarted before this was answered: ask again"
                tracker.finish(uid, TaskStatus.FAILED, ResultCode.FAILED, text)

    def load(self) -> list[LongRunningCommand]:
        """What was kept."""
        found: list[tuple[float, int, LongRunningCommand]] = []
        for slot in range(MAX_FINISHED):
            text = self._get(f"lrc {slot}")
            if text is None:  # this one may not have been written: the disk was full
                continue
            try:
                given = json.loads(text)
                given["status"] = TaskStatus[given["status"]]
                given["result"] = tuple(given["result"])
                command = LongRunningCommand(**given)
                command.describe()
                found.append((float(given["finished"]), slot, command))
            except _UNREADABLE:
                _log.warning("a note on a long-running command cannot be read: %.200s", text)
        if found:
            self._next = (max(found)[1] + 1) % MAX_FINISHED
        text = self._get(_UNANSWERED) or "[]"
        try:
            self._unanswered = [str(each) for each in json.loads(text)]
        except _UNREADABLE:
            _log.warning("the note on unanswered questions cannot be read: %.200s", text)
        return [command for _, _, command in found]

    def keep(self, command: LongRunningCommand) -> None:
        """Keep one that has finished, in place of the oldest."""
        if command.name in OF_ACTIVITIES:
            return
        given = {**asdict(command), "status": command.status.name}
        with self._lock:  # not while it is written: that takes the lock of the register
            slot, self._next = self._next, (self._next + 1) % MAX_FINISHED
        try:
            self._put(f"lrc {slot}", strict_json.dumps(given))
        except Exception as error:  # the command has ended all the same
            _log.warning("the result of %s will not outlive the server: %s", command.uid, error)

    def keep_live(self, command_ids: Iterable[str]) -> None:
        """Keep which questions are unanswered now, if these are not the same as last time."""
        unanswered = [each for each in command_ids if name_of(each) in QUESTIONS]
        if unanswered == self._unanswered:
            return
        try:
            self._put(_UNANSWERED, strict_json.dumps(unanswered))
        except Exception as error:
            _log.warning("unanswered questions will not outlive the server: %s", error)
        self._unanswered = unanswered


def finished_commands(register: ActivityRegister) -> list[LongRunningCommand]:
    """The newest commands on activities that have ended, from the records of the activities."""
    newest: list[tuple[float, int]] = []
    for short in register.shorts():
        try:
            states, ids = short["activity_states"], short["command_ids"]
            if states and ids:
                changed = max(seconds_of(states[-1][1]), *map(submitted_at, ids))
                newest.append((changed, int(short["activity_id"])))
        except _UNREADABLE:
            _log.exception("the commands of a record are passed over: %.200s", short)
    commands = []
    for _, activity_id in sorted(newest)[-MAX_FINISHED:]:
        record = register.record_of(activity_id)
        if record is None:
            continue
        try:
            found = commands_of(read_activity(record))
            for command in found:
                command.describe()
            commands += found
        except _UNREADABLE:
            _log.exception("the commands on activity %d are passed over", activity_id)
    return commands
