"""How long commands take, and the timers that make them so (simulators; no Tango)."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from ska_oso_activity.domain import strict_json
from ska_oso_activity.simulators.answers import BadArgument

DEFAULT_DELAY = 0.05
"""Seconds; for tests. Demonstrations are easier to follow with 2."""

Cancel = Callable[[], None]


class Timers(Protocol):
    """Calls back later."""

    def after(self, seconds: float, call: Callable[[], None]) -> Cancel:
        """Call `call` once, from another thread; the returned function prevents it."""


class ThreadTimers:
    """Timers, each a thread that waits for its time or for being cancelled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[threading.Timer] = set()
        self._closed = False

    def after(self, seconds: float, call: Callable[[], None]) -> Cancel:
        """See `Timers.after`."""

        def ring() -> None:
            with self._lock:
                if timer not in self._waiting:
                    return  # cancelled at the last moment
                self._waiting.discard(timer)
            call()

        def cancel() -> None:
            with self._lock:
                self._waiting.discard(timer)
            timer.cancel()

        timer = threading.Timer(max(0.0, seconds), ring)
        timer.daemon = True
        timer.name = "timer"
        with self._lock:
            if self._closed:
                return cancel
            self._waiting.add(timer)
            timer.start()
        return cancel

    def close(self) -> None:
        """Cancel all timers; none rings from now on."""
        with self._lock:
            self._closed = True
            timers, self._waiting = self._waiting, set()
        for timer in timers:
            timer.cancel()


class Delays:
    """Seconds that each command takes.

    Args:
        default: of commands that `set` was not told of.
        jitter: up to so many seconds more, by chance.
    """

    def __init__(
        self,
        default: float = DEFAULT_DELAY,
        jitter: float = 0.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.default = default
        self.jitter = jitter
        self._chance = chance
        self._of: dict[str, float] = {}

    def of(self, command: str) -> float:
        """How long a call of `command` is to take now, in seconds."""
        return self._of.get(command, self.default) + self.jitter * self._chance()

    def set(self, text: str) -> None:
        """Take SetDelayInfo's argument: `{"Configure": 3, "jitter": 0.1}`; others stay as they are.

        The keys `default` and `jitter` replace those.

        Raises:
            BadArgument: not such an object; nothing is changed.
        """
        told = _seconds_by_name(text)
        self.default = told.pop("default", self.default)
        self.jitter = told.pop("jitter", self.jitter)
        self._of = {**self._of, **told}

    def reset(self) -> None:
        """Forget the delays of single commands."""
        self._of = {}

    def describe(self) -> str:
        """All that is set, as JSON that `set` takes."""
        return strict_json.dumps({"default": self.default, "jitter": self.jitter, **self._of})


def _seconds_by_name(text: str) -> dict[str, float]:
    expected = 'an object of commands and seconds is expected, e.g. {"Configure": 3}'
    try:
        told = strict_json.loads(text)
    except strict_json.NotJson as error:
        raise BadArgument(f"it is not JSON: {error}; {expected}") from error
    if not isinstance(told, Mapping):
        raise BadArgument(f"it is {type(told).__name__}; {expected}")
    for name, seconds in told.items():
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds < 0:
            raise BadArgument(f"{name} is {seconds!r:.80}, which is no delay; {expected}")
    return {str(name): float(seconds) for name, seconds in told.items()}
