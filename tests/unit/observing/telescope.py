"""A telescope of plain objects, which does and says what a test has it do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ska_oso_activity.observing import Subarray
from ska_oso_activity.observing.course import Patience
from ska_oso_activity.observing.device import (
    DeviceError,
    EventsLost,
    Hear,
    Heard,
    ResultSeen,
    StateSeen,
)
from ska_oso_activity.observing.names import Names
from ska_oso_activity.observing.states import COMMANDS, ObsState

CENTRAL_NODE = "mid-tmc/central-node/0"
SUBARRAY = "mid-tmc/subarray/01"
NAMES = Names("mid", CENTRAL_NODE, "mid-tmc/subarray")
SOON = Patience(words_follow=0.1, result_follows=0.1, moves_within=0.1)
COMPLETED = '[0, "Command Completed"]'

Act = Callable[["FakeTelescope", "FakeDevice", str], object]
"""What a command does: says things, and returns what the command returns."""


class FakeDevice:
    """A device (implements `Device`)."""

    def __init__(self, telescope: FakeTelescope, name: str) -> None:
        self._telescope = telescope
        self._name = name
        self.hear: Hear | None = None
        self.hears_states = False
        self.result: tuple[str, str] | None = None
        self.closed = False
        self.dead = False

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def command(self, name: str, argument: str | None) -> object:
        """Do what the test has set for this command, or else what a good telescope does."""
        self._telescope.sent.append((self._name, name, argument))
        return self._telescope.acts.get(name, well)(self._telescope, self, name)

    def obs_state(self) -> ObsState:
        """What is true, heard or not."""
        if self._telescope.unreachable:
            raise DeviceError("no connection", lost=True)
        return self._telescope.state

    def last_result(self) -> tuple[str, str] | None:
        """What was the last, heard or not."""
        if self.dead:
            raise DeviceError("no connection", lost=True)
        return self.result

    def listen(self, hear: Hear, *, obs_state: bool) -> bool:
        """From now on."""
        self.hear, self.hears_states = hear, obs_state
        return self._telescope.tells_results

    def close(self) -> None:
        """No more."""
        self.closed = True


class FakeTelescope:
    """A CentralNode and one subarray.

    Attributes:
        state: the subarray's true obsState.
        acts: what commands do, by their names; others do well.
        sent: device, command and argument.
    """

    def __init__(self, state: ObsState = ObsState.EMPTY, **acts: Act) -> None:
        self.state = state
        self.acts: dict[str, Act] = acts
        self.sent: list[tuple[str, str, str | None]] = []
        self.tells_results = True
        self.unreachable = False
        self.devices: dict[str, FakeDevice] = {}
        self.sent_now = threading.Event()

    def connect(self, name: str) -> FakeDevice:
        """Make a device; what Subarray takes as `connect`."""
        self.devices[name] = FakeDevice(self, name)
        return self.devices[name]

    def to(self, *states: ObsState, quietly: bool = False) -> None:
        """Pass through states; quietly: without a word."""
        for state in states:
            self.state = state
            if not quietly:
                self.tell(StateSeen(state))

    def tell(self, heard: Heard) -> None:
        """Let the subarray say something."""
        hear = self.devices[SUBARRAY].hear
        assert hear is not None
        hear(heard)

    def finish(self, device: FakeDevice, command_id: str, text: str = COMPLETED) -> None:
        """Tell the result of a command."""
        device.result = (command_id, text)
        assert device.hear is not None
        device.hear(ResultSeen(device.name, command_id, text))

    def lose_events(self) -> None:
        """Let the subarray's events fail."""
        self.tell(EventsLost(SUBARRAY, "events do not come any more"))


def subarray_of(telescope: FakeTelescope, patience: Patience = SOON, **timeouts: float) -> Subarray:
    """What a script would command it with."""
    return Subarray(1, names=NAMES, connect=telescope.connect, patience=patience, timeouts=timeouts)


def later(seconds: float, call: Callable[..., object], *arguments: object) -> None:
    """Call from another thread, as events come."""
    threading.Timer(seconds, call, arguments).start()


def id_of(name: str) -> str:
    """The id under which a command of the fake runs."""
    return f"1764060000.1_123_{name}"


def accepted(name: str) -> Any:
    """The answer to a command that was accepted."""
    return [[2], [id_of(name)]]


def well(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
    """Do it at once: all states, then the result, then the reply."""
    command = next(each for each in COMMANDS if each.name == name)
    telescope.to(*command.through, command.target)
    telescope.finish(device, id_of(name))
    return accepted(name)
