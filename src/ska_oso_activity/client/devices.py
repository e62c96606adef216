"""Our two devices as a Tango client sees them: commands in, JSON out (client)."""

from __future__ import annotations

import json
import os
import queue
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ska_oso_activity.client.errors import (
    AmbiguousDevice,
    CommandForgotten,
    DeviceAway,
    InvalidRequest,
    OutOfTime,
    Refused,
    refused,
)
from ska_oso_activity.client.interruption import Inbox, Interruption, deadline_after
from ska_oso_activity.client.tango_device import CALL_TIMEOUT, Device, errors_of
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.activity import ActivityState
from ska_oso_activity.domain.errors import Reason

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

    @property
    def ok(self) -> bool:
        """Whether it came to a good end."""
        return self.code == 0


@dataclass(frozen=True)
class Output:
    """Lines of a script's output, `{"n", "stream", "time", "text"}`, `n` from 0; where to go on."""

    lines: list[dict[str, Any]]
    next_offset: int
    dropped: int = 0
    """Lines of the beginning that the executor no longer keeps."""


class ScriptExecution:
    """The executor: what a script says while it runs."""

    def __init__(self, name: str, tango_host: str, timeout: float = CALL_TIMEOUT) -> None:
        self.device = Device(name, tango_host, timeout)

    def output(self, procedure_id: int, offset: int, limit: int = 1000) -> Output:
        """Lines of a script's output from line `offset` (from 0) on."""
        asked = {"procedure_id": procedure_id, "offset": offset, "limit": limit}
        answer = json.loads(self.device.call("GetOutput", strict_json.dumps(asked)))
        return Output(answer["lines"], answer["next_offset"], answer.get("dropped") or 0)

    def process(self, procedure_id: int) -> Summary:
        """A procedure, whole."""
        summary: Summary = json.loads(self.device.call("GetProcess", procedure_id))
        return summary

    def started_at(self) -> str | None:
        """When its server was started."""
        return started_at(self.device)

    def running_since(self, procedure_id: int) -> str | None:
        """When a procedure's main began, if it has."""
        states = dict(self.process(procedure_id).get("procedure_states") or ())
        return states.get("RUNNING")


class ActivityDevice:
    """The device that accepts requests."""

    def __init__(
        self,
        name: str,
        tango_host: str,
        timeout: float = CALL_TIMEOUT,
        patience: float = AWAY_LIMIT,
    ) -> None:
        """`timeout`: seconds for one answer; `patience`: for which it may be away meanwhile."""
        self.device = Device(name, tango_host, timeout)
        self._tango_host, self._timeout, self._patience = tango_host, timeout, patience

    def executor(self, name: str) -> ScriptExecution:
        """The executor of an activity, from the name in its summary."""
        return ScriptExecution(name, self._tango_host, self._timeout)

    def executors(self) -> list[str]:
        """The executors that it may use."""
        return self.device.property("ScriptExecutionDevices")

    def submit(self, command: str, argument: Mapping[str, Any] | str) -> str:
        """Send a long-running command; returns its command id.

        Raises:
            Refused, DeviceAway: nothing was changed.
        """
        try:
            text = argument if isinstance(argument, str) else strict_json.dumps(argument)
        except (TypeError, ValueError, RecursionError) as error:  # NaN, or an object of Python
            raise InvalidRequest(
                f"{command} takes what JSON can say, text, numbers, lists and the like: {error}",
                Reason.INVALID_REQUEST,
            ) from error
        codes, texts = self.device.call(command, text)
        if int(codes[0]) not in _ACCEPTED:
            raise refused(str(texts[0]))
        return str(texts[0])

    def complete(
        self,
        command: str,
        argument: Mapping[str, Any] | str,
        waiting: Callable[[], None] = lambda: None,
        *,
        timeout: float | None = None,
        interruption: Interruption | None = None,
    ) -> LrcResult:
        """Send a long-running command and wait for its result.

        Args:
            waiting: called once it is accepted, and every second from then on.
            timeout: seconds for the result; None: however long it takes.
            interruption: ends the waiting.

        Raises:
            Refused: it was not accepted.
            DeviceAway: it did not answer, or was away for longer than the `patience`.
            CommandForgotten: the device was restarted before it had a result.
            OutOfTime: there is no result yet.
        """
        deadline = deadline_after(timeout)
        results: Inbox[Any] = Inbox(interruption)
        # Before sending: the result may overtake the reply.
        subscription = self.device.subscribe("longRunningCommandResult", results.put)
        try:
            command_id = self.submit(command, argument)
            waiting()
            return self._wait_for_result(command_id, results, waiting, deadline)
        finally:
            subscription.close()

    def started_at(self) -> str | None:
        """When its server was started: another one means that subscriptions are to be renewed."""
        return started_at(self.device)

    def last_event(self) -> dict[str, Any] | None:
        """The activity event that came last; None before the first."""
        text = self.device.read("activityEvent")
        return dict(json.loads(text)) if text else None

    def activity(self, key: int | str) -> Summary:
        """An activity, whole, by its id or one of its command ids."""
        summary: Summary = json.loads(self.device.call("GetActivity", str(key)))
        return summary

    def activities(self, **filters: Any) -> list[Summary]:
        """Short summaries, newest first; `filters` are those of ListActivities, None is none."""
        given = {
            key: value.name if isinstance(value, ActivityState) else value
            for key, value in filters.items()
            if value is not None
        }
        summaries: list[Summary] = json.loads(
            self.device.call("ListActivities", strict_json.dumps(given))
        )
        return summaries

    def events_since(self, seq: int) -> list[dict[str, Any]]:
        """The activity events after `seq`, oldest first."""
        events: list[dict[str, Any]] = json.loads(self.device.call("EventsSince", seq))
        return events

    def _wait_for_result(
        self, command_id: str, results: Inbox[Any], waiting: Callable[[], None], deadline: float
    ) -> LrcResult:
        heard_at = time.monotonic()
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise OutOfTime(
                    f"{self.device.name} accepted {command_id} and has no result yet; it goes on"
                )
            try:
                found = _result_of(command_id, results.get(min(CHECK_INTERVAL, left)))
            except queue.Empty:
                try:
                    found = self._look_up_result(command_id)
                    heard_at = time.monotonic()
                    if found is None:
                        waiting()
                except DeviceAway:
                    if time.monotonic() - heard_at > self._patience:
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
            raise CommandForgotten(
                f"{self.device.name} was restarted meanwhile and no longer knows the command; "
                "its list of activities tells what became of the activity",
                command_id,
            )
        return None


