"""How long to wait before a program that died is started again (cli)."""

from __future__ import annotations

FIRST_DELAY = 0.2
LONGEST_DELAY = 10.0
LONG_ENOUGH_UP = 30.0


class Backoff:
    """Delays in seconds that double from 0.2 to 10, and begin anew after 30 s of good health."""

    def __init__(self) -> None:
        self._delay = FIRST_DELAY

    def after(self, seconds_up: float) -> float:
        """The delay before the next start of a program that was up for `seconds_up`."""
        if seconds_up >= LONG_ENOUGH_UP:
            self._delay = FIRST_DELAY
        delay, self._delay = self._delay, min(self._delay * 2, LONGEST_DELAY)
        return delay
