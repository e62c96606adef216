"""What was promised, held against what came of each activity of a round."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from faults import plan
from faults.device_checks import of_devices
from faults.kinds import KINDS, STOPPED, failed
from faults.outcome import NOISE, PATIENCE, Happened, Outcome, Violation
from faults.stack import GRACE
from faults.trial import NOT_YET, TERMINAL, Trial

TRANSITIONS = {
    "NONE": {"REQUESTED"},
    "REQUESTED": {"PREPARING", "STOPPING", "FAILED", "UNKNOWN"},
    "PREPARING": {"READY", "STOPPING", "FAILED", "UNKNOWN"},
    "READY": {"RUNNING", "STOPPING", "FAILED", "UNKNOWN"},
    "RUNNING": {"SUCCEEDED", "STOPPING", "FAILED", "UNKNOWN"},
    "STOPPING": {"STOPPED", "SUCCEEDED", "FAILED", "UNKNOWN"},
    "UNKNOWN": {"PREPARING", "READY", "RUNNING", "STOPPING", *TERMINAL},
}
"""The contract's table; what is terminal is followed by nothing."""
BEFORE_MAIN = frozenset(plan.MOMENTS[: plan.MOMENTS.index("running")]) | {NOT_YET}
UNFINISHED = ("STAGING", "QUEUED", "IN_PROGRESS")


def check(outcome: Outcome) -> list[Violation]:
    """All violations of a round."""
    found = [each for trial in outcome.trials for each in _of_trial(outcome, trial)]
    return found + list(of_devices(outcome))


def _of_trial(outcome: Outcome, trial: Trial) -> Iterator[Violation]:
    checks = [_at_most_once, _no_orphans]
    if not outcome.round.damages:
        checks += [_one_end, _expected_end, _its_story, _stop_is_bounded, _goes_on]
    for each in checks:
        for promise, what in each(outcome, trial):
            yield Violation(promise, f"{trial.name} ({trial.planned.kind})", what)


def _at_most_once(outcome: Outcome, trial: Trial) -> Iterator[tuple[str, str]]:
    for what in ("entered", "init", "loading"):
        if (count := len(trial.noted(what))) > 1:
            yield "P1", f"{what} {count} times"
    if trial.refused and trial.notes:
        yield "P1", f"refused ({trial.refusals[0]}), and its script ran"
    if len(set(trial.command_ids)) > 1:
        yield "P1", f"the same request_id has the command ids {set(trial.command_ids)}"
    if len(trial.activity_ids) > 1:
        yield "P1", f"one request made the activities {trial.activity_ids}"
    if trial.refused and trial.activity_ids:
        yield "P1", f"refused ({trial.refusals[0]}), and activity {trial.activity_ids} is there"
    if trial.refusals and trial.command_ids:
        yield "P1", f"both accepted and refused: {trial.refusals[0]}"


def _one_end(outcome: Outcome, trial: Trial) -> Iterator[tuple[str, str]]:
    if not trial.command_ids:
        if not trial.refused:
            yield "P2", "RunActivity was never answered"
        return
    ends = [told.event for told in trial.told if told.event["state"] in TERMINAL]
    if not ends or trial.name in outcome.endless:
        yield "P2", f"no end within {PATIENCE:.0f} s after the last fault"
    if len(ends) > 1:
        yield "P3", f"{len(ends)} terminal events: {[each['state'] for each in ends]}"
    if trial.ended is not None and trial.command_status in UNFINISHED:
        yield "P2", f"it has ended, and its command is {trial.command_status}"
    if isinstance(trial.summary, str):
        yield "P5", f"accepted, and GetActivity says: {trial.summary}"


def _its_story(outcome: Outcome, trial: Trial) -> Iterator[tuple[str, str]]:
    states = [told.event["state"] for told in trial.told]
    previous = "NONE"
    for told in trial.told:
        event = told.event
        if event["previous_state"] != previous:
            yield "P3", f"{event['state']} follows {event['previous_state']}, not {previous}"
        if event["state"] not in TRANSITIONS.get(event["previous_state"], ()):
            yield "P3", f"{event['previous_state']} -> {event['state']} is not in the table"
        previous = event["state"]
    if isinstance(trial.summary, dict):
        read = [state for state, _ in trial.summary["activity_states"]]
        if read != states or trial.summary["state"] != previous:
            yield "P3", f"GetActivity has {read}, {trial.summary['state']}; events said {states}"


def _no_orphans(outcome: Outcome, trial: Trial) -> Iterator[tuple[str, str]]:
    lost = outcome.touched(plan.HOST, plan.FILES)
    if trial.left_alive and not lost:
        yield "P4", f"alive when its end was told: {trial.left_alive}"
    if trial.left_later:
        yield "P4", f"alive {2 * NOISE:.0f} s after its end was told: {trial.left_later}"


