"""A sample caller: a Tango device that runs activities as a TMC node or a scheduler would (client).

Copy from it. It never waits in a command: each has a thread of its own, and what comes of it is an
attribute. `python -m ska_oso_activity.client.sample_device 01` serves it, as any Tango server: the
Tango database must have the server `SampleScheduler/01` with a device of this class.

After an Init or a restart it takes up nothing by itself. Observe with the request of before, the
same `request_id` in it, starts nothing again and follows what goes on.
"""

from __future__ import annotations

import atexit
import json
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import tango
from tango.server import Device, attribute, command, device_property, run

from ska_oso_activity.client.devices import CHECK_INTERVAL
from ska_oso_activity.client.errors import DeviceAway, Interrupted, OutOfTime
from ska_oso_activity.client.interruption import Interruption
from ska_oso_activity.client.lrc import LongRunningCommands
from ska_oso_activity.client.sync import ActivityClient
from ska_oso_activity.domain import strict_json

T = TypeVar("T")
END_LIMIT = 10.0
"""Seconds for a thread to end with the process; a call of Tango's may have to time out."""
_running: weakref.WeakKeyDictionary[threading.Thread, Interruption] = weakref.WeakKeyDictionary()
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
        # Threads of before an Init know theirs, and show nothing more.
        self._interruption = Interruption()
        self._threads: dict[str, threading.Thread] = {}
        self.values: dict[str, Any] = {"activityId": 0, "activityEvents": [], "lrcV1": []}
        self.values |= {"lrcV2": [], **dict.fromkeys(PUSHED, "")}
        for name in PUSHED:
            self.set_change_event(name, True, False)
        self.set_state(tango.DevState.ON)

    def delete_device(self) -> None:
        """End what waits; activities go on.

        The threads end by themselves, and close what they opened. They are not waited for: Init
        holds the device's monitor, and a thread may stand in line for it to push an event.
        """
        self._interruption.interrupt()
        super().delete_device()

    # Commands

    @command(dtype_in=str, dtype_out=str, doc_in="A request of RunActivity, JSON", doc_out="Its id")
    def Observe(self, request: str) -> str:
        """Run an activity; returns the `request_id` at once, the rest is told by attributes."""
        asked = _request(request, self.get_name())
        self._begin("observe", lambda caller: caller.observe(asked))
        return str(asked["request_id"])

    @command(dtype_in=int, doc_in="1 to 16")
    def StopSubarray(self, subarray_id: int) -> None:
        """Stop whatever runs on a subarray; `stopOutcome` tells when that is done."""
        self._begin("stop", lambda caller: caller.stop(subarray_id))

    # Attributes

    @attribute(dtype="DevLong64")
    def activityId(self) -> int:
        """The activity that was started last; 0 before the first."""
        return int(self.values["activityId"])

    @attribute(dtype=str)
    def activityState(self) -> str:
        """Its state, as its last event told."""
        return str(self.values["activityState"])

    @attribute(dtype=(str,), max_dim_x=100)
    def activityEvents(self) -> list[str]:
        """Its events so far, JSON as they were told."""
        return list(self.values["activityEvents"])

    @attribute(dtype=(str,), max_dim_x=10)
    def lrcV1(self) -> list[str]:
        """The statuses of its command, and the text of its result, by protocol 1."""
        return list(self.values["lrcV1"])

    @attribute(dtype=(str,), max_dim_x=10)
    def lrcV2(self) -> list[str]:
        """The same by protocol 2."""
        return list(self.values["lrcV2"])

    @attribute(dtype=str)
    def outcome(self) -> str:
        """How it ended, or why it was not run; empty before that."""
        return str(self.values["outcome"])

    @attribute(dtype=str)
    def stopOutcome(self) -> str:
        """What came of the last stop; empty before that."""
        return str(self.values["stopOutcome"])

    @attribute(dtype=str)
    def trouble(self) -> str:
        """Why a call was last repeated: no answer came in time; empty if that never happened."""
        return str(self.values["trouble"])

    # What the threads do

    def _begin(self, name: str, job: Callable[[_Caller], None]) -> None:
        outcome = "outcome" if name == "observe" else "stopOutcome"
        caller = _Caller(self, self._interruption)

        def work() -> None:
            with tango.EnsureOmniThread():  # Python made this thread, and it will use Tango
                try:
                    job(caller)
                except Interrupted:  # by Init, or the end of the server: nobody looks any more
                    pass
                except Exception as error:  # whatever it is: a thread that dies tells nobody
                    caller.show(outcome, f"{type(error).__name__}: {error}")

        with self._lock:
            busy = self._threads.get(name)
            if busy is not None and busy.is_alive():
                tango.Except.throw_exception(
                    "BUSY", f"{name} is still busy; {outcome} tells when it is not", self.get_name()
                )
            self.show(outcome, "")
            if name == "observe":  # nothing of the run before stays to be seen
                self.values |= {"activityId": 0, "activityEvents": [], "lrcV1": [], "lrcV2": []}
                self.show("activityState", "")
            thread = threading.Thread(target=work, name=name, daemon=True)
            self._threads[name] = thread
            _running[thread] = self._interruption
            thread.start()

    def show(self, name: str, value: str) -> None:
        """Change an attribute, and tell whoever listens."""
        self.values[name] = value
        self.push_change_event(name, value)


