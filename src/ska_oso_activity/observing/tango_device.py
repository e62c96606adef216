"""A telescope's device behind Tango (observing library)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import tango

from ska_oso_activity.observing.device import (
    DeviceError,
    EventsLost,
    Hear,
    Heard,
    ResultSeen,
    StateSeen,
)
from ska_oso_activity.observing.states import ObsState

LOG = logging.getLogger(__name__)
RESULT = "longRunningCommandResult"
OBS_STATE = "obsState"
_LOST = frozenset(
    {
        "API_DeviceNotExported",
        "API_CantConnectToDevice",
        "API_ServerNotRunning",
        "API_CorbaException",
        "API_CommunicationFailed",
        "API_ConnectionFailed",
        "API_DeviceNotDefined",
        "DB_DeviceNotDefined",
    }
)


class TangoDevice:
    """A proxy that speaks the library's words (implements `Device`)."""

    def __init__(self, name: str) -> None:
        """Connect.

        Args:
            name: or TRL.

        Raises:
            DeviceError: no Tango database, or it does not know the device.
        """
        self._name = name
        self._subscriptions: list[int] = []
        try:
            self._proxy = tango.DeviceProxy(name)
        except tango.DevFailed as failure:
            raise _error(failure) from failure

    @property
    def name(self) -> str:
        """As it was asked for."""
        return self._name

    def command(self, name: str, argument: str | None) -> object:
        """Run a Tango command; returns what it returns, as plain Python."""
        try:
            if argument is None:
                return self._proxy.command_inout(name)
            return self._proxy.command_inout(name, argument)
        except tango.DevFailed as failure:
            raise _error(failure) from failure

    def obs_state(self) -> ObsState:
        """Read obsState."""
        try:
            return _obs_state(self._read(OBS_STATE))
        except tango.DevFailed as failure:
            raise _error(failure) from failure
        except ValueError as error:
            raise DeviceError(str(error)) from error

    def last_result(self) -> tuple[str, str] | None:
        """Read the last result; None if there is none, or no such attribute."""
        try:
            value = self._read(RESULT)
        except tango.DevFailed as failure:
            error = _error(failure)
            if error.lost or error.no_reply:
                raise error from failure
            return None
        return _result(value)

    def listen(self, hear: Hear, *, obs_state: bool) -> bool:
        """Subscribe; a device that tells no results is heard by its obsState alone."""

        def on_state(event: Any) -> None:
            _tell(hear, self._name, event, _state_seen)

        def on_result(event: Any) -> None:
            _tell(hear, self._name, event, self._result_seen)

        with tango.EnsureOmniThread():
            try:
                if obs_state:
                    self._subscribe(OBS_STATE, on_state)
                self._subscribe(RESULT, on_result)
            except tango.DevFailed as failure:
                error = _error(failure)
                if error.lost or error.no_reply or (obs_state and not self._subscriptions):
                    self.close()
                    raise error from failure
                LOG.warning("%s tells no results, obsState has to do: %s", self._name, error)
                return False
        return True

    def close(self) -> None:
        """Unsubscribe."""
        with tango.EnsureOmniThread():
            while self._subscriptions:
                try:
                    self._proxy.unsubscribe_event(self._subscriptions.pop())
                except tango.DevFailed:
                    continue  # it went with the device

    def _read(self, attribute: str) -> Any:
        read: Any = self._proxy.read_attribute(attribute)
        return read.value

    def _subscribe(self, attribute: str, callback: Any) -> None:
        kind = tango.EventType.CHANGE_EVENT
        self._subscriptions.append(self._proxy.subscribe_event(attribute, kind, callback))

    def _result_seen(self, value: Any) -> Heard | None:
        result = _result(value)
        return None if result is None else ResultSeen(self._name, *result)


def _tell(hear: Hear, device: str, event: Any, read: Any) -> None:
    """Pass an event on; called in Tango's own thread."""
    if event.err:
        hear(EventsLost(device, event.errors[0].desc.strip()))
        return
    try:
        heard = read(event.attr_value.value) if event.attr_value is not None else None
    except ValueError as error:
        heard = EventsLost(device, str(error))
    if heard is not None:
        hear(heard)


def _state_seen(value: Any) -> Heard | None:
    return None if value is None else StateSeen(_obs_state(value))


def _obs_state(value: Any) -> ObsState:
    """Understand the attribute's value.

    Raises:
        ValueError: it is invalid (None), or no obsState of ADR-8.
    """
    try:
        return ObsState(int(value))
    except (TypeError, ValueError):
        known = ", ".join(f"{state.value} {state.name}" for state in ObsState)
        raise ValueError(f"{OBS_STATE} reads {value!r}, and should be one of {known}") from None


def _result(value: Any) -> tuple[str, str] | None:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) < 2 or not value[0]:
        return None
    return str(value[0]), str(value[1])


def _error(failure: tango.DevFailed) -> DeviceError:
    """The device's own words stand first among the errors; what the client makes of it, last."""
    reasons = {str(error.reason) for error in failure.args}
    no_reply = not reasons.isdisjoint({"API_DeviceTimedOut", "API_CommandTimedOut"})
    lost = not no_reply and not reasons.isdisjoint(_LOST)
    said = failure.args[-1] if no_reply or lost else failure.args[0]
    return DeviceError(str(said.desc).strip(), no_reply=no_reply, lost=lost)
