"""What was tried, what was violated, and the stories of violations."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from faults import plan
from faults.outcome import Outcome, Violation
from faults.stack import Stack
from faults.trial import NOT_YET, OVER

PROMISES = tuple(f"P{number}" for number in range(1, 13))


@dataclass
class Report:
    """Everything of one run of the suite.

    Attributes:
        trials: by fault and state of the activity at that moment.
        only: the faults that were chosen from.
        missed: faults for which there was no occasion.
    """

    seed: int
    folder: Path
    only: str = ""
    trials: Counter[tuple[str, str]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    activities: int = 0
    seconds: float = 0.0
    violations: list[tuple[int, Violation]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Activities that a fault met in some state."""
        return self.trials.total()

    def add(self, outcome: Outcome, violations: list[Violation]) -> None:
        self.rounds += 1
        self.activities += len(outcome.trials)
        for trial in outcome.trials:
            self.kinds[trial.planned.kind] += 1
            self.ends["refused" if trial.refused else trial.end or "no end"] += 1
        for happened in outcome.happened:
            if not happened.done:
                self.missed[happened.fault.name] += 1
            for state in happened.states.values() if happened.done else ():
                if state != OVER:
                    self.trials[happened.fault.name, state] += 1
        self.violations += [(outcome.round.number, each) for each in violations]

    def tell(self, outcome: Outcome, violations: list[Violation], stack: Stack) -> Path:
        """Write the story of a round into a folder of its own."""
        folder = self.folder / f"round-{outcome.round.number}"
        folder.mkdir(parents=True, exist_ok=True)
        story = [
            f"seed {self.seed}, round {outcome.round.number}; "
            f"again: {self._again(outcome.round.number)}\n",
            *(f"{each.promise}  {each.who}: {each.what}\n" for each in violations),
            "\nFaults:\n",
            *(f"  {each.fault.name}: {each.did}\n" for each in outcome.happened),
            "\nActivities:\n",
            *(f"  {each.name}: {each.planned.kind}, {each.end}\n" for each in outcome.trials),
            "\nSeconds, who, what:\n",
            outcome.book.timeline(),
        ]
        (folder / "story.txt").write_text("".join(story), encoding="utf-8")
        _write_json(folder / "plan.json", outcome.round.to_json())
        _write_json(
            folder / "activities.json", {each.name: each.summary for each in outcome.trials}
        )
        _write_json(
            folder / "looks.json",
            {
                contact.name: [
                    (round(look.time - outcome.book.begun, 3), look.health, look.status)
                    for look in contact.looks
                    if look.time >= outcome.book.begun
                ]
                for contact in (outcome.activity, outcome.executor)
            },
        )
        for name, text in stack.logs().items():
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    def _again(self, number: int) -> str:
        only = f" --only '{self.only}'" if self.only else ""
        return f"--seed {self.seed} --round {number}{only}"

    # --- For people and programs

    def show(self, console: Console) -> None:
        states = (NOT_YET, *plan.MOMENTS)
        table = Table(title="Trials: activities, by fault and by their state at that moment")
        table.add_column("")
        for state in states:
            table.add_column("not yet" if state == NOT_YET else state, justify="right")
        table.add_column("no occasion", justify="right")
        for name in sorted({name for name, _ in self.trials} | set(self.missed)):
            cells = [str(self.trials[name, state] or "") for state in states]
            table.add_row(name, *cells, str(self.missed[name] or ""))
        console.print(table)
        promises = Counter(each.promise for _, each in self.violations)
        table = Table("promise", title="Violations")
        table.add_column("count", justify="right")
        table.add_column("rounds")
        for promise in PROMISES:
            if promises[promise]:
                rounds = sorted({n for n, each in self.violations if each.promise == promise})
                table.add_row(promise, str(promises[promise]), ", ".join(map(str, rounds)))
        if promises:
            console.print(table)
        console.print(
            f"seed {self.seed}: {self.count} trials in {self.rounds} rounds with "
            f"{self.activities} activities, {self.seconds:.0f} s; "
            f"{len(self.violations)} violations"
            + (f", told in {self.folder}" if self.violations else "")
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "trials": self.count,
            "rounds": self.rounds,
            "activities": self.activities,
            "seconds": self.seconds,
            "by_fault_and_state": [
                {"fault": fault, "state": state, "trials": count}
                for (fault, state), count in sorted(self.trials.items())
            ],
            "no_occasion": dict(self.missed),
            "by_kind": dict(self.kinds),
            "by_end": dict(self.ends),
            "violations": [
                {"round": number, "promise": each.promise, "who": each.who, "what": each.what}
                for number, each in self.violations
            ],
        }

    def write(self, path: Path) -> None:
        _write_json(path, self.to_json())


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
