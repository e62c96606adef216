"""What is tried: rounds of activities and faults, the same ones for the same seed.

A round is several activities at once in one stack, and one to three faults of that stack at chosen
moments of theirs. Each activity under the round's faults is a trial.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any

from faults.kinds import KINDS

LANES = 16
ROUNDS_OF_A_STACK = 20
"""A stack is kept for so many rounds; the last one damages its files."""

MOMENTS = (
    "requested",
    "preparing",
    "loading",
    "initialising",
    "ready",
    "running",
    "stopping",
    "ending",
    "ended",
)
"""States in which a fault can meet an activity; *ending* is when main was left and nobody was told,
*ended* just after the terminal event."""

ACTIVITY_DEVICE, SCRIPT_EXECUTION = "ActivityDevice", "ScriptExecution"
SERVERS = (ACTIVITY_DEVICE, SCRIPT_EXECUTION)
HOST, FORK_SERVER, SCRIPT, DATABASE = "script host", "fork server", "script", "Tango database"
ARCHIVE, DISK = "archive", "disk"
FILES = "state files"

SIGNALS = ("SIGKILL", "SIGTERM", "SIGSTOP")
FAULTS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(SIGNALS, (*SERVERS, HOST, FORK_SERVER, SCRIPT, DATABASE)),
    **dict.fromkeys(("Init", "DevRestart", "RestartServer", "Kill"), SERVERS),
    **dict.fromkeys(("absent", "garbage"), (ARCHIVE,)),
    "full": (DISK,),
}
"""What can happen to what while the stack runs."""
DAMAGES = ("flip", "truncate")
WEIGHTS = {"SIGKILL": 10, "SIGTERM": 4, "SIGSTOP": 4, "full": 4}
"""How often a fault is chosen; others are 2."""
AGAIN = (0.35, 0.15)
"""How likely a second fault is, and a third."""
HEALTH_SECONDS = 7.0
"""A loss that lasts so long must have been seen in healthState."""


@dataclass(frozen=True)
class Moment:
    """So many seconds after an activity came to a state; the states are those of `MOMENTS`."""

    activity: int
    state: str
    delay: float


@dataclass(frozen=True)
class Stop:
    """A StopActivity, by two clients at once if told so."""

    when: Moment
    twice: bool
    run_abort: bool


@dataclass(frozen=True)
class PlannedActivity:
    """One activity of a round.

    Attributes:
        kind: a key of `KINDS`.
        after: seconds from the begin of the round to the request.
        twice: the same request comes from two clients at the same instant.
        start_after: seconds that it waits, READY, for its StartActivity; None: it is not prepared.
    """

    number: int
    kind: str
    after: float
    lane: int | None
    twice: bool
    start_after: float | None
    stop: Stop | None


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        seconds: how long it lasts, where it lasts.
        dice: decides what is left to chance when it is done, such as which byte is flipped.
    """

    what: str
    target: str
    when: Moment
    seconds: float
    dice: int

    @property
    def name(self) -> str:
        return f"{self.what} {self.target}"


@dataclass(frozen=True)
class Round:
    """One round; `number` and the seed make it."""

    seed: int
    number: int
    activities: tuple[PlannedActivity, ...]
    faults: tuple[Fault, ...]

    @property
    def damages(self) -> bool:
        """Whether files are damaged, after which history may be missing."""
        return any(fault.target == FILES for fault in self.faults)

    def to_json(self) -> dict[str, Any]:
        return dict(json.loads(json.dumps(asdict(self))))


def has_small_disk(number: int) -> bool:
    """Whether the stack of that round has a disk of its own, which can be filled."""
    return number // ROUNDS_OF_A_STACK % 2 == 1


def possible(number: int, only: str = "") -> list[tuple[str, str]]:
    """What can happen to what in that round; of that, what has the text `only` in its name."""
    return [
        (what, target)
        for what, targets in FAULTS.items()
        for target in targets
        if only in f"{what} {target}" and (target != DISK or has_small_disk(number))
    ]


