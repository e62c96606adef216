"""What was promised, held against what both devices told and how they answered in a round."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import datetime, timezone

from faults import plan
from faults.contact import Seen, Subscription, Told
from faults.outcome import COME_BACK, NOISE, RECOVERY, Outcome, Violation

LOST_IN_TIME = 0.3
"""Seconds around the end of a subscription in which an event may not have got through."""
READ_SECONDS = 0.02
"""Within which a state is read whatever scripts do (P8)."""
DROPPED = 1
"""Records that one damaged place may cost."""
JOINED = 0.2
"""Seconds after its begin in which a subscription has joined: ZeroMQ tells nobody when it has."""
HEARD = 1.0
"""Seconds in which a client hears from a device that is back (P12)."""


def of_devices(outcome: Outcome) -> Iterator[Violation]:
    """All violations that are not those of one activity."""
    if outcome.round.damages:
        yield from _of_damage(outcome)
    else:
        yield from _of_events("activity events", outcome, outcome.activity, 0)
        yield from _of_events("procedure events", outcome, outcome.executor, 1)
        for each in outcome.changed:
            what = f"an activity of an earlier round {each}"
            yield Violation("P6", outcome.activity.short_name, what)
        yield from _of_peers(outcome)
        yield from _of_reads(outcome)
    yield from _of_recovery(outcome)
    yield from _of_health(outcome)


# --- Events


def _of_events(who: str, outcome: Outcome, contact: Seen, which: int) -> Iterator[Violation]:
    last = outcome.first_events[which]
    told = contact.events()
    first = last[1] if last else 0
    epochs = {each.event["epoch"] for each in told}
    if len(epochs) > 1:
        yield Violation("P6", who, f"a new epoch began: {epochs}")
        return
    seqs = {each.event["seq"] for each in told}
    if gaps := set(range(min(seqs, default=1), max(seqs, default=0) + 1)) - seqs:
        yield Violation("P3", who, f"EventsSince has not {sorted(gaps)}")
    for each in told:
        if each.event["seq"] <= first:
            continue
        if each.odd is not None:
            yield Violation("P3", who, f"seq {each.event['seq']}: {each.event} and {each.odd}")
        if each.filled is None and min(each.pushed) < outcome.read_at:
            yield Violation("P6", who, f"seq {each.event['seq']} was pushed, and is not kept")
    lost = [
        each.event["seq"]
        for each in told
        if each.event["seq"] > first and not each.pushed and _was_live(contact, each)
    ]
    if lost:
        yield Violation("P3", who, f"a live subscriber was not told of {_ranges(lost)}")
    # What was pushed before may come again: only what is new has to come in order.
    arrivals = [each for live in contact.subscriptions for each in live.arrivals]
    new = list(dict.fromkeys(seq for at, _, seq in arrivals if at >= outcome.book.begun))
    late = [other for one, other in itertools.pairwise(new) if one > other]
    if late:
        yield Violation("P3", who, f"seq {late} came late: {new}")


def _ranges(numbers: list[int]) -> str:
    return f"{min(numbers)} to {max(numbers)}, {len(numbers)} altogether"


def _was_live(contact: Seen, told: Told) -> bool:
    """Whether a subscription was live, beyond doubt, when an event happened."""
    at = _monotonic(told.event["time"])
    return any(
        live.begun + JOINED < at < _live_until(contact, live) - LOST_IN_TIME
        for live in contact.subscriptions
    )


def _live_until(contact: Seen, live: Subscription) -> float:
    """When it was last seen to be live: before it was given up, the device hung for a look."""
    if live.ended is None:
        return time.monotonic()
    looks = [look for look in contact.looks if look.time <= live.ended + 0.01]
    return live.ended - (looks[-1].took if looks else 0.0)


def _monotonic(text: str) -> float:
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return moment.timestamp() - time.time() + time.monotonic()


# --- Damage


def _of_damage(outcome: Outcome) -> Iterator[Violation]:
    """P6: what was damaged is dropped alone; what was told is not told otherwise."""
    for contact in (outcome.activity, outcome.executor):
        if odd := [each.event["seq"] for each in contact.events() if each.odd is not None]:
            what = f"no new epoch began, and other events have the numbers {_ranges(odd)}"
            yield Violation("P6", contact.short_name, what)
    forgotten = [
        trial.name
        for trial in outcome.trials
        if trial.accepted is not None
        and trial.accepted < outcome.happened[0].at
        and isinstance(trial.summary, str)
    ]
    # What was cut off is gone, however many records it held; that numbers go on is checked above.
    was_cut = any(each.fault.what == "truncate" for each in outcome.happened)
    if len(forgotten) > DROPPED and not was_cut:
        yield Violation("P6", outcome.activity.short_name, f"{forgotten} were forgotten")


# --- Devices


def _of_recovery(outcome: Outcome) -> Iterator[Violation]:
    if not outcome.settled:
        for contact in (outcome.activity, outcome.executor):
            if not contact.well_since(outcome.book.begun):
                status = contact.looks[-1].status if contact.looks else "never seen"
                limit = COME_BACK + RECOVERY * NOISE
                what = f"not well {limit:.0f} s after all was over: {status}"
                yield Violation("P9", contact.short_name, what)
    if outcome.leftovers:
        yield Violation("P4", "stack", f"alive after all has ended: {outcome.leftovers}")
    for contact in (outcome.activity, outcome.executor):
        for live in contact.subscriptions:
            if live.back >= outcome.book.begun and live.begun - live.back > HEARD * NOISE:
                what = f"a new subscription took {live.begun - live.back:.1f} s"
                yield Violation("P12", contact.short_name, what)


def _of_peers(outcome: Outcome) -> Iterator[Violation]:
    """P12: ActivityDevice knows what became of its activities soon after its executor is back."""
    if outcome.touched(plan.ACTIVITY_DEVICE, plan.DATABASE, plan.HOST, plan.DISK):
        return
    for live in outcome.executor.subscriptions:
        for trial in outcome.trials if live.back >= outcome.book.begun else ():
            told = [(_monotonic(each.event["time"]), each.event["state"]) for each in trial.told]
            since = [state for at, state in told if at <= live.back]
            left = [at for at, _ in told if at > live.back]
            ended = live.ended is not None and (not left or live.ended < left[0])
            if since[-1:] != ["UNKNOWN"] or ended or not left:
                continue
            if left[0] - live.back > HEARD * NOISE:
                what = f"UNKNOWN for {left[0] - live.back:.1f} s after its executor was back"
                yield Violation("P12", trial.name, what)


def _of_reads(outcome: Outcome) -> Iterator[Violation]:
    """P8: reads are quick while scripts do their worst; faults of ours may hold them up."""
    if outcome.touched(*plan.SERVERS, plan.DATABASE, plan.HOST, plan.FORK_SERVER, plan.DISK):
        return
    for contact in (outcome.activity, outcome.executor):
        took = sorted(look.took for look in contact.looks if look.time >= outcome.book.begun)
        if took and (median := took[len(took) // 2]) > READ_SECONDS * NOISE:
            yield Violation("P8", contact.short_name, f"half of the reads took {median:.3f} s")
        if took and took[len(took) * 9 // 10] > 10 * READ_SECONDS * NOISE:
            what = f"a tenth of the reads took {took[len(took) * 9 // 10]:.3f} s"
            yield Violation("P8", contact.short_name, what)


def _of_health(outcome: Outcome) -> Iterator[Violation]:
    """P9: a loss that lasts is seen in healthState of the ActivityDevice within 5 s."""
    for happened in outcome.touched(plan.SCRIPT_EXECUTION, plan.HOST, plan.ARCHIVE):
        fault = happened.fault
        lasts = fault.what == "SIGSTOP" or fault.target == plan.ARCHIVE
        unseen = outcome.touched(plan.ACTIVITY_DEVICE, plan.DATABASE)
        if not lasts or fault.seconds < plan.HEALTH_SECONDS or unseen:
            continue
        looks = [
            look for look in outcome.activity.looks if happened.at <= look.time <= happened.until
        ]
        if not any(look.health for look in looks) and any(look.health == 0 for look in looks):
            what = f"{fault.name} for {fault.seconds:.0f} s was not seen in healthState"
            yield Violation("P9", "ActivityDevice", what)
