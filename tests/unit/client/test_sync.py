"""What is sent again, and how, while a device does not answer or has forgotten."""

import json
import math
import time

import pytest

from ska_oso_activity.client import (
    ActivityClient,
    ActivityRequest,
    CommandFailed,
    CommandForgotten,
    DeviceAway,
    LrcResult,
    OutOfTime,
    Reason,
)
from tests.unit.client.fakes import FakeActivityDevice


class Stumbling(FakeActivityDevice):
    """Answers each command with the next of `answers`; keeps what it was sent."""

    def __init__(self, *answers):
        super().__init__()
        self.become("REQUESTED")
        self.summary["command_id"] = "1_RunActivity"
        self.answers = list(answers)
        self.sent = []

    def submit(self, command, argument):
        return self._next(command, argument)

    def complete(self, command, argument, waiting, *, timeout, interruption):
        return self._next(command, argument)

    def _next(self, command, argument):
        self.sent.append((command, argument))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


AWAY = DeviceAway("device does not answer")
FORGOTTEN = CommandForgotten("device no longer knows the command", "2_StopActivity")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("ska_oso_activity.client.retrying.CHECK_INTERVAL", 0.01)


def test_a_request_without_an_answer_is_sent_again_with_the_same_id():
    device, tries = Stumbling(AWAY, AWAY, "1_RunActivity"), []
    client = ActivityClient(device, on_away=tries.append)

    run = client.run(ActivityRequest("observe", sbd_id="sbd-1"))

    (first, *others) = [argument["request_id"] for _, argument in device.sent]
    assert first
    assert others == [first, first]
    assert tries == [AWAY, AWAY]
    assert (run.activity_id, run.command_id) == (12, "1_RunActivity")


def test_a_request_id_of_ones_own_is_sent():
    device = Stumbling("1_RunActivity", "1_RunActivity")
    client = ActivityClient(device)

    client.run(sbd_id="sbd-1", activity_name="observe", request_id="mine")
    client.run({"sbd_id": "sbd-1", "activity_name": "observe", "request_id": "mine"})

    assert [argument["request_id"] for _, argument in device.sent] == ["mine", "mine"]


def test_patience_has_an_end():
    device = Stumbling(*[AWAY] * 100)

    with pytest.raises(DeviceAway):
        ActivityClient(device, patience=0.03).run(sbd_id="sbd-1", activity_name="observe")
    assert 1 < len(device.sent) < 10


def test_starting_is_not_sent_twice():
    device = Stumbling(AWAY, "3_StartActivity")

    with pytest.raises(DeviceAway):
        ActivityClient(device).start(12)
    assert len(device.sent) == 1


def test_a_stop_that_was_forgotten_is_asked_for_by_the_activitys_id():
    device = Stumbling(FORGOTTEN, LrcResult(0, "Activity 12 was STOPPED"))

    result = ActivityClient(device).stop(subarray_id=3, run_abort=False)

    assert result.ok
    assert device.sent == [
        ("StopActivity", {"subarray_id": 3, "run_abort": False}),
        ("StopActivity", {"activity_id": 12, "run_abort": False}),
    ]


def test_a_check_that_was_forgotten_is_made_again():
    report = {"valid": True, "findings": []}
    device = Stumbling(FORGOTTEN, LrcResult(0, json.dumps(report)))

    assert ActivityClient(device).validate(sbd_id="sbd-1", activity_name="observe").valid


def test_a_check_that_failed_is_no_report():
    device = Stumbling(LrcResult(3, "EXECUTOR_UNAVAILABLE: nobody is there"))

    with pytest.raises(CommandFailed) as failed:
        ActivityClient(device).validate(sbd_id="sbd-1", activity_name="observe")
    assert failed.value.reason is Reason.EXECUTOR_UNAVAILABLE


def test_a_stop_has_its_time():
    with pytest.raises(OutOfTime, match="was not sent"):
        ActivityClient(Stumbling()).stop(12, timeout=0)


def test_requests_are_given_in_one_way():
    client = ActivityClient(Stumbling())

    with pytest.raises(TypeError, match="not both"):
        client.run(ActivityRequest("observe"), sbd_id="sbd-1")
    with pytest.raises(ValueError, match="say what to stop"):
        client.stop()


def test_following_outlives_a_device_that_is_away_at_first():
    device = Stumbling("1_RunActivity")
    client = ActivityClient(device, on_away=lambda _: setattr(device.device, "away", False))
    run = client.run(sbd_id="sbd-1", activity_name="observe")
    device.become("PREPARING", "FAILED")
    device.device.away = True

    states = [event.state.name for event in run.events(timeout=5)]

    assert states == ["REQUESTED", "PREPARING", "FAILED"]


@pytest.mark.parametrize("ask", [ActivityClient.stop, ActivityClient.describe])
def test_what_never_arrived_does_not_go_on(ask):
    device = Stumbling(*[AWAY] * 1000)

    with pytest.raises(DeviceAway):
        ask(ActivityClient(device), "12", timeout=0.1)
    assert device.sent


def test_what_was_accepted_goes_on():
    device = Stumbling()

    def complete(command, argument, waiting, *, timeout, interruption):
        waiting()
        time.sleep(timeout)  # as long as it has
        raise FORGOTTEN

    device.complete = complete

    with pytest.raises(OutOfTime, match="it goes on"):
        ActivityClient(device).stop(12, timeout=0.05)


@pytest.mark.parametrize("given", [{}, {"request_id": "mine"}])
def test_whatever_ends_a_run_tells_the_request_id_that_was_sent(given):
    device = Stumbling(*[AWAY] * 100)

    with pytest.raises(DeviceAway) as away:
        ActivityClient(device, patience=0).run(sbd_id="sbd-1", activity_name="observe", **given)
    assert away.value.request_id == device.sent[0][1]["request_id"]


def test_times_are_numbers():
    device = Stumbling()

    with pytest.raises(ValueError, match="not nan"):
        ActivityClient(device).activity(12).wait(math.nan)
    with pytest.raises(ValueError, match="not nan"):
        ActivityClient(device).stop(12, timeout=math.nan)
    for patience in (math.nan, -1):
        with pytest.raises(ValueError, match="patience"):
            ActivityClient(device, patience=patience)
