"""A client of long-running commands in both versions of the protocol, written from the contract.

It checks the shape of all that it is sent: what a device gets wrong is found in `faults`.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import tango

# Typed in from contracts/ska-device.md.
STATUSES = [
    *("STAGING", "QUEUED", "IN_PROGRESS", "ABORTED", "NOT_FOUND", "COMPLETED", "REJECTED"),
    "FAILED",
]
FOLLOWING = {
    None: {"STAGING"},
    "STAGING": {"QUEUED", "IN_PROGRESS", "REJECTED"},
    "QUEUED": {"IN_PROGRESS", "ABORTED", "REJECTED"},
    "IN_PROGRESS": {"COMPLETED", "FAILED", "ABORTED"},
}
TERMINAL = {"COMPLETED", "FAILED", "ABORTED", "REJECTED"}
STARTED, QUEUED, REJECTED = 1, 2, 5
ATTRIBUTES = {
    1: ("longRunningCommandStatus", "longRunningCommandProgress", "longRunningCommandResult"),
    2: ("_lrcEvent",),
}


class CommandRejected(Exception):
    """The device answered [[5], [reason]]."""


@dataclass
class Followed:
    """What was told of one command."""

    statuses: list[str] = field(default_factory=list)
    progress: list[int] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    early_end: bool = False
    """The last status came before any result: a client that unsubscribes then never gets it."""

    @property
    def ended(self) -> bool:
        return self.statuses[-1:] != [] and self.statuses[-1] in TERMINAL


class LrcClient:
    """Follows the long-running commands of one device by one version of the protocol.

    Args:
        version: 1 or 2; None: the newest that the device has.
    """

    def __init__(self, device: tango.DeviceProxy, version: int | None = None) -> None:
        least, greatest = (1, 1)
        if "lrcProtocolVersions" in device.get_attribute_list():
            least, greatest = (int(each) for each in device.lrcProtocolVersions)
        self.version = min(greatest, 2) if version is None else version
        if not least <= self.version <= greatest:
            raise RuntimeError(f"the device speaks {least} to {greatest}, not {self.version}")
        self.faults: list[str] = []
        self.commands: dict[str, Followed] = {}
        self._others: set[str] = set()
        self._news = threading.Condition()
        self._device = device
        take = {1: self._take_v1, 2: self._take_v2}[self.version]
        self._first = set(ATTRIBUTES[self.version])
        self._ids = [
            device.subscribe_event(
                name, tango.EventType.CHANGE_EVENT, lambda event, n=name: self._take(n, event, take)
            )
            for name in ATTRIBUTES[self.version]
        ]

    def close(self) -> None:
        for number in self._ids:
            self._device.unsubscribe_event(number)
        self._ids = []

    def __enter__(self) -> LrcClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def invoke(self, command: str, argument: Any = None) -> str:
        """Send a command; its id.

        Raises:
            CommandRejected: with the reason.
        """
        arguments = () if argument is None else (argument,)
        answer = self._device.command_inout(command, *arguments)
        [code], [text] = answer
        if code == REJECTED:
            raise CommandRejected(text)
        if code not in (STARTED, QUEUED):
            self._fault(f"{command} answered code {code}: {text}")
        if text.split("_")[-1] != command:
            self._fault(f"the id {text} does not end with {command}")
        return str(text)

    def wait(self, command_id: str, seconds: float = 30.0) -> Followed:
        """What was told of a command, once it has ended."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not (command_id in self.commands and self.commands[command_id].ended):
                left = deadline - time.monotonic()
                if left <= 0:
                    told = self.commands.get(command_id)
                    raise TimeoutError(f"{command_id} did not end in {seconds} s: {told}")
                self._news.wait(left)
            return self.commands[command_id]

    def unfinished(self, command_ids: set[str]) -> set[str]:
        """Those of the commands that have not ended."""
        with self._news:
            return {
                each
                for each in command_ids
                if each not in self.commands or not self.commands[each].ended
            }

    def await_room(self, command_ids: set[str], most: int, seconds: float = 30.0) -> None:
        """Wait until fewer than `most` of the commands are unfinished."""
        deadline = time.monotonic() + seconds
        with self._news:
            while len(left := self.unfinished(command_ids)) >= most:
                if not self._news.wait(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"{len(left)} commands have not ended in {seconds} s")
            command_ids &= left

    # --- Events ----------------------------------------------------------------------------------

    def _take(self, name: str, event: tango.EventData, take: Any) -> None:
        if event.err:
            self._fault(f"{name}: {event.errors[0].desc}")
            return
        attribute: Any = event.attr_value
        if attribute.type != tango.CmdArgType.DevString or attribute.dim_y != 0:
            self._fault(f"{name} is {attribute.type} of {attribute.dim_x} x {attribute.dim_y}")
        value = tuple(attribute.value or ())
        first = name in self._first
        self._first.discard(name)
        with self._news:
            take(name, value, first)
            self._news.notify_all()

    def _take_v2(self, name: str, value: tuple[str, ...], first: bool) -> None:
        if first:
            if value:
                self._fault(f"{name} reads as {value}, and should always be empty")
            return
        if len(value) != 2:
            self._fault(f"{name} has {len(value)} elements")
            return
        uid, text = value
        news = json.loads(text)
        if not isinstance(news, dict) or not news or set(news) - {"status", "progress", "result"}:
            self._fault(f"{name} of {uid}: {text}")
            return
        if "result" in news:
            self._result(uid, news["result"])
        if "progress" in news:
            self._progress(uid, news["progress"])
        if "status" in news:
            if not isinstance(news["status"], int):
                self._fault(f"status of {uid} is {news['status']!r}")
            self._status(uid, STATUSES[int(news["status"])])

    def _take_v1(self, name: str, value: tuple[str, ...], first: bool) -> None:
        if len(value) % 2:
            self._fault(f"{name} has an odd number of elements: {value}")
            return
        pairs = list(zip(value[::2], value[1::2], strict=True))
        if len({uid for uid, _ in pairs}) != len(pairs):
            self._fault(f"{name} lists a command twice: {value}")
        for uid, text in pairs:
            if first:
                self._others.add(uid)
            if uid in self._others:
                continue  # it was there before we listened
            if name == "longRunningCommandStatus":
                if self.commands.get(uid, Followed()).statuses[-1:] != [text]:
                    self._status(uid, text)
            elif name == "longRunningCommandProgress":
                if self.commands.get(uid, Followed()).progress[-1:] != [int(text)]:
                    self._progress(uid, int(text))
            else:
                self._result(uid, json.loads(text))

    def _status(self, uid: str, status: str) -> None:
        told = self.commands.setdefault(uid, Followed())
        before = told.statuses[-1] if told.statuses else None
        if status not in FOLLOWING.get(before, set()):
            self._fault(f"{uid} went from {before} to {status}")
        told.statuses.append(status)
        told.early_end = status in TERMINAL and not told.results

    def _progress(self, uid: str, progress: Any) -> None:
        told = self.commands.setdefault(uid, Followed())
        if not isinstance(progress, int) or told.ended:
            self._fault(f"progress {progress!r} of {uid}, which is {told.statuses[-1:]}")
        told.progress.append(progress)

    def _result(self, uid: str, result: Any) -> None:
        match result:
            case [int(), str()]:
                pass
            case _:
                self._fault(f"result of {uid} is {result!r}")
        self.commands.setdefault(uid, Followed()).results.append(result)

    def _fault(self, what: str) -> None:
        self.faults.append(what)
