"""What was measured, as a table for people and as JSON for programs."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tango
from rich.console import Console
from rich.table import Table

from ska_oso_activity import __version__


@dataclass(frozen=True)
class Figure:
    """Many measurements of one thing, in milliseconds."""

    name: str
    samples: Sequence[float]

    def percentile(self, percent: float) -> float:
        """The sample that so many percent of the samples do not exceed."""
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


@dataclass(frozen=True)
class Value:
    """One number, such as a rate."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class Usage:
    """What a server holds, before and after activities were run."""

    server: str
    before: dict[str, float]
    after: dict[str, float]


@dataclass
class Report:
    """Everything of one run.

    Attributes:
        floor: milliseconds of one command and one event, the least that an answer can take.
    """

    options: dict[str, Any]
    floor: float = 0.0
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    load_at_start: tuple[float, float, float] = field(default_factory=os.getloadavg)

    def to_json(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "commit": _commit(),
            "machine": _machine(),
            "load_average": {"start": self.load_at_start, "end": os.getloadavg()},
            "options": self.options,
            "floor_ms": self.floor,
            "figures": [
                {
                    "group": group,
                    "name": figure.name,
                    "unit": "ms",
                    "n": len(figure.samples),
                    "median": figure.median,
                    "p95": figure.percentile(95),
                    "p99": figure.percentile(99),
                    "max": max(figure.samples),
                    "median_to_floor": figure.median / self.floor,
                    "p95_to_floor": figure.percentile(95) / self.floor,
                }
                for group, figures in self.figures.items()
                for figure in figures
            ],
            "values": [vars(value) for value in self.values],
            "usage": [vars(usage) for usage in self.usage],
        }

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")

    def show(self, console: Console) -> None:
        console.print(self._figures_table())
        console.print(self._values_table())
        console.print(self._usage_table())
        start, end = self.load_at_start[0], os.getloadavg()[0]
        console.print(
            f"{_machine()['cores']} cores, Python {platform.python_version()}, "
            f"PyTango {tango.__version__}; load average {start:.1f} before, {end:.1f} after. "
            "The floor is the median of a command's round trip and of an event's way, added up."
        )

    def _figures_table(self) -> Table:
        table = Table(title=f"Milliseconds; the floor is {self.floor:.3f} ms")
        table.add_column("")
        for heading in ("n", "median", "p95", "p99", "median / floor", "p95 / floor"):
            table.add_column(heading, justify="right")
        for group, figures in self.figures.items():
            table.add_section()
            table.add_row(f"[bold]{group}")
            for figure in figures:
                median, p95, p99 = figure.median, figure.percentile(95), figure.percentile(99)
                table.add_row(
                    f"  {figure.name}",
                    str(len(figure.samples)),
                    *(_number(each) for each in (median, p95, p99)),
                    *(_number(each / self.floor) for each in (median, p95)),
                )
        return table

    def _values_table(self) -> Table:
        table = Table("", title="Rates and shares")
        table.add_column("value", justify="right")
        table.add_column("unit")
        for value in self.values:
            table.add_row(value.name, _number(value.value), value.unit)
        return table

    def _usage_table(self) -> Table:
        table = Table("", title="Before and after the activities at once")
        kinds = list(self.usage[0].before)
        for kind in kinds:
            table.add_column(kind, justify="right")
        for usage in self.usage:
            cells = [f"{usage.before[kind]:g} → {usage.after[kind]:g}" for kind in kinds]
            table.add_row(usage.server, *cells)
        return table


def _number(value: float) -> str:
    """Three digits that count."""
    decimals = 0 if value >= 100 or value == 0 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{decimals}f}"


def _machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "pytango": tango.__version__,
        "cpptango": tango.constants.TgLibVers,
    }


def _commit() -> str | None:
    """The commit that is measured, with a mark if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
