"""The ladder that a script is stopped by: ask, terminate, kill (script host)."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ska_oso_activity.script_host.loop import Loop, Timer

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rung:
    """One step of a ladder.

    Attributes:
        at: when, as a fraction of the grace.
        signal: what the script's process group is sent.
        meaning: what becomes of the script, for the log.
        later: seconds on top of that.
    """

    at: float
    signal: signal.Signals
    meaning: str
    later: float = 0.0


STOP = (
    Rung(0.0, signal.SIGINT, "asked to stop: Python code gets KeyboardInterrupt and can clean up"),
    Rung(2 / 3, signal.SIGTERM, "terminated: that ends whatever does not handle it"),
    Rung(1.0, signal.SIGKILL, "killed: nothing withstands that"),
)
"""For a script that is to stop."""

AFTER_MAIN = (
    Rung(1.0, signal.SIGTERM, "terminated: its threads go on though main has ended"),
    Rung(1.0, signal.SIGKILL, "killed: nothing withstands that", later=0.5),
)
"""For a script whose main has ended and whose process has not."""


class Ladder:
    """Climbs the rungs, each at its time, until told that the script is gone."""

    def __init__(
        self,
        loop: Loop,
        name: str,
        rungs: Sequence[Rung],
        grace: float,
        send: Callable[[signal.Signals], None],
    ) -> None:
        """Begin at once; `grace` is in seconds, `send` sends a signal to the script."""
        self._name = name
        self._send = send
        self._timers: list[Timer] = []
        for rung in rungs:
            delay = rung.at * grace + rung.later
            if delay > 0:
                self._timers.append(loop.call_later(delay, partial(self._climb, rung)))
            else:
                self._climb(rung)

    def cancel(self) -> None:
        """The script is gone: no further rungs."""
        for timer in self._timers:
            timer.cancel()

    def _climb(self, rung: Rung) -> None:
        LOG.info("%s is %s (%s)", self._name, rung.meaning, rung.signal.name)
        self._send(rung.signal)
        # A script that is SIGSTOPped sees the polite signals only once it goes on.
        self._send(signal.SIGCONT)
