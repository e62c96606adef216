"""Runs one round in a stack: sends, stops, lets faults happen, and waits until all is over."""

from __future__ import annotations

import threading
import time

import tango

from faults.client import Client
from faults.contact import Contact, Json
from faults.course import Course
from faults.inject import NotPossible, inject
from faults.kinds import KINDS
from faults.leftovers import marked
from faults.notes import Note, NotesReader, read
from faults.outcome import COME_BACK, NOISE, PATIENCE, RECOVERY, Happened, Outcome
from faults.plan import PlannedActivity, Round
from faults.reading import Reader
from faults.stack import GRACE, Stack
from faults.trial import TERMINAL, Trial

TAKES_EFFECT = 0.5
"""Seconds in which a server that is told to end has ended."""
_EVENTS = {"PREPARING": "preparing", "READY": "ready", "STOPPING": "stopping"}
_NOTES = {"loading": "loading", "init": "initialising", "entered": "running", "left": "ending"}


class RoundRun:
    """One round; `run` returns what came of it."""

    def __init__(self, stack: Stack, activity: Contact, executor: Contact, planned: Round) -> None:
        self._stack = stack
        self._contacts = (activity, executor)
        # Where history was damaged, some activities may be forgotten, so that nobody ends them.
        self._course = Course(PATIENCE / 3 if planned.damages else PATIENCE)
        self._book = self._course.book
        self._trials = [self._trial(each, planned.number) for each in planned.activities]
        self._by_name = {trial.name: trial for trial in self._trials}
        self._by_block = {trial.sbd_id: trial for trial in self._trials}
        self._outcome = Outcome(
            planned,
            self._book,
            self._trials,
            [Happened(fault) for fault in planned.faults],
            activity,
            executor,
            (activity.newest, executor.newest),
        )
        self._checks: list[threading.Thread] = []

    def _trial(self, planned: PlannedActivity, number: int) -> Trial:
        name = f"r{number}-a{planned.number}"
        return Trial(planned, name, self._stack.add(name, KINDS[planned.kind]))

    def run(self) -> Outcome:
        outcome = self._outcome
        outcome.activity.on_event = self._on_event
        outcome.executor.on_event = self._on_procedure_event
        actors = [
            *(
                self._course.thread(Client(self._course, outcome.activity, trial).act)
                for trial in self._trials
            ),
            *(self._course.thread(self._go_wrong, happened) for happened in outcome.happened),
        ]
        with NotesReader(self._stack.notes, list(self._by_name), self._on_note):
            for thread in actors:
                thread.start()
            for thread in actors:
                thread.join()
            done = self._book.wait(
                lambda: all(map(self._course.is_over, self._trials)), self._course.patience
            )
            self._book.write("suite", "all is over" if done else "waited in vain for an end")
            if not done:
                left = [each for each in self._trials if not self._course.is_over(each)]
                self._outcome.endless = [each.name for each in left]
                self._abort()
            self._settle()
            for check in self._checks:
                check.join()
        for failure in self._course.failures:
            raise failure  # of the suite itself
        Reader(self._stack, self._contacts, outcome).collect()
        outcome.activity.on_event = outcome.executor.on_event = lambda *_: None
        return outcome

    # --- What is heard

    def _on_event(self, event: Json, how: str) -> None:
        trial = self._by_block.get(event["sbd_id"])
        words = f"{event['previous_state']} -> {event['state']} {event['reason'] or ''}"
        name = trial.name if trial else f"activity {event['activity_id']}"
        self._book.write(name, f"{how}: {words} (seq {event['seq']}) {event['message']}")
        if trial is None:
            return
        state = "ended" if event["state"] in TERMINAL else _EVENTS.get(event["state"])
        if state:
            self._course.reach(trial, state)
        if state == "ended":
            check = self._course.thread(self._see_what_is_left, trial)
            check.start()
            self._checks.append(check)

    def _on_procedure_event(self, event: Json, how: str) -> None:
        words = f"{how}: {event['previous_state']} -> {event['state']} {event['reason'] or ''}"
        self._book.write(f"procedure {event['procedure_id']}", words)

    def _on_note(self, name: str, note: Note) -> None:
        self._book.write(name, f"notes {note.what}, process {note.pid}", note.time)
        if note.what in _NOTES:
            self._course.reach(self._by_name[name], _NOTES[note.what])

    def _see_what_is_left(self, trial: Trial) -> None:
        """P4: an end was told, so no process of the activity may be alive."""
        notes = read(self._stack.notes / trial.name)
        trial.left_alive = [f"{note.what} {note.pid}" for note in notes if note.alive]
        if not trial.left_alive:
            return
        self._book.write(trial.name, f"ended, and alive: {trial.left_alive}")
        time.sleep(2.0 * NOISE)
        trial.left_later = [f"{note.what} {note.pid}" for note in notes if note.alive]

    # --- What goes wrong

    def _go_wrong(self, happened: Happened) -> None:
        fault = happened.fault
        trial = self._trials[fault.when.activity]
        if not self._course.wait_for(trial, fault.when.state):
            happened.did = f"{trial.name} was never {fault.when.state}"
            return
        time.sleep(fault.when.delay)
        happened.at = self._book.write("FAULT", fault.name)
        happened.states = {each.planned.number: each.state_at(happened.at) for each in self._trials}

        def script() -> int | None:
            alive = [each for each in read(self._stack.notes / trial.name) if each.alive]
            return alive[0].pid if alive else None

        try:
            happened.did = inject(self._stack, fault, script, time.sleep)
            happened.done = True
        except NotPossible as reason:
            happened.did = str(reason)
        happened.until = self._book.write("FAULT", f"{fault.name}: {happened.did}")

    # --- The end

    def _abort(self) -> None:
        """End what nobody ends, so that no script of it is in the way of the checks."""
        try:
            tango.DeviceProxy(self._outcome.activity.name).command_inout("Abort")
        except tango.DevFailed as failed:
            self._book.write("suite", f"Abort fails: {failed.args[0].desc}")

    def _settle(self) -> None:
        """Wait until both devices are well (P9: healthState clears)."""
        deadline = time.monotonic() + COME_BACK + RECOVERY * NOISE
        last = max(each.until for each in self._outcome.happened) + TAKES_EFFECT
        while time.monotonic() < deadline:
            if all(contact.well_since(last) for contact in self._contacts):
                self._outcome.settled = True
                self._book.write("suite", "both devices are well")
                break
            time.sleep(0.02)
        else:
            self._book.write("suite", "the devices are not well")
        self._outcome.leftovers = self._left_marked()

    def _left_marked(self) -> list[str]:
        """Processes of scripts that are there although all has ended."""
        deadline = time.monotonic() + (GRACE + 2.0) * NOISE
        while (left := marked(self._stack.tango_host)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left
