"""What came of a round, for the checks and the report."""

from __future__ import annotations

from dataclasses import dataclass, field

from faults.book import Book
from faults.contact import Seen
from faults.plan import Fault, Round
from faults.trial import Trial

NOISE = 2.0
"""Time that a promise allows is multiplied by it: cores are few and busy."""
PATIENCE = 25.0
"""Seconds after the last fault within which every activity must have ended."""
RECOVERY = 5.0
"""Seconds in which healthState clears (P9), after devices are back."""
COME_BACK = 8.0
"""Seconds that a server may need to be started again."""


@dataclass
class Happened:
    """A fault that was done.

    Attributes:
        did: what was done to what, or why it could not be done.
        states: the state of each activity then, by number.
    """

    fault: Fault
    done: bool = False
    at: float = 0.0
    until: float = 0.0
    did: str = ""
    states: dict[int, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """All that came of a round."""

    round: Round
    book: Book
    trials: list[Trial]
    happened: list[Happened]
    activity: Seen
    executor: Seen
    first_events: tuple[tuple[str, int] | None, tuple[str, int] | None]
    """Epoch and seq of the last events before the round, of both devices."""
    settled: bool = False
    read_at: float = 0.0
    """When the suite asked for all events once more."""
    leftovers: list[str] = field(default_factory=list)
    endless: list[str] = field(default_factory=list)
    """Activities that the suite had to abort, since nothing else ended them."""
    changed: list[str] = field(default_factory=list)
    """Activities of earlier rounds that are not what they were."""

    def touched(self, *targets: str) -> list[Happened]:
        """The faults that were done to one of these."""
        return [each for each in self.happened if each.done and each.fault.target in targets]


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept."""

    promise: str
    who: str
    what: str
