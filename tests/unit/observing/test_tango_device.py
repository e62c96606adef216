"""A Tango attribute that holds no obsState is told in words, wherever it shows up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import tango

from ska_oso_activity.observing.device import DeviceError, EventsLost, Heard, StateSeen
from ska_oso_activity.observing.tango_device import OBS_STATE, TangoDevice


class FakeProxy:
    """A DeviceProxy whose attributes have the values that a test gives them.

    Attributes:
        values: by attribute; an exception is raised.
        callbacks: of subscriptions, by attribute.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, Any] = {}
        self.callbacks: dict[str, Any] = {}
        self.busy: set[str] = set()

    def read_attribute(self, name: str) -> Any:
        return SimpleNamespace(value=self.values[name])

    def subscribe_event(self, name: str, _kind: object, callback: Any) -> int:
        if name in self.busy:
            tango.Except.throw_exception("API_DeviceTimedOut", "3000 mS exceeded", "subscribe")
        self.callbacks[name] = callback
        return len(self.callbacks)

    def unsubscribe_event(self, number: int) -> None:
        self.callbacks.pop(list(self.callbacks)[number - 1])


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> TangoDevice:
    monkeypatch.setattr(tango, "DeviceProxy", FakeProxy)
    return TangoDevice("mid-tmc/subarray/01")


def proxy_of(device: TangoDevice) -> FakeProxy:
    proxy: Any = device._proxy
    assert isinstance(proxy, FakeProxy)
    return proxy


@pytest.mark.parametrize("value", [None, 42, "READY"])
def test_what_is_no_obs_state_cannot_be_read(device: TangoDevice, value: object) -> None:
    proxy_of(device).values[OBS_STATE] = value

    with pytest.raises(DeviceError, match=r"should be one of 0 EMPTY, .*10 RESTARTING"):
        device.obs_state()


def test_an_event_of_no_obs_state_is_told_as_a_lost_one(device: TangoDevice) -> None:
    told: list[Heard] = []
    device.listen(told.append, obs_state=True)
    tell = proxy_of(device).callbacks[OBS_STATE]

    for value in (4, None, 42):
        tell(SimpleNamespace(err=False, attr_value=SimpleNamespace(value=value)))

    first, second = told
    assert first == StateSeen(4)  # type: ignore[arg-type]
    assert isinstance(second, EventsLost)
    assert second.text.startswith("obsState reads 42, and should be one of")


def test_a_device_that_is_too_busy_for_a_subscription_is_not_heard_by_halves(
    device: TangoDevice,
) -> None:
    proxy_of(device).busy = {"longRunningCommandResult"}

    with pytest.raises(DeviceError) as caught:
        device.listen(lambda _: None, obs_state=True)

    assert caught.value.no_reply
    assert proxy_of(device).callbacks == {}
