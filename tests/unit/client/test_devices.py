"""The Tango client against a small device of ours, whose results come early, late or not at all."""

import json

import pytest
import tango
from tango.server import Device, attribute, command
from tango.test_context import DeviceTestContext

from ska_oso_activity.client.devices import ActivityDevice, LrcResult
from ska_oso_activity.client.errors import ClientError, DeviceAway, InvalidRequest, Refused

pytestmark = pytest.mark.forked


class Fake(Device):
    """StopActivity does what its argument says with its result."""

    def init_device(self):
        super().init_device()
        self.set_change_event("longRunningCommandResult", True, False)
        self.result = ["", ""]
        self.finished = []

    @attribute(dtype=(str,), max_dim_x=2)
    def longRunningCommandResult(self):  # noqa: N802
        return self.result

    @attribute(dtype=(str,), max_dim_x=100)
    def lrcFinished(self):  # noqa: N802
        return self.finished

    @command(dtype_in=str, dtype_out="DevVarLongStringArray")
    def StopActivity(self, how):  # noqa: N802
        result = [0, "Activity 12 STOPPED"]
        if how == "refuse":
            return [[5], ["UNKNOWN_ACTIVITY: no activity 12"]]
        if how == "raise":
            tango.Except.throw_exception("INVALID_REQUEST", "that is\n no request", "StopActivity")
        if how == "overtake":
            self.push_change_event("longRunningCommandResult", ["1_StopActivity", '[3, "x"]'])
            self.push_change_event(
                "longRunningCommandResult", ["2_StopActivity", json.dumps(result)]
            )
        if how == "lose the event":
            self.finished = [json.dumps({"uid": "2_StopActivity", "result": result})]
        return [[2], ["2_StopActivity"]]

    @command(dtype_in=str, dtype_out=str)
    def CheckLongRunningCommandStatus(self, command_id):  # noqa: N802
        return "NOT_FOUND"


@pytest.fixture
def device():
    with DeviceTestContext(Fake, process=True) as proxy:
        host, port = proxy.get_dev_host(), proxy.get_dev_port()
        yield ActivityDevice(f"tango://{host}:{port}/{proxy.dev_name()}#dbase=no", "")


def test_a_result_may_overtake_the_reply(device):
    result = device.complete("StopActivity", "overtake")

    assert result == LrcResult(0, "Activity 12 STOPPED")


def test_a_result_whose_event_is_lost_is_looked_up(device):
    result = device.complete("StopActivity", "lose the event")

    assert result == LrcResult(0, "Activity 12 STOPPED")


def test_a_device_that_forgot_the_command_is_told(device):
    with pytest.raises(ClientError, match="no longer knows the command"):
        device.complete("StopActivity", "forget")


def test_a_refusal_is_its_sentence(device):
    with pytest.raises(Refused, match=r"\AUNKNOWN_ACTIVITY: no activity 12\Z"):
        device.complete("StopActivity", "refuse")


def test_an_error_is_its_first_sentence_on_one_line(device):
    with pytest.raises(Refused, match=r"\Athat is no request\Z"):
        device.submit("StopActivity", "raise")


def test_a_device_that_is_not_there_is_away():
    with pytest.raises(DeviceAway, match=r"127\.0\.0\.1:1\) does not answer"):
        ActivityDevice("mid-oso/activity/01", "127.0.0.1:1")


def test_patience_counts_after_a_command_was_accepted_too(device, monkeypatch):
    impatient = ActivityDevice(device.device.name, "", patience=0)

    def away(_):
        raise DeviceAway("device does not answer")

    monkeypatch.setattr(impatient, "_look_up_result", away)

    with pytest.raises(DeviceAway):
        impatient.complete("StopActivity", "forget", timeout=20)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"bytes"])
def test_what_json_cannot_say_is_refused_before_it_is_sent(device, value):
    with pytest.raises(InvalidRequest, match="StopActivity takes what JSON can say"):
        device.submit("StopActivity", {"script_args": value})
