"""The executors an ActivityDevice may use, and which one takes the next activity.

Application layer.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from ska_oso_activity.application.ports import Executor
from ska_oso_activity.domain.errors import NoCapacity


class ExecutorPool:
    """The executors by name, and whether each answers.

    An executor counts as there until its silence is noticed: a command to it then waits for it.
    """

    def __init__(self, executors: Mapping[str, Executor]) -> None:
        self._executors = dict(executors)
        self._away: set[str] = set()
        self._lock = threading.Lock()

    def __contains__(self, name: object) -> bool:
        return name in self._executors

    def get(self, name: str) -> Executor:
        """An executor by name."""
        return self._executors[name]

    def set_away(self, name: str, *, away: bool) -> None:
        """Note that an executor has fallen silent, or answers again."""
        with self._lock:
            (self._away.add if away else self._away.discard)(name)

    def away(self) -> list[str]:
        """The executors that do not answer."""
        with self._lock:
            return sorted(self._away)

    def require_room(self) -> None:
        """Refuse if nothing could take an activity now.

        Raises:
            NoCapacity: there is no executor, or none answers.
        """
        if not self._executors:
            raise NoCapacity(
                "no executor is configured: name one in the property ScriptExecutionDevices"
            )
        if len(self.away()) == len(self._executors):
            raise NoCapacity(
                f"no executor answers ({', '.join(sorted(self._executors))}): "
                "start one, or ask again when it is back"
            )

    def choose(self, load: Mapping[str, int]) -> Executor:
        """The executor that takes the next activity: of those that answer, the least loaded.

        Args:
            load: activities by executor.

        Raises:
            NoCapacity: there is no executor.
        """
        if not self._executors:
            self.require_room()
        away = set(self.away())
        candidates = [name for name in self._executors if name not in away] or list(self._executors)
        return self._executors[min(candidates, key=lambda name: load.get(name, 0))]
