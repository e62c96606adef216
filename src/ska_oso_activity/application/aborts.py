"""Abort commands, followed until what they stop is gone, over restarts too (application layer)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable

from ska_oso_activity.application.command_tracker import CommandTracker, submitted_at
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.control_model import TaskStatus
from ska_oso_activity.domain.errors import NoCapacity

_log = logging.getLogger(__name__)

MAX_ABORTS = 16
"""How many Aborts may be in progress, if those before cover everything that the next one would."""
_NOTE = "aborts"
"""Note of the history: the Abort commands in progress, and the numbers that each waits for."""


class Aborts:
    """The Abort commands of one device, and the activities or procedures that each waits for.

    They are kept in the tracker, which outlives an Init, and in a note of the history, which
    outlives the server. All calls are made while holding the register's lock.

    Args:
        tracker: has the commands.
        note: reads a note of the history.
        set_note: writes one; may raise OSError.
    """

    def __init__(
        self,
        tracker: CommandTracker,
        note: Callable[[str], str | None],
        set_note: Callable[[str, str], None],
    ) -> None:
        self._tracker = tracker
        self._get_note = note
        self._set_note = set_note

    def begin(self, targets: Iterable[int]) -> str:
        """Take in an Abort, before its targets are stopped; returns the command's id.

        Args:
            targets: numbers of the activities or procedures that are not finished.

        Raises:
            NoCapacity: so many Aborts wait for these very targets that one more tells nothing new.
        """
        waiting = set(targets)
        awaiting = self._tracker.awaiting
        if len(awaiting) >= MAX_ABORTS and waiting and waiting <= set().union(*awaiting.values()):
            raise NoCapacity(
                f"{len(awaiting)} Aborts are in progress, and everything that is unfinished "
                f"({len(waiting)}) is being stopped already: follow one of those, such as "
                f"{next(reversed(awaiting))}"
            )
        command_id = self._tracker.submit("Abort", queued=False)
        awaiting[command_id] = waiting
        return command_id

    def follow(self, command_id: str) -> None:
        """Its targets have been asked to stop: end it if they are gone, else keep it."""
        waiting = self._tracker.awaiting.get(command_id)
        if waiting:
            self._keep()
        elif waiting is not None:
            del self._tracker.awaiting[command_id]
            self._tracker.finish_abort(command_id)

    def ended(self, number: int) -> None:
        """An activity or procedure has ended: so has each Abort that waited for this one last."""
        over = []
        for command_id, waiting in list(self._tracker.awaiting.items()):
            waiting.discard(number)
            if not waiting:
                del self._tracker.awaiting[command_id]
                self._tracker.finish_abort(command_id)
                over.append(command_id)
        if over:
            self._keep()

    def resume(self, unfinished: Iterable[int]) -> None:
        """Take up the Aborts that a restart, or an Init, came upon.

        Args:
            unfinished: what is not finished now; all else that an Abort waits for is gone.
        """
        left = set(unfinished)
        awaiting = self._tracker.awaiting
        noted = self._noted()
        for command_id, waiting in noted.items():
            if self._tracker.status(command_id) == TaskStatus.NOT_FOUND.name:
                self._tracker.resume(command_id, "Abort", started=submitted_at(command_id))
                awaiting[command_id] = waiting
        for command_id, waiting in list(awaiting.items()):
            waiting.intersection_update(left)
            if not waiting:
                del awaiting[command_id]
                self._tracker.finish_abort(command_id)
        if noted or awaiting:
            self._keep()

    def _noted(self) -> dict[str, set[int]]:
        text = self._get_note(_NOTE) or "{}"
        try:
            return {str(each): set(map(int, ids)) for each, ids in json.loads(text).items()}
        except (AttributeError, TypeError, ValueError):
            _log.warning("the note on Aborts in progress cannot be read: %.200s", text)
            return {}

    def _keep(self) -> None:
        """Keep which Abort waits for what, for the case that the server is restarted meanwhile."""
        awaiting = {each: sorted(ids) for each, ids in self._tracker.awaiting.items()}
        try:
            self._set_note(_NOTE, strict_json.dumps(awaiting))
        except OSError as error:  # everything is stopped all the same
            _log.warning("an Abort in progress would not outlive the server: %s", error)
