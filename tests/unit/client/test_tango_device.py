"""Tango's errors become ours, and what Tango cannot do is refused before it is tried."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import tango

from ska_oso_activity.client import ActivityClient, DeviceAway, InvalidRequest, Refused
from ska_oso_activity.client.tango_device import Device, Subscription, errors_of


def failure(reason, text):
    error = tango.DevError()
    error.reason, error.desc = reason, text
    return tango.DevFailed(error)


def test_a_lock_that_is_taken_is_no_refusal():
    text = 'Thread 2 is not able to acquire serialization monitor "subscription monitor"'

    with pytest.raises(DeviceAway), errors_of("a device"):
        raise failure("API_CommandTimedOut", text)


@pytest.mark.parametrize("reason", ["API_CommandNotFound", "API_AttrNotFound"])
def test_a_device_of_another_kind_is_named(reason):
    with pytest.raises(Refused, match="a device is another kind of device"), errors_of("a device"):
        raise failure(reason, "Command GetActivity not found")


@pytest.mark.parametrize("timeout", [0, -1, 1e9, float("nan"), float("inf")])
def test_a_time_for_a_call_that_tango_cannot_keep_is_refused(timeout):
    with pytest.raises(ValueError, match="the time for a call is"):
        ActivityClient("mid-oso/activity/01", tango_host="127.0.0.1:1", call_timeout=timeout)


@pytest.mark.parametrize("text", ["caf\u00e9", "telescope \U0001f52d"])
def test_words_that_tango_cannot_carry_are_refused(text):
    device = object.__new__(Device)  # no Tango database is there to connect to
    device._where = "a device"

    with pytest.raises(InvalidRequest, match="GetActivity of a device takes ASCII, and not"):
        device.call("GetActivity", text)


class Monitored:
    """A proxy that stands for cppTango, whose monitor one thread has at a time."""

    def __init__(self):
        self.monitor = threading.Lock()
        self.waited = 0

    def subscribe_event(self, attribute, event, deliver):
        return self._alone(1)

    def unsubscribe_event(self, number):
        self._alone(number)

    def _alone(self, number):
        if not self.monitor.acquire(blocking=False):
            self.waited += 1
            self.monitor.acquire()
        try:
            time.sleep(0.002)  # a call that takes its time, in which others may come
        finally:
            self.monitor.release()
        return number


def test_no_two_threads_of_ours_want_the_monitor_of_tango_at_once():
    proxy = Monitored()

    def listen(_):
        Subscription(proxy, "activityEvent", print, print).close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(listen, range(40)))

    assert proxy.waited == 0
