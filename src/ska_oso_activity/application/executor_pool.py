"""The executors an ActivityDevice may use, and which one takes the next activity.

Application layer.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from ska_oso_activity.application.ports import Executor
from ska_oso_activity.domain.errors import NoCapacity

NEWS_TIME = 0.01
"""Seconds that news from an executor may take to arrive."""


class ExecutorPool:
    """The executors by name, and whether each answers.

    An executor counts as there until its silence is noticed: a command to it then waits for it.
    """

    def __init__(self, executors: Mapping[str, Executor]) -> None:
        self._executors = dict(executors)
        self._away: set[str] = set()
        self._room: dict[str, int] = {}
        self._lock = threading.Condition()

    def __contains__(self, name: object) -> bool:
        return name in self._executors

    def get(self, name: str) -> Executor:
        """An executor by name."""
        return self._executors[name]

    def set_away(self, name: str, *, away: bool) -> None:
        """Note that an executor has fallen silent, or answers again."""
        with self._lock:
            (self._away.add if away else self._away.discard)(name)
            self._lock.notify_all()

    def set_room(self, name: str, free: int) -> None:
        """Note how many more scripts an executor would take."""
        with self._lock:
            self._room[name] = free
            self._lock.notify_all()

    def await_room(self) -> None:
        """Where there is no room, let news of it arrive that may be on its way."""
        with self._lock:
            self._lock.wait_for(lambda: self._usable() or not self._executors, NEWS_TIME)

    def _usable(self) -> list[str]:
        """The executors that answer and have room, as far as is known."""
        with self._lock:
            return [
                name
                for name in self._executors
                if name not in self._away and self._room.get(name, 1) > 0
            ]

    def away(self) -> list[str]:
        """The executors that do not answer."""
        with self._lock:
            return sorted(self._away)

    def require_room(self) -> None:
        """Refuse if nothing could take an activity now.

        Raises:
            NoCapacity: there is no executor, none answers, or those that do are full.
        """
        if not self._executors:
            raise NoCapacity(
                "no executor is configured: name one in the property ScriptExecutionDevices"
            )
        if self._usable():
            return
        away = self.away()
        full = [name for name in sorted(self._executors) if name not in away]
        trouble = [f"{name} does not answer" for name in away]
        trouble += [f"{name} takes no more scripts" for name in full]
        raise NoCapacity(
            f"no executor answers and has room ({'; '.join(trouble)}): "
            "ask again when that has changed"
        )

    def choose(self, load: Mapping[str, int], preferred: str | None = None) -> Executor:
        """The executor that takes the next activity: of those with room, the least loaded.

        Args:
            load: activities by executor.
            preferred: the one that takes it if it has room.

        Raises:
            NoCapacity: there is no executor.
        """
        if not self._executors:
            self.require_room()
        candidates = self._usable() or list(self._executors)
        if preferred in candidates:
            return self._executors[preferred]
        return self._executors[min(candidates, key=lambda name: load.get(name, 0))]
