"""The time for which a script's code may run (script host)."""

from __future__ import annotations

import time
from collections.abc import Callable

from ska_oso_activity.script_host.loop import Loop, Timer


class WallClock:
    """Runs and pauses, and calls back once when its time is used up."""

    def __init__(self, loop: Loop, seconds: float, on_over: Callable[[], None]) -> None:
        """It stands until `run`; with 0 `seconds` it never calls."""
        self._loop = loop
        self._left = seconds
        self._on_over = on_over
        self._timer: Timer | None = None
        self._since = 0.0

    def run(self) -> None:
        """Run, or go on running."""
        if self._timer is None and self._left > 0:
            self._since = time.monotonic()
            self._timer = self._loop.call_later(self._left, self._over)

    def pause(self) -> None:
        """Stand still."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._left = max(0.001, self._left - (time.monotonic() - self._since))

    def _over(self) -> None:
        self._timer = None
        self._left = 0.0
        self._on_over()
