"""A plain Tango client of our two devices, typed (cli)."""

from __future__ import annotations

import json
import os
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ska_oso_activity.cli.errors import CliError, DeviceAway, Refused, UsageError
from ska_oso_activity.cli.tango_device import Device, errors_of
from ska_oso_activity.domain import strict_json

DEFAULT_TANGO_HOST = "127.0.0.1:10000"
"""Where `ska-oso-activity up` has its Tango database."""
AWAY_LIMIT = 60.0
"""Seconds that a device may be away, being started again for example, before we give up."""
CHECK_INTERVAL = 1.0
"""Seconds between looks at a device that has told nothing; events may be lost on the way."""

Summary = Mapping[str, Any]
"""An activity, as GetActivity and ListActivities give it."""

_ACCEPTED = {1, 2}  # ResultCode STARTED, QUEUED


@dataclass(frozen=True)
class LrcResult:
    """How a long-running command ended: a ResultCode (0 is good) and a text."""

    code: int
    text: str


@dataclass(frozen=True)
class Output:
    """Lines of a script's output, `{"n", "stream", "time", "text"}`, `n` from 0; where to go on."""

    lines: list[dict[str, Any]]
    next_offset: int
    dropped: int = 0
    """Lines of the beginning that the executor no longer keeps."""


class ScriptExecution:
    """The executor: what a script says while it runs."""

    def __init__(self, name: str, tango_host: str) -> None:
        self.device = Device(name, tango_host)

    def output(self, procedure_id: int, offset: int, limit: int = 1000) -> Output:
        """Lines of a script's output from line `offset` (from 0) on."""
        asked = {"procedure_id": procedure_id, "offset": offset, "limit": limit}
        answer = json.loads(self.device.call("GetOutput", strict_json.dumps(asked)))
        return Output(answer["lines"], answer["next_offset"], answer.get("dropped") or 0)

    def process(self, procedure_id: int) -> Summary:
        """A procedure, whole."""
        summary: Summary = json.loads(self.device.call("GetProcess", procedure_id))
        return summary

    def running_since(self, procedure_id: int) -> str | None:
        """When a procedure's main began, if it has."""
        states = dict(self.process(procedure_id).get("procedure_states") or ())
        return states.get("RUNNING")


class ActivityDevice:
    """The device that accepts requests."""

    def __init__(self, name: str, tango_host: str) -> None:
        self.device = Device(name, tango_host)
        self._tango_host = tango_host

    def executor(self, name: str) -> ScriptExecution:
        """The executor of an activity, from the name in its summary."""
        return ScriptExecution(name, self._tango_host)

    def executors(self) -> list[str]:
        """The executors that it may use."""
        return self.device.property("ScriptExecutionDevices")

    def submit(self, command: str, argument: Mapping[str, Any] | str) -> str:
        """Send a long-running command; returns its command id.

        Raises:
            Refused, DeviceAway: nothing was changed.
        """
        text = argument if isinstance(argument, str) else strict_json.dumps(argument)
        codes, texts = self.device.call(command, text)
        if int(codes[0]) not in _ACCEPTED:
            raise Refused(texts[0])
        return str(texts[0])

    def submit_surely(self, command: str, argument: Mapping[str, Any]) -> str:
        """The same for a request with a `request_id`, which may be sent again when in doubt."""
        for _ in range(2):
            try:
                return self.submit(command, argument)
            except DeviceAway:
                # The reply may be lost, not the request: the same id starts nothing twice.
                time.sleep(CHECK_INTERVAL)
        return self.submit(command, argument)

    def complete(
        self,
        command: str,
        argument: Mapping[str, Any] | str,
        waiting: Callable[[], None] = lambda: None,
    ) -> LrcResult:
        """Send a long-running command and wait for its result, however long it takes.

        Args:
            waiting: called once it is accepted, and every second from then on.

        Raises:
            Refused: it was not accepted.
            DeviceAway: it did not answer, or was away for a minute.
        """
        results: queue.Queue[Any] = queue.Queue()
        # Before sending: the result may overtake the reply.
        subscription = self.device.subscribe("longRunningCommandResult", results.put)
        try:
            command_id = self.submit(command, argument)
            waiting()
            return self._wait_for_result(command_id, results, waiting)
        finally:
            subscription.close()

    def activity(self, key: int | str) -> Summary:
        """An activity, whole, by its id or one of its command ids."""
        summary: Summary = json.loads(self.device.call("GetActivity", str(key)))
        return summary

    def activities(self, **filters: Any) -> list[Summary]:
        """Short summaries, newest first; `filters` are those of ListActivities, None is none."""
        given = {key: value for key, value in filters.items() if value is not None}
        summaries: list[Summary] = json.loads(
            self.device.call("ListActivities", strict_json.dumps(given))
        )
        return summaries

    def events_since(self, seq: int) -> list[dict[str, Any]]:
        """The activity events after `seq`, oldest first."""
        events: list[dict[str, Any]] = json.loads(self.device.call("EventsSince", seq))
        return events

    def _wait_for_result(
        self, command_id: str, results: queue.Queue[Any], waiting: Callable[[], None]
    ) -> LrcResult:
        heard_at = time.monotonic()
        while True:
            try:
                found = _result_of(command_id, results.get(timeout=CHECK_INTERVAL))
            except queue.Empty:
                try:
                    found = self._look_up_result(command_id)
                    heard_at = time.monotonic()
                    if found is None:
                        waiting()
                except DeviceAway:
                    if time.monotonic() - heard_at > AWAY_LIMIT:
                        raise
                    continue
            if found is not None:
                return found

    def _look_up_result(self, command_id: str) -> LrcResult | None:
        """The result of a command whose event may be lost; None while it runs."""
        found = _result_of(command_id, self.device.read("longRunningCommandResult"))
        if found is not None:
            return found
        with suppress(Refused):  # a device without this attribute
            for entry in map(json.loads, self.device.read("lrcFinished") or ()):
                if entry["uid"] == command_id and "result" in entry:
                    return LrcResult(*entry["result"])
        if self.device.call("CheckLongRunningCommandStatus", command_id) == "NOT_FOUND":
            raise CliError(
                f"{self.device.name} was restarted meanwhile and no longer knows the command; "
                "`ska-oso-activity list` tells what became of the activity"
            )
        return None


