"""A plain Tango client of one device: it looks, subscribes, and knows no more than the contract.

Like any client that wants to miss nothing it subscribes anew when the server was restarted, and
asks EventsSince for what it may have missed. It is a process of its own, as clients are: cppTango
keeps all subscriptions of a process in one place, so that one that is lost holds up the others.
`python -m faults.follower DEVICE ATTRIBUTE` tells what it sees in lines of JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import tango

LOOK = 0.05
"""Seconds between two looks at the device."""
ASK = 1.0
"""Seconds after which EventsSince is asked, whatever has come."""
TIMEOUT_MS = 1000


class Follower:
    """Follows one device until its standard output is closed."""

    def __init__(self, name: str, attribute: str) -> None:
        self._name, self._attribute = name, attribute
        self._started: str | None = None
        self._proxy: tango.DeviceProxy | None = None
        self._number: int | None = None
        self._writing = threading.Lock()
        self._epoch: str | None = None
        self._seq = 0
        self._asked = 0.0

    def run(self) -> None:
        while True:
            time.sleep(LOOK)
            self._look()

    def _tell(self, **what: Any) -> None:
        with self._writing:
            print(json.dumps(what), flush=True)

    def _look(self) -> None:
        begun = time.monotonic()
        try:
            if self._proxy is None:
                self._connect()
            assert self._proxy is not None
            found = self._proxy.read_attributes(["serverStartedAt", "healthState", "Status"])
            started, health, status = (each.value for each in found)  # type: ignore[attr-defined]
            now = time.monotonic()
            self._tell(look=[now, int(health), str(status), now - begun])
            if started != self._started or self._number is None:
                self._subscribe(now)
                self._started = started
            elif now - self._asked < ASK:
                return
            self._ask()
        except (tango.DevFailed, TypeError) as error:
            now = time.monotonic()
            self._tell(look=[now, None, _first_line(error), now - begun])
            self._let_go()

    def _connect(self) -> None:
        self._proxy = tango.DeviceProxy(self._name)
        self._proxy.set_timeout_millis(TIMEOUT_MS)

    def _subscribe(self, back: float) -> None:
        if self._number is not None:
            self._let_go()
            self._connect()
        assert self._proxy is not None
        self._number = self._proxy.subscribe_event(
            self._attribute, tango.EventType.CHANGE_EVENT, self._arrived
        )
        self._tell(live=[back, time.monotonic()])

    def _let_go(self) -> None:
        proxy, self._proxy = self._proxy, None
        number, self._number = self._number, None
        self._tell(dead=time.monotonic())
        with suppress(tango.DevFailed, KeyError):
            if proxy is not None and number is not None:
                proxy.unsubscribe_event(number)

    def _arrived(self, event: tango.EventData) -> None:
        now = time.monotonic()
        if not event.err and event.attr_value is not None and event.attr_value.value:
            self._tell(pushed=now, event=json.loads(event.attr_value.value))

    def _ask(self) -> None:
        assert self._proxy is not None
        newest = self._proxy.read_attribute(self._attribute).value  # type: ignore[attr-defined]
        epoch = json.loads(newest)["epoch"] if newest else None
        if epoch != self._epoch:
            self._epoch, self._seq = epoch, 0
        events = json.loads(self._proxy.command_inout("EventsSince", self._seq))
        now = self._asked = time.monotonic()
        for event in events:
            self._tell(filled=now, event=event)
            if event["epoch"] == self._epoch:
                self._seq = event["seq"]


def _first_line(error: Exception) -> str:
    if isinstance(error, tango.DevFailed):
        return str(error.args[0].desc).splitlines()[0]
    return str(error)


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        Follower(sys.argv[1], sys.argv[2]).run()