def plan_round(seed: int, number: int, only: str = "") -> Round:
    """The round of that number.

    Args:
        only: faults whose name has this text; where that is none that can happen to a stack that
            runs, such as `state files`, each round damages files.
    """
    dice = Random(f"{seed}/{number}")
    lanes = dice.sample(range(1, LANES + 1), LANES)
    activities = tuple(_activity(dice, each, lanes[each]) for each in range(dice.randint(5, 10)))
    faults = possible(number, only)
    if not faults or (number % ROUNDS_OF_A_STACK == ROUNDS_OF_A_STACK - 1 and not only):
        happens = [_damage(dice, activities)]
    else:
        happens = [_fault(dice, activities, faults)]
        for chance in AGAIN:
            if dice.random() < chance:
                happens.append(_next(dice, activities, happens, faults))
    return Round(seed, number, activities, tuple(happens))


def _activity(dice: Random, number: int, lane: int) -> PlannedActivity:
    names = list(KINDS)
    (kind,) = dice.choices(names, [KINDS[name].weight for name in names])
    prepared = KINDS[kind].block is None and dice.random() < 0.15
    return PlannedActivity(
        number=number,
        kind=kind,
        after=round(dice.uniform(0, 0.6), 4),
        lane=None if dice.random() < 0.2 else lane,
        twice=dice.random() < 0.15,
        start_after=round(dice.uniform(0, 0.5), 4) if prepared else None,
        stop=_stop(dice, number, kind),
    )


def _stop(dice: Random, number: int, kind: str) -> Stop | None:
    if not KINDS[kind].ends:
        state = "running"
    elif dice.random() < 0.25:
        state = dice.choice(["requested", "preparing", "loading", "ready", "running", "ending"])
    else:
        return None
    # At the end of a script a stop races with its completion.
    delay = dice.uniform(0, 0.02) if state == "ending" else dice.uniform(0, 0.4)
    when = Moment(number, state, round(delay, 4))
    return Stop(when, twice=dice.random() < 0.3, run_abort=dice.random() < 0.3)


def _fault(
    dice: Random, activities: Sequence[PlannedActivity], faults: Sequence[tuple[str, str]]
) -> Fault:
    names = sorted({what for what, _ in faults})
    (what,) = dice.choices(names, [WEIGHTS.get(name, 2) for name in names])
    target = dice.choice([target for each, target in faults if each == what])
    long = dice.random() < 0.1
    return Fault(
        what,
        target,
        _moment(dice, activities),
        HEALTH_SECONDS if long else round(dice.uniform(0.1, 2.0), 3),
        dice.getrandbits(32),
    )


def _next(
    dice: Random,
    activities: Sequence[PlannedActivity],
    others: Sequence[Fault],
    faults: Sequence[tuple[str, str]],
) -> Fault:
    """One more fault; mostly soon after another, and now and then the same one again."""
    fault, before = _fault(dice, activities, faults), dice.choice(others)
    if dice.random() < 0.3:
        fault = replace(before, dice=dice.getrandbits(32))
    if dice.random() < 0.6:
        delay = round(before.when.delay + dice.uniform(0, dice.choice([0.05, 0.3, 1.5])), 4)
        fault = replace(fault, when=replace(before.when, delay=delay))
    return fault


def _damage(dice: Random, activities: Sequence[PlannedActivity]) -> Fault:
    when = _moment(dice, activities)
    return Fault(dice.choice(DAMAGES), FILES, when, 0.0, dice.getrandbits(32))


def _moment(dice: Random, activities: Sequence[PlannedActivity]) -> Moment:
    """Any state that the activity will come to, at random, soon after it has come there."""
    activity = dice.choice(activities)
    states = list(MOMENTS)
    kind = KINDS[activity.kind]
    if kind.block is not None:
        states = ["requested", "preparing", "ended"]
    elif kind.script == "breaks_while_loading.py":
        states = ["requested", "preparing", "loading", "ended"]
    elif activity.stop is None:
        states.remove("stopping")
    if "init" not in _functions(kind.script) and "initialising" in states:
        states.remove("initialising")
    state = dice.choice(states)
    longest = 0.02 if state in ("requested", "ending", "ended") else 0.3
    # Short delays are where the races are.
    return Moment(activity.number, state, round(longest * dice.random() ** 2, 4))


def _functions(script: str) -> tuple[str, ...]:
    with_init = ("quick.py", "ticks.py", "slow_to_prepare.py")
    return ("init", "main") if script in with_init else ("main",)
