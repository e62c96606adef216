"""Sends commands and waits for their end, by events and against the clock (observing library).

All waits are of the script's own thread and end at once when it is interrupted. Calls to devices,
which cannot be interrupted, are made by threads of their own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, TypeVar

from ska_oso_activity.observing.course import Course, Errand, Patience
from ska_oso_activity.observing.device import (
    Device,
    DeviceError,
    EventsLost,
    Heard,
    NotTaken,
    Replied,
    StateSeen,
)
from ska_oso_activity.observing.errors import ConnectionLost, TimedOut, WrongState
from ska_oso_activity.observing.states import Command, ObsState

LOG = logging.getLogger(__name__)
T = TypeVar("T")
BREATH = 0.5
"""Seconds that Python waits without looking up: a signal that comes in the instant before it falls
asleep is only seen when it wakes."""


class _Call(Generic[T]):
    """A call made by another thread, which can be waited for."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._value: T | None = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        threading.Thread(target=self._run, daemon=True, name="telescope-call").start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:  # it is raised by `result`
            self._error = error
        finally:
            self._done.set()

    def result(self) -> T:
        while not self._done.wait(BREATH):
            pass
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


def apart(function: Callable[[], T]) -> T:
    """Call a function in another thread and wait for it; an interrupt ends the wait at once."""
    return _Call(function).result()


class Watch:
    """Follows a subarray and those who command it."""

    def __init__(
        self,
        subarray: Device,
        commanders: Iterable[Device] = (),
        patience: Patience | None = None,
    ) -> None:
        """Begin to listen.

        Args:
            subarray: whose obsState counts.
            commanders: others that take commands, such as the CentralNode.
            patience: None: as is usual.

        Raises:
            ConnectionLost: one cannot be heard.
        """
        self._subarray = subarray
        self._patience = patience or Patience()
        self._devices = [subarray, *commanders]
        self._inbox: SimpleQueue[Heard] = SimpleQueue()
        self._tells_results = {
            device.name: self._try("listen to it", partial(self._listen, device), device)
            for device in self._devices
        }

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None or issubclass(kind, Exception):  # after an interrupt nobody waits
            self.close()

    def close(self) -> None:
        """Hear nothing more."""
        for device in self._devices:
            apart(device.close)

    def obs_state(self) -> ObsState:
        """The subarray's obsState, read now.

        Raises:
            ConnectionLost: it cannot be read.
        """
        return self._try("read obsState", self._subarray.obs_state, self._subarray)

    def run(
        self,
        command: Command,
        device: Device,
        argument: str | None = None,
        *,
        seconds: float | None = None,
        least: float = 0.0,
    ) -> None:
        """Send a command and wait for its result and for the obsState that it leads to.

        Args:
            device: who gets it.
            argument: its JSON, if it takes any.
            seconds: how long it may take; None: as is usual.
            least: what it takes at least, on top of which `seconds` come.

        Raises:
            WrongState: obsState does not allow it; nothing was sent.
            CommandError: it was not accepted, failed, was not over in time, or the subarray went
                astray; the text has TMC's words.
        """
        start = self.obs_state()
        if start not in command.allowed:
            raise WrongState.of(command.name, self._subarray.name, start, command.allowed)
        self._forget()
        errand = Errand(
            command,
            device.name,
            self._subarray.name,
            seconds=least + (command.seconds if seconds is None else seconds),
            least=least,
            results_told=self._tells_results[device.name],
        )
        course = Course(errand, start, time.monotonic(), self._patience)
        LOG.info("%s: %s", device.name, command.name)
        _Call(lambda: self._send(device, command.name, argument))
        while not course.settled(time.monotonic()):
            now = time.monotonic()
            doubt = course.doubt(now)
            if doubt is not None:
                LOG.debug("%s: obsState is read, because %s", command.name, doubt.value)
                asked = self._subarray
                try:
                    state = apart(asked.obs_state)
                    asked = device
                    last = apart(asked.last_result)
                except DeviceError as error:
                    raise course.lost(doubt, asked.name, error) from error
                course.clear_up(doubt, state, last, time.monotonic())
                continue
            heard = self._next(course.wakes() - now)
            if heard is not None:
                course.hear(heard, time.monotonic())
        LOG.info("%s: %s is over, %s", device.name, command.name, course.state.name)

    def wait_for(self, states: Iterable[ObsState], seconds: float, why: str) -> ObsState:
        """Wait until the subarray is in one of `states`; returns which.

        Args:
            why: what is going on, for the message of a time-out.

        Raises:
            TimedOut: it was in none, also when it was read at the end.
            ConnectionLost: it does not answer.
        """
        wanted = frozenset(states)
        deadline = time.monotonic() + seconds
        state = self.obs_state()
        while state not in wanted:
            left = deadline - time.monotonic()
            heard = self._next(left) if left > 0 else None
            if isinstance(heard, StateSeen):
                state = heard.state
            elif heard is None or isinstance(heard, EventsLost):
                state = self.obs_state()
                if heard is None and state not in wanted:
                    names = " or ".join(each.name for each in sorted(wanted))
                    name = self._subarray.name
                    still = f"{name} is still {state.name} after {seconds:g} s of {why}"
                    text = f"{still}: awaited {names}"
                    raise TimedOut(text, command=why, device=name, obs_state=state)
        return state

    def _send(self, device: Device, name: str, argument: str | None) -> None:
        try:
            self._inbox.put(Replied(device.command(name, argument)))
        except DeviceError as error:
            self._inbox.put(NotTaken(error))

    def _listen(self, device: Device) -> bool:
        return device.listen(self._inbox.put, obs_state=device is self._subarray)

    def _next(self, seconds: float) -> Heard | None:
        """What is heard next, if it is within `seconds`."""
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            try:
                return self._inbox.get(timeout=min(max(0.0, left), BREATH))
            except Empty:
                if left <= BREATH:
                    return None

    def _forget(self) -> None:
        """What was heard before a command is not about it."""
        while self._next(0) is not None:
            pass

    def _try(self, what: str, call: Callable[[], T], device: Device) -> T:
        try:
            return apart(call)
        except DeviceError as error:
            text = f"{device.name} does not answer: could not {what}: {error}"
            raise ConnectionLost(text, command=what, device=device.name) from error
