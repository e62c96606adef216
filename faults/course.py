"""How far the activities of a round have come: those who act wait for what others see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import tango

from faults import plan
from faults.book import Book
from faults.trial import Trial


class Course:
    """The course of a round.

    Args:
        patience: seconds that anybody waits for anything.
    """

    def __init__(self, patience: float) -> None:
        self.book = Book()
        self.patience = patience
        self.failures: list[Exception] = []
        """Of threads of the suite itself."""

    def thread(self, target: Callable[..., None], *args: object) -> threading.Thread:
        """A thread that may call Tango, and whose failure is kept."""

        def guarded() -> None:
            with tango.EnsureOmniThread():
                try:
                    target(*args)
                except Exception as error:
                    self.failures.append(error)

        return threading.Thread(target=guarded, daemon=True)

    def reach(self, trial: Trial, state: str) -> None:
        """Note that an activity has come to a state."""
        with self.book.changed:
            trial.reached.setdefault(state, time.monotonic())
            self.book.changed.notify_all()

    def wait_for(self, trial: Trial, state: str) -> bool:
        """Wait until an activity has come to a state; false if it never will."""
        later = plan.MOMENTS[plan.MOMENTS.index(state) :] if state != "stopping" else [state]
        found = self.book.wait(
            lambda: any(each in trial.reached for each in later) or self.is_over(trial),
            self.patience,
        )
        return bool(found) and (state in trial.reached or not self.is_over(trial))

    def is_over(self, trial: Trial) -> bool:
        """Whether nothing more will come of it."""
        return "ended" in trial.reached or trial.refused
