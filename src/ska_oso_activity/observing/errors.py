"""What can go wrong while observing, each with the words of whoever said no (observing library)."""

from __future__ import annotations

from collections.abc import Iterable

from ska_oso_activity.observing.states import ObsState

SHOWN = 200
"""Characters of a block that an error shows at most."""


class ObservingError(Exception):
    """Something of an observation did not go as it should; the text says what to do."""


class NotConfigured(ObservingError):
    """The script's environment does not say which telescope to drive."""


class Untranslatable(ObservingError):
    """A Scheduling Block asks for something that the library cannot tell the telescope.

    Attributes:
        key: where in the block, such as `targets[0].reference_coordinate.kind`.
        found: what stands there.
        supported: what could stand there.
    """

    def __init__(self, key: str, found: object, supported: str) -> None:
        shown = repr(found)
        if len(shown) > SHOWN:
            shown = f"{shown[: SHOWN - 4]} ..."
        super().__init__(f"the block cannot be observed: {key} is {shown}; supported: {supported}")
        self.key = key
        self.found = found
        self.supported = supported


class CommandError(ObservingError):
    """A command to the telescope did not do what it is for.

    Attributes:
        command: such as `Configure`.
        device: who was commanded.
        obs_state: the subarray's, as far as is known.
    """

    def __init__(
        self, text: str, *, command: str, device: str, obs_state: ObsState | None = None
    ) -> None:
        super().__init__(text)
        self.command = command
        self.device = device
        self.obs_state = obs_state


class WrongState(CommandError):
    """The subarray's obsState does not allow the command, which was not sent."""

    @classmethod
    def of(
        cls, command: str, device: str, obs_state: ObsState, allowed: Iterable[ObsState]
    ) -> WrongState:
        """The error in words: what was asked, what is true now, what would be accepted."""
        states = " or ".join(state.name for state in sorted(allowed))
        text = f"{command} needs {device} to be {states}, and it is {obs_state.name}"
        if obs_state in (ObsState.FAULT, ObsState.ABORTED):
            text += "; Restart makes it EMPTY (the abort script does, with restart=True)"
        return cls(text, command=command, device=device, obs_state=obs_state)


class Refused(CommandError):
    """The device did not accept the command."""


class CommandFailed(CommandError):
    """The device accepted the command, and it failed later: the result says why."""


class SubarrayAstray(CommandError):
    """The subarray left the command's way: it faulted, was aborted or restarted, or did not scan on
    to the end.
    """


class ConnectionLost(CommandError):
    """A device does not answer any more."""


class TimedOut(CommandError):
    """The command was not over in time."""