def connect(device: str | None, tango_host: str | None) -> ActivityDevice:
    """The ActivityDevice to talk to: the one that is named, or the only one that there is.

    Raises:
        DeviceAway: the Tango database or the device does not answer.
        UsageError: it must be named.
    """
    import tango

    tango_host = tango_host or tango.ApiUtil.get_env_var("TANGO_HOST") or DEFAULT_TANGO_HOST
    host, colon, port = tango_host.partition(":")
    if not (host and colon and port.isdecimal()):
        raise UsageError(f"the Tango database is given as HOST:PORT, not {tango_host!r}")
    # The event system of cppTango looks there too.
    os.environ["TANGO_HOST"] = tango_host
    if device is None:
        with _no_database(tango_host):
            database = tango.Database(host, int(port))
            names = list(database.get_device_name("*", "ActivityDevice").value_string)
            exported = [name for name in names if database.import_device(name).exported]
        device = _only_one(exported or names, tango_host)
    client = ActivityDevice(device, tango_host)
    client.device.call("State")
    if client.device.class_name() != "ActivityDevice":
        raise UsageError(f"{device} is a {client.device.class_name()}, not an ActivityDevice")
    return client


@contextmanager
def _no_database(tango_host: str) -> Iterator[None]:
    try:
        with errors_of(f"the Tango database {tango_host}"):
            yield
    except DeviceAway as away:
        raise DeviceAway(
            f"{away}. `ska-oso-activity up` starts a stack; TANGO_HOST or --tango-host names "
            "the database of one that runs"
        ) from away


def _only_one(names: list[str], tango_host: str) -> str:
    if not names:
        raise DeviceAway(
            f"the Tango database {tango_host} has no ActivityDevice: "
            "is it the right one (--tango-host)?"
        )
    if len(names) > 1:
        raise UsageError(
            f"the Tango database {tango_host} has several ActivityDevices, "
            f"{', '.join(sorted(names))}: choose one with --device"
        )
    return names[0]


def _result_of(command_id: str, value: Any) -> LrcResult | None:
    """The result in a value of longRunningCommandResult, if it is that of `command_id`."""
    if value is None or len(value) < 2 or value[0] != command_id:
        return None
    code, text = json.loads(value[1])
    return LrcResult(int(code), str(text))