class _Caller:
    """What one command does with the ActivityDevice, for as long as it is not interrupted."""

    def __init__(self, device: SampleScheduler, interruption: Interruption) -> None:
        self._device, self._interruption = device, interruption
        self._values = device.values  # of now: after an Init there are others

    def observe(self, request: dict[str, Any]) -> None:
        """Run an activity and show what becomes of it."""
        client = self._surely(self._connected)
        lrcs: dict[int, LongRunningCommands] = {}
        try:
            # Both protocols, to show both; one will do. Before sending: events may overtake the
            # reply.
            for protocol in (1, 2):
                lrcs[protocol] = self._surely(
                    partial(LongRunningCommands, client.device.device, protocol)
                )
            # Whatever gets lost, the same `request_id` is sent until there is an answer.
            activity = client.run(request)
            self._values["activityId"] = activity.activity_id
            for event in activity.events():
                self._values["activityEvents"].append(json.dumps(event.raw))
                self.show("activityState", event.state.name)
            for protocol, commands in lrcs.items():
                self._values[f"lrcV{protocol}"] = _told(commands, activity.command_id)
            summary = activity.summary()
        finally:
            for each in lrcs.values():
                each.close()
        why = f": {summary.reason}" if summary.reason else ""
        self.show("outcome", f"{summary.state.name}{why}")

    def stop(self, subarray_id: int) -> None:
        """Stop whatever runs on a subarray."""
        client = self._surely(self._connected)
        self.show("stopOutcome", client.stop(subarray_id=subarray_id).text)

    def show(self, name: str, value: str) -> None:
        """Show it, unless interrupted: whoever interrupts may hold the device's monitor."""
        self._interruption.pause(0)
        self._values[name] = value
        self._device.push_change_event(name, value)

    def _connected(self) -> ActivityClient:
        client = ActivityClient(
            self._device.ActivityDevice,
            patience=self._device.Patience,
            call_timeout=self._device.CallTimeout,
            on_away=lambda away: self.show("trouble", str(away)),
        )
        return client.interruptible(self._interruption)

    def _surely(self, ask: Callable[[], T]) -> T:
        """What needs the ActivityDevice, or its database, and may be tried again."""
        deadline = time.monotonic() + self._device.Patience
        while True:
            try:
                return ask()
            except DeviceAway as away:
                if time.monotonic() >= deadline:
                    raise
                self.show("trouble", str(away))
            self._interruption.pause(CHECK_INTERVAL)


def _request(text: str, device: str) -> dict[str, Any]:
    """The request of Observe, with a `request_id` of ours if it has none, or null."""
    request: Any = None
    why = "it is no object"
    try:
        request = strict_json.loads(text)
    except strict_json.NotJson as error:
        why = str(error)
    if not isinstance(request, dict):
        tango.Except.throw_exception(
            "INVALID_REQUEST",
            "Observe takes a request of RunActivity, a JSON object such as "
            f'{{"sbd_id": "sbd-1", "activity_name": "observe"}}, and not {text!r:.80}: {why}',
            device,
        )
    given: dict[str, Any] = request
    if given.get("request_id") is None:
        given["request_id"] = str(uuid.uuid4())
    return given


@atexit.register
def _end() -> None:
    """Let no thread be in Tango when Python ends: that aborts the process."""
    for thread, interruption in list(_running.items()):
        interruption.interrupt()
        thread.join(END_LIMIT)


def _told(commands: LongRunningCommands, command_id: str) -> list[str]:
    try:
        result = commands.wait(command_id, LRC_LIMIT).text
    except OutOfTime:  # the events may be lost, in a restart of the server for example
        result = ""
    return [*(status.name for status in commands.statuses(command_id)), result]


if __name__ == "__main__":
    run((SampleScheduler,), args=["SampleScheduler", *sys.argv[1:]])