def tango_host_of(given: str | None) -> str:
    """`HOST:PORT` of the Tango database: what is given, or as TANGO_HOST says, or the default."""
    import tango

    return given or tango.ApiUtil.get_env_var("TANGO_HOST") or DEFAULT_TANGO_HOST


def connect(
    device: str | None,
    tango_host: str | None,
    timeout: float = CALL_TIMEOUT,
    patience: float = AWAY_LIMIT,
) -> ActivityDevice:
    """The ActivityDevice to talk to: the one that is named, or the only one that there is.

    Args:
        device: its name; None asks the Tango database.
        tango_host: `HOST:PORT` of the Tango database; None: as TANGO_HOST says, or the default.
        timeout: seconds for an answer to one call.
        patience: seconds for which it may be away while the result of a command is waited for.

    Raises:
        DeviceAway: the Tango database does not answer, or has no such device.
        AmbiguousDevice: it must be named.
    """
    import tango

    tango_host = tango_host_of(tango_host)
    # Where there is none yet, the event system of cppTango would look for it in vain.
    os.environ.setdefault("TANGO_HOST", tango_host)
    if device is None:
        host, _, port = tango_host.partition(":")
        with errors_of(f"the Tango database {tango_host}"):
            database = tango.Database(host, int(port)) if port.isdecimal() else tango.Database()
            names = list(database.get_device_name("*", "ActivityDevice").value_string)
            exported = [name for name in names if database.import_device(name).exported]
        device = _only_one(exported or names, tango_host)
    return ActivityDevice(device, tango_host, timeout, patience)


def _only_one(names: list[str], tango_host: str) -> str:
    if not names:
        raise DeviceAway(
            f"the Tango database {tango_host} has no ActivityDevice: is it the right one?"
        )
    if len(names) > 1:
        raise AmbiguousDevice(
            f"the Tango database {tango_host} has several ActivityDevices: choose one of "
            f"{', '.join(sorted(names))}"
        )
    return names[0]


def started_at(device: Device) -> str | None:
    """When a device's server was started (UTC); None from a release that does not tell."""
    try:
        return str(device.read("serverStartedAt"))
    except Refused:
        return None


def _result_of(command_id: str, value: Any) -> LrcResult | None:
    """The result in a value of longRunningCommandResult, if it is that of `command_id`."""
    if value is None or len(value) < 2 or value[0] != command_id:
        return None
    code, text = json.loads(value[1])
    return LrcResult(int(code), str(text))
