"""Follows what the script of one activity says: its output, progress and announcements (cli)."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ska_oso_activity.cli.client import (
    CHECK_INTERVAL,
    ActivityDevice,
    Output,
    ScriptExecution,
    Subscription,
)
from ska_oso_activity.cli.errors import CliError
from ska_oso_activity.cli.happenings import Announced, Happening, OutputWritten, Progressed

Heard = queue.Queue[tuple[str, Any]]
"""Values of attributes as events bring them, each with the attribute's name."""

OUTPUT, PROGRESS, MESSAGE = "scriptOutput", "scriptProgress", "scriptMessage"


class ScriptFollower:
    """Listens to the executor of one activity, once it is known which that is."""

    def __init__(self, device: ActivityDevice, activity_id: int, heard: Heard) -> None:
        self._device = device
        self._activity_id = activity_id
        self._queue = heard
        self._executor: ScriptExecution | None = None
        self._procedure_id: int | None = None
        self._offset = 0
        self._progress = 0.0
        self._subscriptions: list[Subscription] = []
        self._heard_at = 0.0

    def runs_in(self, executor: str | None, procedure_id: int | None) -> Iterator[Happening]:
        """It is known where the script runs: listen there, and fetch what was missed.

        An executor that is away is no trouble: the next look tries again.
        """
        if self._executor is not None or executor is None or procedure_id is None:
            return
        try:
            found = self._device.executor(executor)
            for attribute in (OUTPUT, PROGRESS, MESSAGE):
                self._subscribe(found, attribute)
        except CliError:
            self.close()
            return
        self._executor, self._procedure_id = found, procedure_id
        yield from self._fetch()

    def heard(self, source: str, value: Any) -> Iterator[Happening]:
        """An event of an executor arrived, perhaps about another script."""
        if source not in {OUTPUT, PROGRESS, MESSAGE}:
            return
        told = json.loads(value)
        if self._procedure_id is None or told.get("procedure_id") != self._procedure_id:
            return
        self._heard_at = time.monotonic()
        if source == OUTPUT:
            # The event is a hint: asking from where we are gives every line, in order.
            yield from self._fetch()
        elif source == PROGRESS:
            yield from self._progressed(told["progress"], told.get("message") or "")
        else:
            yield Announced(self._activity_id, told["message"])

    def look(self, summary: Mapping[str, Any]) -> Iterator[Happening]:
        """Fetch what events should have told."""
        news = [*self._fetch(), *self._progressed(summary.get("progress") or 0.0, "")]
        if news and time.monotonic() - self._heard_at > CHECK_INTERVAL:
            for subscription in self._subscriptions:
                subscription.renew()
        yield from news

    def rest(self, summary: Mapping[str, Any]) -> Iterator[Happening]:
        """The last lines, from the executor or, if it is away, the activity's own record."""
        yield from self._fetch()
        tail = [line for line in summary.get("output_tail") or () if line["n"] >= self._offset]
        if tail:
            yield from self._written(Output(tail, tail[-1]["n"] + 1))
        yield from self._progressed(summary.get("progress") or 0.0, "")
        self.close()

    def close(self) -> None:
        """Listen no more."""
        while self._subscriptions:
            self._subscriptions.pop().close()

    def _subscribe(self, executor: ScriptExecution, attribute: str) -> None:
        def deliver(value: str) -> None:
            self._queue.put((attribute, value))

        self._subscriptions.append(executor.device.subscribe(attribute, deliver))

    def _fetch(self) -> Iterator[Happening]:
        while self._executor is not None and self._procedure_id is not None:
            try:
                output = self._executor.output(self._procedure_id, self._offset)
            except CliError:
                return
            if output.next_offset <= self._offset:
                return
            yield from self._written(output)

    def _written(self, output: Output) -> Iterator[Happening]:
        if output.lines:
            # What the executor no longer keeps leaves a hole in the numbers.
            lost = output.lines[0]["n"] - self._offset
            yield OutputWritten(self._activity_id, tuple(output.lines), lost)
        self._offset = output.next_offset

    def _progressed(self, percent: float, message: str) -> Iterator[Happening]:
        if percent != self._progress:
            self._progress = percent
            yield Progressed(self._activity_id, percent, message)
