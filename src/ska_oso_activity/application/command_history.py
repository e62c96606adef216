"""What long-running commands came to, over a restart of the server (application layer).

The results of commands on activities follow from the activities' own records, so nothing more is
written for them. The few others (Abort, On, questions about blocks) are kept as notes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict

from ska_oso_activity.application.activity_register import ActivityRegister
from ska_oso_activity.application.command_tracker import (
    MAX_FINISHED,
    LongRunningCommand,
    TaskStatus,
    submitted_at,
)
from ska_oso_activity.application.outcomes import commands_of
from ska_oso_activity.application.records import read_activity
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.errors import ActivityError
from ska_oso_activity.domain.times import seconds_of

_log = logging.getLogger(__name__)

OF_ACTIVITIES = frozenset({"RunActivity", "StartActivity", "StopActivity"})
"""Commands whose end the record of an activity tells."""


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

    def load(self) -> list[LongRunningCommand]:
        """What was kept."""
        found: list[tuple[float, int, LongRunningCommand]] = []
        for slot in range(MAX_FINISHED):
            text = self._get(f"lrc {slot}")
            if text is None:
                break
            try:
                given = json.loads(text)
                given["status"] = TaskStatus[given["status"]]
                given["result"] = tuple(given["result"])
                command = LongRunningCommand(**given)
                found.append((float(given["finished"]), slot, command))
            except (KeyError, TypeError, ValueError):
                _log.warning("a note on a long-running command cannot be read: %.200s", text)
        if found:
            self._next = (max(found)[1] + 1) % MAX_FINISHED
        return [command for _, _, command in found]

    def keep(self, command: LongRunningCommand) -> None:
        """Keep one that has finished, in place of the oldest."""
        if command.name in OF_ACTIVITIES:
            return
        given = {**asdict(command), "status": command.status.name}
        slot, self._next = self._next, (self._next + 1) % MAX_FINISHED
        try:
            self._put(f"lrc {slot}", strict_json.dumps(given))
        except Exception as error:  # the command has ended all the same
            _log.warning("the result of %s will not outlive the server: %s", command.uid, error)


def finished_commands(register: ActivityRegister) -> list[LongRunningCommand]:
    """The newest commands on activities that have ended, from the records of the activities."""
    newest: list[tuple[float, int]] = []
    for short in register.shorts():
        states, ids = short["activity_states"], short["command_ids"]
        if states and ids:
            changed = max(seconds_of(states[-1][1]), *map(submitted_at, ids))
            newest.append((changed, short["activity_id"]))
    commands = []
    for _, activity_id in sorted(newest)[-MAX_FINISHED:]:
        record = register.record_of(activity_id)
        if record is None:
            continue
        try:
            commands += commands_of(read_activity(record))
        except (KeyError, TypeError, ValueError, ActivityError):
            _log.exception("the commands on activity %d are passed over", activity_id)
    return commands
