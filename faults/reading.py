"""Reads, at the end of a round, what the devices say of it and of earlier ones."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import tango

from faults.contact import Contact, Seen
from faults.notes import read
from faults.outcome import PATIENCE, Outcome
from faults.stack import Stack
from faults.trial import Trial

READ_AGAIN = 5
"""Activities of earlier rounds that are read again in each round."""


class Reader:
    """Completes the outcome of a round."""

    def __init__(self, stack: Stack, contacts: tuple[Contact, Contact], outcome: Outcome) -> None:
        self._stack = stack
        self._contacts = contacts
        self._outcome = outcome
        self._trials = outcome.trials

    def collect(self) -> None:
        """Read what the device says in the end, and what it would have told."""
        outcome = self._outcome
        outcome.read_at = time.monotonic()
        for contact, last in zip(self._contacts, outcome.first_events, strict=True):
            contact.fill(last[1] if last else 0, PATIENCE)
        told = outcome.activity.events()
        for trial in self._trials:
            trial.notes = read(self._stack.notes / trial.name)
            trial.told = sorted(
                (each for each in told if each.event["sbd_id"] == trial.sbd_id),
                key=lambda each: (each.event["time"], each.event["seq"]),
            )
            if trial.command_ids:
                trial.summary = self._ask(outcome.activity, "GetActivity", trial.command_ids[0])
                trial.command_status = self._status(trial.command_ids[0])
            if isinstance(trial.summary, dict) and trial.planned.kind == "ticks":
                self._read_output(trial, trial.summary)
        self._read_again()

    def _read_again(self) -> None:
        """P6: what earlier rounds came to is still there, a few at a time."""
        if self._outcome.round.damages:
            self._stack.history.clear()  # some of it may be gone
        earlier = list(self._stack.history.items())
        for command_id, before in earlier[:: max(1, len(earlier) // READ_AGAIN)]:
            now = self._ask(self._outcome.activity, "GetActivity", command_id)
            if not isinstance(now, dict) or _kept(now) != before:
                found = now if isinstance(now, str) else _kept(now)
                self._outcome.changed.append(f"was {before}, is {found}")
        for trial in self._trials:
            if isinstance(trial.summary, dict) and trial.ended is not None:
                self._stack.history[trial.command_ids[0]] = _kept(trial.summary)

    def _status(self, command_id: str) -> str | None:
        with suppress(tango.DevFailed):
            proxy = tango.DeviceProxy(self._outcome.activity.name)
            return str(proxy.command_inout("CheckLongRunningCommandStatus", command_id))
        return None

    def _read_output(self, trial: Trial, summary: dict[str, Any]) -> None:
        if summary["procedure_id"] is None:
            return
        page = {"procedure_id": summary["procedure_id"], "offset": 0, "limit": 1000}
        answer = self._ask(self._outcome.executor, "GetOutput", json.dumps(page))
        if isinstance(answer, dict):
            trial.output = [line["text"] for line in answer["lines"]]

    def _ask(self, contact: Seen, command: str, argument: str) -> dict[str, Any] | str:
        try:
            return dict(
                json.loads(tango.DeviceProxy(contact.name).command_inout(command, argument))
            )
        except tango.DevFailed as failed:
            return str(failed.args[0].desc).splitlines()[0]


def _kept(summary: dict[str, Any]) -> str:
    """What of an ended activity can never change."""
    kept = ("activity_id", "activity_states", "reason", "result", "output_tail", "stacktrace")
    return json.dumps({key: summary[key] for key in kept})
