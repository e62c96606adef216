"""A sample caller: a Tango device that runs activities as a TMC node or a scheduler would (client).

Copy from it. It never waits in a command: each has a thread of its own, and what comes of it is an
attribute. `python -m ska_oso_activity.client.sample_device 01` serves it, as any Tango server.
"""

from __future__ import annotations

import json
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any

import tango
from tango.server import Device, attribute, command, device_property, run

from ska_oso_activity.client.errors import ClientError, OutOfTime
from ska_oso_activity.client.interruption import Interruption
from ska_oso_activity.client.lrc import LongRunningCommands
from ska_oso_activity.client.sync import ActivityClient

LRC_LIMIT = 5.0
"""Seconds for a command's result to be told once its activity has ended."""
PUSHED = ("activityState", "outcome", "stopOutcome", "trouble")


class SampleScheduler(Device):
    """Runs one activity at a time and shows all that it sees of it."""

    ActivityDevice: str = device_property(
        dtype=str, default_value="mid-oso/activity/01", doc="The device to call."
    )
    CallTimeout: float = device_property(
        dtype=float, default_value=3.0, doc="Seconds for its answer to one call."
    )
    Patience: float = device_property(
        dtype=float, default_value=60.0, doc="Seconds that it may be away."
    )

    def init_device(self) -> None:
        """Be ready; the ActivityDevice is called when there is something to run."""
        super().init_device()
        self._lock = threading.Lock()
        self._interruption = Interruption()
        self._threads: dict[str, threading.Thread] = {}
        self._client: ActivityClient | None = None
        self._lrcs: dict[int, LongRunningCommands] = {}
        self._values: dict[str, Any] = {"activityId": 0, "activityEvents": [], "lrcV1": []}
        self._values |= {"lrcV2": [], **dict.fromkeys(PUSHED, "")}
        for name in PUSHED:
            self.set_change_event(name, True, False)
        self.set_state(tango.DevState.ON)

    def delete_device(self) -> None:
        """End what waits, and listen no more; activities go on."""
        self._interruption.interrupt()
        for thread in self._threads.values():
            thread.join()
        for each in self._lrcs.values():
            each.close()
        super().delete_device()

    # Commands

    @command(dtype_in=str, dtype_out=str, doc_in="A request of RunActivity, JSON", doc_out="Its id")
    def Observe(self, request: str) -> str:
        """Run an activity; returns the `request_id` at once, the rest is told by attributes."""
        asked = {"request_id": str(uuid.uuid4()), **json.loads(request)}
        self._begin("observe", lambda client: self._observe(client, asked))
        return str(asked["request_id"])

    @command(dtype_in=int, doc_in="1 to 16")
    def StopSubarray(self, subarray_id: int) -> None:
        """Stop whatever runs on a subarray; `stopOutcome` tells when that is done."""
        self._begin("stop", lambda client: self._stop(client, subarray_id))

    # Attributes

    @attribute(dtype="DevLong64")
    def activityId(self) -> int:
        """The activity that was started last; 0 before the first."""
        return int(self._values["activityId"])

    @attribute(dtype=str)
    def activityState(self) -> str:
        """Its state, as its last event told."""
        return str(self._values["activityState"])

    @attribute(dtype=(str,), max_dim_x=100)
    def activityEvents(self) -> list[str]:
        """Its events so far, JSON as they were told."""
        return list(self._values["activityEvents"])

    @attribute(dtype=(str,), max_dim_x=10)
    def lrcV1(self) -> list[str]:
        """The statuses of its command, and the text of its result, by protocol 1."""
        return list(self._values["lrcV1"])

    @attribute(dtype=(str,), max_dim_x=10)
    def lrcV2(self) -> list[str]:
        """The same by protocol 2."""
        return list(self._values["lrcV2"])

    @attribute(dtype=str)
    def outcome(self) -> str:
        """How it ended, or why it was not run; empty before that."""
        return str(self._values["outcome"])

    @attribute(dtype=str)
    def stopOutcome(self) -> str:
        """What came of the last stop; empty before that."""
        return str(self._values["stopOutcome"])

    @attribute(dtype=str)
    def trouble(self) -> str:
        """Why a call was last repeated: no answer came in time; empty if that never happened."""
        return str(self._values["trouble"])

    # What the threads do

    def _begin(self, name: str, job: Callable[[ActivityClient], None]) -> None:
        outcome = "outcome" if name == "observe" else "stopOutcome"

        def work() -> None:
            with tango.EnsureOmniThread():  # Python made this thread, and it will use Tango
                try:
                    job(self._connected())
                except ClientError as error:
                    self._show(outcome, f"{type(error).__name__}: {error}")

        with self._lock:
            busy = self._threads.get(name)
            if busy is not None and busy.is_alive():
                tango.Except.throw_exception(
                    "BUSY", f"{name} is still busy; {outcome} tells when it is not", self.get_name()
                )
            self._show(outcome, "")
            self._threads[name] = threading.Thread(target=work, name=name, daemon=True)
            self._threads[name].start()

    def _connected(self) -> ActivityClient:
        with self._lock:
            if self._client is None:
                client = ActivityClient(
                    self.ActivityDevice,
                    patience=self.Patience,
                    call_timeout=self.CallTimeout,
                    on_away=lambda away: self._show("trouble", str(away)),
                )
                self._client = client.interruptible(self._interruption)
            return self._client

    def _observe(self, client: ActivityClient, request: dict[str, Any]) -> None:
        for name in ("activityEvents", "lrcV1", "lrcV2"):
            self._values[name] = []
        # Both protocols, to show both; one will do. Before sending: events may overtake the reply.
        for protocol in (1, 2):
            if protocol not in self._lrcs:
                self._lrcs[protocol] = LongRunningCommands(client.device.device, protocol)
        # Whatever gets lost, the same `request_id` is sent until there is an answer.
        activity = client.run(request)
        self._values["activityId"] = activity.activity_id
        for event in activity.events():
            self._values["activityEvents"].append(json.dumps(event.raw))
            self._show("activityState", event.state.name)
        for protocol, commands in self._lrcs.items():
            self._values[f"lrcV{protocol}"] = _told(commands, activity.command_id)
        summary = activity.summary()
        why = f": {summary.reason}" if summary.reason else ""
        self._show("outcome", f"{summary.state.name}{why}")

    def _stop(self, client: ActivityClient, subarray_id: int) -> None:
        self._show("stopOutcome", client.stop(subarray_id=subarray_id).text)

    def _show(self, name: str, value: str) -> None:
        self._values[name] = value
        self.push_change_event(name, value)


def _told(commands: LongRunningCommands, command_id: str) -> list[str]:
    try:
        result = commands.wait(command_id, LRC_LIMIT).text
    except OutOfTime:  # the events may be lost, in a restart of the server for example
        result = ""
    return [*(status.name for status in commands.statuses(command_id)), result]


if __name__ == "__main__":
    run((SampleScheduler,), args=["SampleScheduler", *sys.argv[1:]])