def _stop_is_bounded(outcome: Outcome, trial: Trial) -> Iterator[tuple[str, str]]:
    if not trial.stops or trial.ended is None:
        return
    accepted = min(trial.stops)
    since = max([accepted, *(end for end in _disturbed_until(outcome) if end < trial.ended)])
    limit = (GRACE + 2.0) * NOISE
    if trial.ended - since > limit:
        yield "P7", f"stopped {trial.ended - since:.1f} s after it was asked; limit {limit:.0f} s"


def _disturbed_until(outcome: Outcome) -> list[float]:
    """When faults were over and what they had hit was well again."""
    ends = [happened.until for happened in outcome.happened if happened.done]
    for contact in (outcome.activity, outcome.executor):
        looks = [look for look in contact.looks if look.time >= outcome.book.begun]
        ends += [
            after.time
            for before, after in itertools.pairwise(looks)
            if before.health != 0 and after.health == 0
        ]
    return ends


# --- How it ends


def _expected_end(outcome: Outcome, trial: Trial) -> Iterator[tuple[str, str]]:
    if trial.refused:
        codes = {refusal.split(":")[0] for refusal in trial.refusals}
        allowed = set()
        if outcome.touched(plan.SCRIPT_EXECUTION, plan.HOST, plan.DATABASE, plan.DISK):
            allowed.add("NO_CAPACITY")
        if outcome.touched(plan.DISK):
            allowed.add("NO_SPACE")
        if all("is running the abort script of" in text for text in trial.refusals):
            allowed.add("SUBARRAY_BUSY")  # that of an activity of the round before
        if not codes <= allowed:
            yield "P2", f"refused without need: {trial.refusals}"
        return
    if trial.end is None:
        return
    allowed_ends = set(KINDS[trial.planned.kind].ends)
    if trial.stop_answers:
        allowed_ends.add(STOPPED)
    for happened in outcome.happened:
        if happened.done:
            allowed_ends |= _ends_by(happened, trial)
    if trial.end not in allowed_ends and "*" not in allowed_ends:
        promise = "P11" if outcome.touched(*plan.SERVERS, plan.DATABASE) else "P2"
        message = trial.told[-1].event["message"]
        yield promise, f"ended {trial.end} ({message}); expected: {sorted(allowed_ends)}"


def _ends_by(happened: Happened, trial: Trial) -> set[str]:
    """Ends that a fault may bring about."""
    state = happened.states[trial.planned.number]
    target = happened.fault.target
    over = trial.ended is not None and trial.ended < happened.at
    unprepared = state in BEFORE_MAIN
    away = {failed("EXECUTOR_UNAVAILABLE")} if unprepared else set()
    if over:
        return set()
    if target == plan.SCRIPT:
        mine = happened.fault.when.activity == trial.planned.number
        return {failed("SCRIPT_DIED"), failed("SCRIPT_ERROR")} if mine else set()
    if target == plan.HOST and happened.fault.what == "SIGTERM":
        # The host that is asked to end stops its scripts.
        return {*away, failed("EXECUTOR_LOST"), failed("SCRIPT_DIED"), STOPPED}
    if target == plan.HOST:
        return {*away, failed("EXECUTOR_LOST"), failed("SCRIPT_DIED")}
    if target == plan.ARCHIVE:
        reasons = ("ODA_UNAVAILABLE", "SB_NOT_FOUND", "SB_INVALID")
        return {failed(reason) for reason in reasons} if unprepared else set()
    if target == plan.DISK:
        return {"*"} if unprepared else set()
    if target == plan.SCRIPT_EXECUTION and unprepared:
        # Its host may have been killed in the round before, and with it who knows what it had.
        return {*away, failed("EXECUTOR_LOST")}
    # ActivityDevice may be killed just before it sends what it has noted to send.
    return away if target in (*plan.SERVERS, plan.DATABASE) else set()


def _goes_on(outcome: Outcome, trial: Trial) -> Iterator[tuple[str, str]]:
    """P11: the same process, without a break, and all of its output."""
    pids = {note.pid for note in trial.notes if note.what != "daemon"}
    if len(pids) > 1:
        yield "P11", f"its script ran in the processes {pids}"
    if trial.planned.kind != "ticks" or trial.end != "SUCCEEDED":
        return
    ticks = [note.time for note in trial.noted("tick")]
    paused = sum(
        happened.until - happened.at
        for happened in outcome.touched(plan.SCRIPT, plan.HOST)
        if happened.fault.what == "SIGSTOP"
    )
    longest = max((b - a for a, b in itertools.pairwise(ticks)), default=0.0)
    if longest > paused + 1.0 * NOISE:
        yield "P11", f"its script paused for {longest:.1f} s"
    wanted = [f"tick {step}" for step in range(len(ticks))]
    if trial.output is not None and trial.output != wanted and not outcome.touched(plan.DISK):
        yield "P11", f"its output has {len(trial.output)} lines of {len(wanted)}: {trial.output}"
    if isinstance(trial.summary, dict):
        tail = [line["text"] for line in trial.summary["output_tail"] or ()]
        if tail != wanted and not outcome.touched(plan.DISK):
            yield "P2", f"its output_tail has {len(tail)} lines of {len(wanted)}"
