"""What the library needs of a telescope's device, and what it hears of it (observing library)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ska_oso_activity.observing.states import ObsState


class DeviceError(Exception):
    """A call to a device failed; the text is the device's own.

    Attributes:
        no_reply: it may have taken the command all the same.
        lost: it cannot be reached.
    """

    def __init__(self, text: str, *, no_reply: bool = False, lost: bool = False) -> None:
        super().__init__(text)
        self.no_reply = no_reply
        self.lost = lost


@dataclass(frozen=True)
class StateSeen:
    """The subarray's obsState, by an event."""

    state: ObsState


@dataclass(frozen=True)
class ResultSeen:
    """The result of a long-running command, by an event.

    Attributes:
        device: whose command it is.
        command_id: such as `1764060000.1_123_Configure`.
        text: as it came, such as `[0, "Command Completed"]`.
    """

    device: str
    command_id: str
    text: str


@dataclass(frozen=True)
class EventsLost:
    """A device's events do not come any more, or some were missed."""

    device: str
    text: str


@dataclass(frozen=True)
class Replied:
    """What the command itself returned: None, or `[[code], [id or text]]`.

    Attributes:
        sending: number of the sending that it answers.
    """

    value: object
    sending: int = 0


@dataclass(frozen=True)
class NotTaken:
    """The command itself raised.

    Attributes:
        sending: number of the sending that it answers.
    """

    error: DeviceError
    sending: int = 0


Heard = StateSeen | ResultSeen | EventsLost | Replied | NotTaken
Hear = Callable[[Heard], None]


class Device(Protocol):
    """A device of the telescope. Every method may wait for the network, a few seconds at most."""

    @property
    def name(self) -> str: ...

    def command(self, name: str, argument: str | None) -> object:
        """Run a Tango command.

        Raises:
            DeviceError: it was refused, or there was no answer.
        """

    def obs_state(self) -> ObsState:
        """Read obsState.

        Raises:
            DeviceError: it cannot be read.
        """

    def last_result(self) -> tuple[str, str] | None:
        """The id and the text of the last result, if the device tells any.

        Raises:
            DeviceError: it does not answer.
        """

    def listen(self, hear: Hear, *, obs_state: bool) -> bool:
        """Report results from now on, and obsState if asked; what is true now comes first.

        Returns:
            Whether the device tells results of long-running commands at all.

        Raises:
            DeviceError: it cannot be heard.
        """

    def close(self) -> None:
        """Report nothing more."""
