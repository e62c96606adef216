"""What a client of one device was told, and when; the client is a process (see `follower`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tango

from ska_oso_activity.cli.stack.program import SHIM

Json = dict[str, Any]
ROOT = Path(__file__).parent.parent


@dataclass
class Told:
    """One event, and how it came.

    Attributes:
        pushed: when it came by subscription.
        filled: when EventsSince gave it.
        odd: another content that came under the same number.
    """

    event: Json
    pushed: list[float] = field(default_factory=list)
    filled: float | None = None
    odd: Json | None = None


@dataclass(frozen=True)
class Look:
    """How the device was at a moment; no health: it did not answer."""

    time: float
    health: int | None
    status: str
    took: float


@dataclass
class Subscription:
    """A subscription while it was live.

    Attributes:
        back: when the device had first answered.
        arrivals: when, epoch and seq of what came; the value at subscription is not among them.
    """

    back: float
    begun: float
    ended: float | None = None
    arrivals: list[tuple[float, str, int]] = field(default_factory=list)


class Seen:
    """Everything that the client of one device has seen so far.

    Args:
        name: of the device, in full.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.short_name = name.split("/", 3)[3]
        self.told: dict[tuple[str, int], Told] = {}
        self.looks: list[Look] = []
        self.subscriptions: list[Subscription] = []
        self.newest: tuple[str, int] | None = None
        self.on_event: Callable[[Json, str], None] = lambda *_: None
        """Called with each event that is new to us, and how it came."""
        self._lock = threading.Lock()

    # --- What others ask

    def events(self) -> list[Told]:
        with self._lock:
            return list(self.told.values())

    def well_since(self, moment: float) -> bool:
        """Whether the device has said, after that moment, that it is well; the last that it did."""
        with self._lock:
            last = self.looks[-1] if self.looks else None
        return last is not None and last.health == 0 and last.time - last.took > moment

    # --- What the client tells

    def take(self, told: Json) -> None:
        """Note one line of the client's."""
        with self._lock:
            if "look" in told:
                self.looks.append(Look(*told["look"]))
            elif "live" in told:
                self.subscriptions.append(Subscription(*told["live"]))
            elif "dead" in told and self.subscriptions and self.subscriptions[-1].ended is None:
                self.subscriptions[-1].ended = told["dead"]
        if "event" in told:
            self._note(told["event"], pushed=told.get("pushed"), filled=told.get("filled"))

    def _note(
        self, event: Json, *, pushed: float | None = None, filled: float | None = None
    ) -> None:
        key = event["epoch"], event["seq"]
        with self._lock:
            new = key not in self.told
            told = self.told.setdefault(key, Told(event))
            if told.event != event:
                told.odd = event
            if pushed is not None:
                told.pushed.append(pushed)
                # The value at subscription comes before the line that says that it is live.
                if self.subscriptions and self.subscriptions[-1].ended is None:
                    self.subscriptions[-1].arrivals.append((pushed, *key))
            if filled is not None and told.filled is None:
                told.filled = filled
            if new:
                self.newest = key
        if new:
            self.on_event(event, "told" if pushed is not None else "read")


class Contact(Seen):
    """The client of one device: a process that lives until it is closed."""

    def __init__(self, name: str, attribute: str, environment: Mapping[str, str]) -> None:
        super().__init__(name)
        tied = [sys.executable, "-I", "-S", str(SHIM), str(os.getpid())]
        self._process = subprocess.Popen(
            [*tied, sys.executable, "-m", "faults.follower", name, attribute],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()

    def fill(self, since: int, patience: float) -> None:
        """Ask for all that came after `since`, until there is an answer."""
        deadline = time.monotonic() + patience
        while True:
            try:
                text = tango.DeviceProxy(self.name).command_inout("EventsSince", since)
                break
            except tango.DevFailed:
                if time.monotonic() > deadline:
                    return
                time.sleep(0.1)
        now = time.monotonic()
        for event in json.loads(text):
            self._note(event, filled=now)

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                self.take(json.loads(line))
