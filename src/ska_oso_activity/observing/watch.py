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
from typing import Generic, TypeVar

from ska_oso_activity.observing.course import Course, Doubt, Errand, Patience
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

LOG = logging.getLogger("observing")  # its lines are for people who follow the script
T = TypeVar("T")
BREATH = 0.5
"""Seconds that Python waits without looking up: a signal that comes in the instant before it falls
asleep is only seen when it wakes."""
PAUSE = 0.2
"""Seconds between two tries of the same call."""


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


def patiently(function: Callable[[], T], until: float) -> T:
    """Call a function apart, again and again while its device is too busy to answer.

    Args:
        until: when to give that up, by the monotonic clock. Other errors are tried twice.

    Raises:
        DeviceError: that of the last try.
    """
    tries = 0
    while True:
        try:
            return apart(function)
        except DeviceError as error:
            tries += 1
            again = time.monotonic() < until if error.no_reply else tries < 2
            if not again:
                raise
            LOG.debug("tried again, because of: %s", error)
        time.sleep(PAUSE)  # nothing tells when it would answer


class Watch:
    """Follows a subarray and those who command it."""

    def __init__(self, subarray: Device, patience: Patience) -> None:
        """Begin to listen to the subarray, whose obsState counts.

        Others that take commands are listened to from their first command on.

        Raises:
            ConnectionLost: it cannot be heard.
        """
        self._subarray = subarray
        self._patience = patience
        self._inbox: SimpleQueue[Heard] = SimpleQueue()
        self._sendings = 0
        self._devices: list[Device] = []
        self._tells_results: dict[str, bool] = {}
        self._listen(subarray)

    def close(self) -> None:
        """Hear nothing more."""
        for device in self._devices:
            apart(device.close)

    def obs_state(self, seconds: float | None = None) -> ObsState:
        """The subarray's obsState, read now.

        Args:
            seconds: how long it may be too busy to answer; None: as is usual.

        Raises:
            ConnectionLost: it cannot be read.
        """
        return self._try("read obsState", self._subarray.obs_state, self._subarray, seconds)

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
        seconds = least + (command.seconds if seconds is None else seconds)
        if device.name not in self._tells_results:
            self._listen(device)
        start = self.obs_state(seconds)
        if start not in command.allowed:
            raise WrongState.of(command.name, self._subarray.name, start, command.allowed)
        self._forget()
        errand = Errand(
            command,
            device.name,
            self._subarray.name,
            seconds=seconds,
            least=least,
            results_told=self._tells_results[device.name],
        )
        course = Course(errand, start, time.monotonic(), self._patience)
        LOG.info("%s: %s", device.name, command.name)
        self._sendings += 1
        _Call(partial(self._send, device, command.name, argument, self._sendings))
        while not course.settled(time.monotonic()):
            before = course.state
            self._go_on(course, command, device)
            if course.state is not before:
                LOG.info("%s is %s", self._subarray.name, course.state.name)
        LOG.debug("%s: %s is over, %s", device.name, command.name, course.state.name)

    def _go_on(self, course: Course, command: Command, device: Device) -> None:
        """Hear what comes next, or read what is in doubt."""
        now = time.monotonic()
        doubt = course.doubt(now)
        if doubt is None:
            self._hear(course, course.wakes() - now)
            return
        LOG.debug("%s: obsState is read, because %s", command.name, doubt.value)
        asked = self._subarray
        try:
            state = patiently(asked.obs_state, now)
            asked = device
            last = patiently(asked.last_result, now)
        except DeviceError as error:
            busy = error.no_reply and time.monotonic() < course.deadline
            if busy and doubt is not Doubt.FAILED:
                self._hear(course, PAUSE)  # it is busy: ask again
                return
            raise course.lost(doubt, asked.name, error) from error
        course.clear_up(doubt, state, last, time.monotonic())

    def _hear(self, course: Course, seconds: float) -> None:
        """Let the course hear what comes next, unless it answers a command that was given up."""
        heard = self._next(seconds)
        if isinstance(heard, (Replied, NotTaken)) and heard.sending != self._sendings:
            LOG.info("an answer came late, to a command that was given up: %s", heard)
        elif heard is not None:
            course.hear(heard, time.monotonic())

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
        self._forget()
        state = self.obs_state(seconds)
        while state not in wanted:
            left = deadline - time.monotonic()
            heard = self._next(left) if left > 0 else None
            seen = isinstance(heard, StateSeen) and heard.state in wanted
            if heard is None or seen or isinstance(heard, EventsLost):
                state = self.obs_state(max(0.0, deadline - time.monotonic()))
                if heard is None and state not in wanted:
                    names = " or ".join(each.name for each in sorted(wanted))
                    name = self._subarray.name
                    still = f"{name} is still {state.name} after {seconds:g} s of {why}"
                    text = f"{still}: awaited {names}"
                    raise TimedOut(text, command=why, device=name, obs_state=state)
        return state

    def _send(self, device: Device, name: str, argument: str | None, sending: int) -> None:
        heard: Heard
        try:
            heard = Replied(device.command(name, argument), sending)
        except DeviceError as error:
            heard = NotTaken(error, sending)
        except Exception as error:  # such as a TypeError of PyTango, which cannot send it
            heard = NotTaken(DeviceError(f"{type(error).__name__}: {error}"), sending)
        self._inbox.put(heard)

    def _listen(self, device: Device) -> None:
        """Hear a device from now on.

        Raises:
            ConnectionLost: it cannot be heard.
        """

        def listen() -> bool:
            return device.listen(self._inbox.put, obs_state=device is self._subarray)

        try:
            self._tells_results[device.name] = self._try("listen to it", listen, device)
        except ConnectionLost:
            apart(device.close)
            raise
        self._devices.append(device)

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

    def _try(
        self, what: str, call: Callable[[], T], device: Device, seconds: float | None = None
    ) -> T:
        patience = self._patience.answers if seconds is None else seconds
        try:
            return patiently(call, time.monotonic() + patience)
        except DeviceError as error:
            silent = error.lost or error.no_reply
            text = f"{device.name} {'does not answer' if silent else 'is of no help'}"
            text += f": could not {what}: {error}"
            raise ConnectionLost(text, command=what, device=device.name) from error
