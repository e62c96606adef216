"""A listener that writes down what it hears, and lets tests wait for it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

PATIENCE = 15.0
"""Seconds after which a test no longer waits; nothing takes a tenth of it on a quiet machine."""


@dataclass(frozen=True)
class Heard:
    at: float
    method: str
    procedure_id: int | None
    value: Any

    def is_a(self, method, procedure_id):
        return (self.method, self.procedure_id) == (method, procedure_id)


class Recorder:
    """Implements ScriptHostListener."""

    def __init__(self):
        self.heard: list[Heard] = []
        self._changed = threading.Condition()

    def on_process_state(self, procedure_id, state, pid):
        self._note("state", procedure_id, (state, pid))

    def on_process_end(self, procedure_id, end):
        self._note("end", procedure_id, end)

    def on_progress(self, procedure_id, progress, message):
        self._note("progress", procedure_id, (progress, message))

    def on_message(self, procedure_id, message):
        self._note("message", procedure_id, message)

    def on_output(self, procedure_id, next_offset):
        self._note("output", procedure_id, next_offset)

    def on_host_attached(self, known, *, same_host):
        self._note("attached", None, known)
        self.same_host = same_host

    def on_host_lost(self):
        self._note("lost", None, None)

    def wait(
        self, method, procedure_id=None, accept=lambda value: True, patience=PATIENCE
    ) -> Heard:
        """The first such call, waiting for it if need be."""
        deadline = time.monotonic() + patience
        with self._changed:
            while True:
                for heard in self.heard:
                    if heard.is_a(method, procedure_id) and accept(heard.value):
                        return heard
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(
                        f"no {method} of procedure {procedure_id} came within {patience} s:\n"
                        + "\n".join(map(str, self.heard))
                    )

    def wait_state(self, procedure_id, state) -> Any:
        """The pid, once the script is in that state."""
        return self.wait("state", procedure_id, lambda value: value[0] == state).value[1]

    def wait_end(self, procedure_id, patience=PATIENCE) -> Any:
        return self.wait("end", procedure_id, patience=patience).value

    def of(self, procedure_id, *methods):
        """What was heard of a procedure, as (method, value)."""
        return [
            (heard.method, heard.value)
            for heard in self.heard
            if heard.procedure_id == procedure_id and (not methods or heard.method in methods)
        ]

    def all(self, method):
        return [heard for heard in self.heard if heard.method == method]

    def states(self, procedure_id):
        return [value[0] for _, value in self.of(procedure_id, "state")]

    def _note(self, method, procedure_id, value):
        with self._changed:
            self.heard.append(Heard(time.monotonic(), method, procedure_id, value))
            self._changed.notify_all()
