"""A client that runs activities and notes when it was told what, by the clock of the machine."""

import json
import queue
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import tango

TERMINAL = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
PATIENCE = 30.0
"""Seconds that anything may take before the benchmark gives up."""


class Refused(Exception):
    """RunActivity was not accepted."""


@dataclass
class Run:
    """One activity; times are nanoseconds of `time.monotonic_ns`.

    Attributes:
        sent: when RunActivity was called.
        answered: when it had answered.
        told: when the event of each state came.
        summary: the whole activity.
    """

    sent: int
    answered: int
    told: dict[str, int]
    summary: dict[str, Any]


class Client:
    """Sends requests and subscribes to activityEvent, as an observer's screen does."""

    def __init__(self, activity_device: str, script_execution: str) -> None:
        self.device = tango.DeviceProxy(activity_device)
        self.executor = tango.DeviceProxy(script_execution)
        self.ends: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        """Command id and terminal state of activities, as they end."""
        self._changed = threading.Condition()
        # By command id; what is told may overtake the answer to the request.
        self._told: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._events: dict[str, dict[str, Any]] = {}
        self.device.subscribe_event("activityEvent", tango.EventType.CHANGE_EVENT, self._on_event)

    def _on_event(self, event: Any) -> None:  # PyTango's types say that it has no value
        now = time.monotonic_ns()
        if event.err or not event.attr_value.value:
            return
        happened = json.loads(event.attr_value.value)
        command_id, state = happened["command_id"], happened["state"]
        with self._changed:
            self._told[command_id][state] = now
            self._events[command_id] = happened
            self._changed.notify_all()
        if state in TERMINAL:
            self.ends.put((command_id, state))

    def send(self, sbd_id: str, **more: Any) -> str:
        """RunActivity; returns the command id.

        Raises:
            Refused: it was not accepted.
        """
        request = {"sbd_id": sbd_id, "activity_name": "observe", **more}
        (code,), (text,) = self.device.command_inout("RunActivity", json.dumps(request))
        if code != 2:
            raise Refused(text)
        return str(text)

    def wait(self, command_id: str, *states: str) -> dict[str, Any]:
        """Wait until an activity is in one of these states, or ends; returns the last event."""
        awaited = TERMINAL | set(states)
        with self._changed:
            if not self._changed.wait_for(
                lambda: awaited & self._told[command_id].keys(), PATIENCE
            ):
                raise TimeoutError(f"{command_id}: told {list(self._told[command_id])} and no more")
            return self._events[command_id]

    def run(self, sbd_id: str, **more: Any) -> Run:
        """Run an activity to its end."""
        sent = time.monotonic_ns()
        command_id = self.send(sbd_id, **more)
        return self.finish(command_id, sent, time.monotonic_ns())

    def finish(self, command_id: str, sent: int = 0, answered: int = 0) -> Run:
        """Wait for an activity's end."""
        self.wait(command_id)
        summary = json.loads(self.device.command_inout("GetActivity", command_id))
        return Run(sent, answered, self._told.pop(command_id), summary)

    def succeed(self, sbd_id: str, **more: Any) -> Run:
        """Run an activity that must succeed."""
        run = self.run(sbd_id, **more)
        if "SUCCEEDED" not in run.told:
            summary = run.summary
            raise RuntimeError(f"{sbd_id}: {summary['reason']}: {summary['error']}")
        return run

    def stop(self, activity_id: int) -> None:
        request = {"activity_id": activity_id, "run_abort": False}
        self.device.command_inout("StopActivity", json.dumps(request))
