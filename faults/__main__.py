"""`python -m faults`: starts stacks of its own, ill-treats them, and says which promises broke."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from random import SystemRandom
from typing import Annotated

import typer
from rich.console import Console

from faults import disk, plan
from faults.checks import check
from faults.contact import Contact
from faults.plan import Round, has_small_disk, plan_round
from faults.report import Report
from faults.run import RoundRun
from faults.stack import Stack

FOLLOWED = {plan.ACTIVITY_DEVICE: "activityEvent", plan.SCRIPT_EXECUTION: "procedureEvent"}
"""The attribute of each device that tells the whole story."""


class Suite:
    """Rounds, in as many stacks at once as there are jobs."""

    def __init__(self, seed: int, only: str, folder: Path, progress: Console) -> None:
        self.report = Report(seed, folder, only)
        self._only = only
        self._progress = progress
        self._lock = threading.Lock()
        self._enough = threading.Event()

    def run(self, numbers: Iterator[int], *, trials: int, seconds: float, jobs: int) -> None:
        """Run rounds, a stack's worth at a time, until there are enough of them.

        Args:
            numbers: of the first round of each stack.
        """
        begun = time.monotonic()
        with ThreadPoolExecutor(jobs) as pool:
            work = [pool.submit(self._work, numbers, trials, begun + seconds) for _ in range(jobs)]
            try:
                wait(work, return_when=FIRST_EXCEPTION)
            finally:
                self._enough.set()
        self.report.seconds = time.monotonic() - begun
        for each in work:
            each.result()

    def stop(self) -> None:
        """End after the rounds that have begun."""
        self._enough.set()

    def _work(self, numbers: Iterator[int], trials: int, until: float) -> None:
        while not self._is_enough(trials, until):
            with self._lock:
                first = next(numbers, None)
            if first is None:
                return
            last = first - first % plan.ROUNDS_OF_A_STACK + plan.ROUNDS_OF_A_STACK
            self._rounds(range(first, last), trials, until)

    def _is_enough(self, trials: int, until: float) -> bool:
        done = self.report.count >= trials or time.monotonic() >= until
        return done or self._enough.is_set()

    def _rounds(self, numbers: range, trials: int, until: float) -> None:
        """Rounds of one stack; one that broke a promise is not used again."""
        left = list(numbers)
        while left and not self._is_enough(trials, until):
            small = has_small_disk(left[0]) and disk.namespace() is not None
            with Stack(small_disk=small) as stack:
                activity = Contact(
                    stack.devices[plan.ACTIVITY_DEVICE], "activityEvent", stack.environment
                )
                executor = Contact(
                    stack.devices[plan.SCRIPT_EXECUTION], "procedureEvent", stack.environment
                )
                try:
                    sound = True
                    while left and sound and not self._is_enough(trials, until):
                        planned = plan_round(self.report.seed, left.pop(0), self._only)
                        sound = self._round(stack, activity, executor, planned)
                finally:
                    activity.close()
                    executor.close()

    def _round(self, stack: Stack, activity: Contact, executor: Contact, planned: Round) -> bool:
        outcome = RoundRun(stack, activity, executor, planned).run()
        violations = check(outcome)
        with self._lock:
            self.report.add(outcome, violations)
            faults = ", ".join(fault.name for fault in planned.faults)
            self._progress.print(
                f"round {planned.number}: {len(outcome.trials)} activities, {faults}; "
                f"{time.monotonic() - outcome.book.begun:.1f} s"
            )
            if violations:
                folder = self.report.tell(outcome, violations, stack)
                for each in violations:
                    self._progress.print(f"  [red]{each.promise}[/] {each.who}: {each.what}")
                self._progress.print(f"  told in {folder}")
        return not violations


def main(
    *,
    seed: Annotated[
        int | None, typer.Option(help="Makes the plan; the same seed, the same plan.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="End after so many trials.")] = 2000,
    minutes: Annotated[float, typer.Option(min=0.0, help="End after so many minutes.")] = 60.0,
    jobs: Annotated[int, typer.Option(min=1, help="So many stacks at once.")] = 2,
    round_number: Annotated[
        int | None, typer.Option("--round", min=0, help="Only this round, in a stack of its own.")
    ] = None,
    only: Annotated[
        str, typer.Option(metavar="TEXT", help="Only faults whose name has it, such as SIGKILL.")
    ] = "",
    folder: Annotated[
        Path | None, typer.Option("--stories", metavar="DIR", help="Where violations are told.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything to this file.")
    ] = None,
) -> None:
    """Kill, stop, fill and damage everything at every moment, and see which promises are kept."""
    progress = Console(stderr=True, highlight=False)
    seed = SystemRandom().randrange(1_000_000) if seed is None else seed
    folder = folder or Path(tempfile.mkdtemp(prefix="ska-oso-faults-stories-"))
    progress.print(f"seed {seed}")
    if disk.namespace() is None:
        progress.print("nothing may be mounted here: a full disk is not tried")
    suite = Suite(seed, only, folder, progress)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: suite.stop())
    if round_number is None:
        numbers = iter(range(0, sys.maxsize, plan.ROUNDS_OF_A_STACK))
        suite.run(numbers, trials=trials, seconds=60 * minutes, jobs=jobs)
    else:
        numbers = iter([round_number])
        suite.run(numbers, trials=1, seconds=60 * minutes, jobs=1)
    suite.report.show(Console(width=None if sys.stdout.isatty() else 160))
    if json_file is not None:
        suite.report.write(json_file)
    sys.exit(1 if suite.report.violations else 0)


if __name__ == "__main__":
    typer.run(main)
