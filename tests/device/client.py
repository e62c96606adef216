"""A plain PyTango client that relies on the contract: it sends, subscribes, records and waits."""

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import tango

from tests.device.stack import ACTIVITY_DEVICE, SCRIPT_EXECUTION

DEADLINE = 30.0
"""How long anything may take before a test gives up; nothing should need a tenth of it."""
TERMINAL = ("SUCCEEDED", "FAILED", "STOPPED")
TERMINAL_PROCEDURE = ("COMPLETE", "FAILED", "STOPPED")
Json = dict[str, Any]
Found = TypeVar("Found")


class Refused(Exception):
    """A long-running command answered [[5], [reason]]."""


@dataclass(frozen=True)
class Event:
    """What a subscription delivered."""

    attribute: str
    value: Any
    first: bool
    """Whether it is the value at subscription, rather than news."""

    @property
    def json(self) -> Any:
        return json.loads(self.value)


class Recorder:
    """Subscribes to attributes of a device and keeps all that arrives, in order."""

    def __init__(
        self,
        device: tango.DeviceProxy,
        *attributes: str,
        kind: tango.EventType = tango.EventType.CHANGE_EVENT,
    ) -> None:
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._device = device
        self._subscribing = True
        self._declared = {name.lower(): name for name in attributes}
        self._ids = [device.subscribe_event(name, kind, self._arrived) for name in attributes]
        self._subscribing = False

    def _arrived(self, arrived: tango.EventData) -> None:
        if arrived.err:
            return
        value = arrived.attr_value.value
        if arrived.attr_value.data_format == tango.AttrDataFormat.SPECTRUM:
            value = (
                []
                if value is None
                else [getattr(item, "item", lambda i=item: i)() for item in value]
            )
        name = self._declared[arrived.attr_value.name.lower()]
        with self._changed:
            first = not any(event.attribute == name for event in self._events)
            self._events.append(Event(name, value, first))
            self._changed.notify_all()

    @property
    def events(self) -> list[Event]:
        """All that came, the values at subscription too."""
        with self._changed:
            return list(self._events)

    def news(self, attribute: str | None = None) -> list[Event]:
        """What came after the subscription."""
        return [e for e in self.events if not e.first and attribute in (None, e.attribute)]

    def values(self, attribute: str) -> list[Any]:
        return [event.value for event in self.news(attribute)]

    def wait(self, find: Callable[[], Found], what: str, seconds: float = DEADLINE) -> Found:
        """What `find` returns as soon as it is true; it is asked again at each event."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not (found := find()):
                left = deadline - time.monotonic()
                if left <= 0:
                    tail = "\n".join(str(event) for event in self._events[-12:])
                    raise TimeoutError(f"waited {seconds} s for {what}; the last events:\n{tail}")
                self._changed.wait(left)
        return found

    def stop(self) -> None:
        for number in self._ids:
            self._device.unsubscribe_event(number)
        self._ids = []

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, _1: type[BaseException] | None, _2: BaseException | None, _3: TracebackType | None
    ) -> None:
        self.stop()


@dataclass(frozen=True)
class Run:
    """An activity that has ended, as its client saw it."""

    command_id: str
    result: list[Any]
    status: str
    events: list[Json]
    activity: Json

    @property
    def states(self) -> list[str]:
        return [event["state"] for event in self.events]

    @property
    def output(self) -> list[str]:
        return [line["text"] for line in self.activity["output_tail"]]


class Client:
    """Both devices, and a subscription to what an observer of activities follows."""

    def __init__(self) -> None:
        self.device = tango.DeviceProxy(ACTIVITY_DEVICE)
        self.executor = tango.DeviceProxy(SCRIPT_EXECUTION)
        self.recorder = Recorder(
            self.device, "activityEvent", "longRunningCommandResult", "longRunningCommandStatus"
        )

    # Long-running commands

    def send(self, command: str, argument: Any) -> str:
        """The command's id; `Refused` if it is refused."""
        text = argument if isinstance(argument, str) else json.dumps(argument)
        (code,), (answer,) = self.device.command_inout(command, text)
        if code == 5:
            raise Refused(answer)
        assert (code, answer.split("_")[-1]) == (2, command)
        return str(answer)

    def answer(self, command: str, argument: Any) -> tuple[int, str]:
        """What a command answers at once: (2, its id) or (5, the reason why it is refused)."""
        try:
            return 2, self.send(command, argument)
        except Refused as refused:
            return 5, str(refused)

    def refusal(self, command: str, argument: Any) -> str:
        """The reason why it is refused; fails if it is accepted."""
        code, text = self.answer(command, argument)
        assert code == 5, f"{command} was accepted as {text}"
        return text

    def result(self, command_id: str, seconds: float = DEADLINE) -> tuple[list[Any], str]:
        """What a command came to: [code, text] and its status, once both were announced."""

        def found() -> tuple[list[Any], str] | None:
            results = [
                json.loads(event.value[1])
                for event in self.recorder.events
                if event.attribute == "longRunningCommandResult" and event.value[0] == command_id
            ]
            statuses = self.statuses(command_id)
            if (
                results
                and statuses
                and statuses[-1] in ("COMPLETED", "FAILED", "ABORTED", "REJECTED")
            ):
                return results[-1], statuses[-1]
            return None

        result = self.recorder.wait(found, f"the result of {command_id}", seconds)
        assert result is not None
        return result

    def statuses(self, command_id: str) -> list[str]:
        """The statuses that a command went through."""
        seen: list[str] = []
        for event in self.recorder.events:
            if event.attribute == "longRunningCommandStatus" and command_id in event.value:
                status = event.value[event.value.index(command_id) + 1]
                if seen[-1:] != [status]:
                    seen.append(status)
        return seen

    def ask(self, command: str, argument: Any) -> tuple[int, str]:
        """A command's result, whatever its status."""
        (code, text), _ = self.result(self.send(command, argument))
        return code, text

    # Activities

    def request(self, sbd_id: str, **more: Any) -> Json:
        return {"sbd_id": sbd_id, "activity_name": "observe", **more}

    def run(self, sbd_id: str, seconds: float = DEADLINE, **more: Any) -> Run:
        """Run an activity to its end (with `prepare_only` to READY)."""
        return self.finish(self.send("RunActivity", self.request(sbd_id, **more)), seconds)

    def finish(self, command_id: str, seconds: float = DEADLINE) -> Run:
        result, status = self.result(command_id, seconds)
        return Run(command_id, result, status, self.story(command_id), self.get(command_id))

    def start(self, sbd_id: str, until: str = "RUNNING", **more: Any) -> Json:
        """Send an activity on its way; its event of that state."""
        return self.reach(self.send("RunActivity", self.request(sbd_id, **more)), until)

    def reach(self, command_id: str, state: str, seconds: float = DEADLINE) -> Json:
        """The event of an activity that tells that state."""

        def found() -> Json | None:
            return next((e for e in self.story(command_id) if e["state"] == state), None)

        event = self.recorder.wait(found, f"{state} of {command_id}", seconds)
        assert event is not None
        return event

    def story(self, key: str | int | None = None) -> list[Json]:
        """The activity events as they came, of one activity (by command id or id) or of all."""
        events = [
            e.json for e in self.recorder.events if e.attribute == "activityEvent" and e.value
        ]
        return [e for e in events if key in (None, e["command_id"], e["activity_id"])]

    def get(self, key: str | int) -> Json:
        return dict(json.loads(self.device.GetActivity(str(key))))

    def list(self, **filters: Any) -> list[Json]:
        return list(json.loads(self.device.ListActivities(json.dumps(filters))))

    def stop(self, **request: Any) -> tuple[int, str]:
        return self.ask("StopActivity", request)

    # Procedures

    def prepare(self, script: str, **more: Any) -> Json:
        """PrepareProcess of a filesystem script."""
        return dict(
            json.loads(self.executor.PrepareProcess(json.dumps(preparation(script, **more))))
        )

    def procedure(self, procedure_id: int) -> Json:
        return dict(json.loads(self.executor.GetProcess(procedure_id)))

    def start_process(self, procedure_id: int, *args: Any, **more: Any) -> Json:
        request = {"procedure_id": procedure_id, "function": "main", "args": {"args": args}, **more}
        return dict(json.loads(self.executor.StartProcess(json.dumps(request))))

    def output(self, procedure_id: int, **page: Any) -> Json:
        return dict(
            json.loads(self.executor.GetOutput(json.dumps({"procedure_id": procedure_id, **page})))
        )


def preparation(script: str, **more: Any) -> Json:
    """A request of PrepareProcess or CheckProcess."""
    request: Json = {
        "request_id": str(uuid.uuid4()),
        "script": {"kind": "filesystem", "uri": script},
        "init_args": {"args": [], "kwargs": {}},
        "scheduling_block": None,
        "subarray_id": None,
        "telescope": "ska_mid",
        "labels": {},
    }
    return request | more


def failure(call: Callable[[], object]) -> tango.DevError:
    """The first error of a call that must fail, as itango shows it."""
    try:
        answer = call()
    except tango.DevFailed as failed:
        return failed.args[0]
    raise AssertionError(f"it did not fail, and answered {answer!r}")


def reason_of(call: Callable[[], object]) -> str | None:
    """The reason of a call's failure, or None if it does not fail."""
    try:
        call()
    except tango.DevFailed as failed:
        return str(failed.args[0].reason)
    return None


def until(find: Callable[[], Found], what: str, seconds: float = DEADLINE) -> Found:
    """For what has no event (a file, a process, a server that comes back): ask until it is true."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not (found := find()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        pause.wait(0.02)
    return found
