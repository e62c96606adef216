"""Long-running commands of an SKA device as its clients follow them, by either protocol (client).

Protocol 1 is three attributes that list all commands, `longRunningCommandStatus` and so on;
protocol 2 is one attribute, `_lrcEvent`, whose events are each about one command. Events that are
lost, in a restart of the server for example, are not told again: activity events are, by number.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ska_oso_activity.client.devices import LrcResult
from ska_oso_activity.client.errors import ClientError, OutOfTime, Refused
from ska_oso_activity.client.interruption import deadline_after
from ska_oso_activity.client.tango_device import Device, Subscription
from ska_oso_activity.domain.control_model import ENDED, TaskStatus

PROTOCOLS = (1, 2)
"""Those that are spoken here."""
KEPT = 100
"""How many commands are remembered; more, where the device lists more or more are waited for."""


_STATUSES = frozenset(TaskStatus)


@dataclass
class _Command:
    statuses: list[TaskStatus] = field(default_factory=list)
    result: LrcResult | None = None


class LongRunningCommands:
    """Listens to all long-running commands of a device; make it before you send one.

    Args:
        device: to listen to, such as `ActivityClient().device.device`.
        protocol: 1 or 2; None: the newest that both sides speak.

    Raises:
        DeviceAway: it does not answer.
        ClientError: it does not speak that protocol.
    """

    def __init__(self, device: Device, protocol: int | None = None) -> None:
        self.protocol = _agreed(device, protocol)
        self._changed = threading.Condition()
        self._commands: OrderedDict[str, _Command] = OrderedDict()
        self._listed: set[str] = set()
        self._awaited: Counter[str] = Counter()
        listeners: dict[str, Callable[[Any], None]] = (
            {"_lrcEvent": self._on_lrc_event}
            if self.protocol == 2
            else {
                "longRunningCommandResult": self._on_result,
                "longRunningCommandStatus": self._on_status,
            }
        )
        self._subscriptions: list[Subscription] = []
        try:
            for attribute, listener in listeners.items():
                self._subscriptions.append(device.subscribe(attribute, listener))
        except ClientError:
            self.close()
            raise

    def __enter__(self) -> LongRunningCommands:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions:
            subscription.close()

    def statuses(self, command_id: str) -> list[TaskStatus]:
        """The statuses that a command passed, as far as they were told."""
        with self._changed:
            found = self._commands.get(command_id)
            return list(found.statuses) if found else []

    def wait(self, command_id: str, timeout: float | None = None) -> LrcResult:
        """The result of a command, once its status says that it has ended.

        Raises:
            OutOfTime: it was not told within `timeout` seconds: still running, or the events lost.
        """
        deadline = deadline_after(timeout)
        with self._changed:
            self._awaited[command_id] += 1
            try:
                return self._wait(command_id, deadline)
            finally:
                self._awaited -= Counter([command_id])

    def _wait(self, command_id: str, deadline: float) -> LrcResult:
        while True:
            found = self._commands.get(command_id)
            if found and found.result and ENDED.intersection(found.statuses):
                return found.result
            left = deadline - time.monotonic()
            if left <= 0:
                raise OutOfTime(f"nothing was told of the end of {command_id}")
            self._changed.wait(None if left == math.inf else left)

    # Called by Tango's threads.

    def _on_status(self, value: Any) -> None:
        words = list(value or ())
        with self._changed:
            self._listed = set(words[::2])
            for command_id, status in zip(words[::2], words[1::2], strict=False):
                self._told(command_id, TaskStatus.__members__.get(status), None)
            self._forget()
            self._changed.notify_all()

    def _on_result(self, value: Any) -> None:
        if value is None or len(value) < 2 or not value[0]:
            return
        with self._changed:
            self._told(value[0], None, json.loads(value[1]))
            self._forget()
            self._changed.notify_all()

    def _on_lrc_event(self, value: Any) -> None:
        if value is None or len(value) < 2:  # the one at subscription
            return
        told = json.loads(value[1])
        status = told.get("status")
        with self._changed:
            known = TaskStatus(status) if status in _STATUSES else None  # or of a later release
            self._told(value[0], known, told.get("result"))
            self._forget()
            self._changed.notify_all()

    def _told(self, command_id: str, status: TaskStatus | None, result: Any) -> None:
        command = self._commands.setdefault(command_id, _Command())
        if status is not None and command.statuses[-1:] != [status]:
            command.statuses.append(status)
        if result is not None:
            command.result = LrcResult(int(result[0]), str(result[1]))

    def _forget(self) -> None:
        """Drop the oldest, but none that the device lists or that is waited for."""
        kept = {*self._listed, *self._awaited}
        for command_id in list(self._commands)[:-KEPT]:
            if command_id not in kept:
                del self._commands[command_id]


def _agreed(device: Device, wanted: int | None) -> int:
    try:
        least, greatest = (int(each) for each in device.read("lrcProtocolVersions"))
    except Refused:  # a device from before there were versions
        least = greatest = 1
    both = [each for each in PROTOCOLS if least <= each <= greatest]
    if wanted is None and both:
        return both[-1]
    if wanted is None or wanted not in both:
        asked = "any of 1 and 2" if wanted is None else str(wanted)
        raise ClientError(
            f"{device.name} speaks LRC protocols {least} to {greatest}, and not {asked}"
        )
    return wanted
