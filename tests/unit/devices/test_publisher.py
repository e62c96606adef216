"""The publisher pushes everything, in order, also what a device was let go over."""

import tango

from ska_oso_activity.devices.publisher import TangoPublisher
from tests.fakes import NEWS, eventually


class Device:
    """What TangoPublisher sees of a device that is let go while the second value is pushed."""

    def __init__(self):
        self.pushed = []
        self.publisher = TangoPublisher(self, self.on_told)
        self.told = []

    def on_told(self, seq):
        self.told.append((seq, len(self.pushed)))
        NEWS.tell()

    def get_device_attr(self):
        return self

    def get_attr_by_name(self, name):
        return self

    def change_event_subscribed(self):
        return True

    def archive_event_subscribed(self):
        return False

    def push_change_event(self, name, value):
        if value == 2 and self.publisher._has_device.is_set() and not self.told:
            self.publisher.pause()
            NEWS.tell()
            raise tango.DevFailed(tango.DevError())
        self.pushed.append(value)


def test_what_a_device_was_let_go_over_is_pushed_when_it_is_there_again():
    device = Device()
    device.publisher.publish([("activityId", 1), ("activityId", 2)], event=("e", 1))
    device.publisher.publish([("activityId", 3)], event=("e", 2))
    device.publisher.start()
    eventually(lambda: not device.publisher._has_device.is_set())
    assert device.told == []
    assert device.publisher.handed_over == ("e", 2)

    device.push_change_event = lambda name, value: device.pushed.append(value)
    device.publisher.resume()
    eventually(lambda: len(device.told) == 2)

    assert device.pushed == [1, 1, 2, 3]
    assert device.told == [(1, 3), (2, 4)]
