"""A device that lost its history gives old numbers to others, which are not taken for ours."""

import json

import pytest

from ska_oso_activity.client import (
    ActivityClient,
    DeviceAway,
    LrcResult,
    UnknownActivity,
    follow,
    follow_script,
    retrying,
)
from ska_oso_activity.client.follow import Follower
from ska_oso_activity.client.happenings import Announced, Finished, OutputWritten, StateChanged
from tests.unit.client.fakes import FakeActivityDevice

LIMIT = 20.0
OURS, OTHERS = "1_RunActivity", "2_RunActivity"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for module in (follow, follow_script, retrying):
        monkeypatch.setattr(module, "CHECK_INTERVAL", 0.01)


class Device(FakeActivityDevice):
    """Knows activity 12 by its command, too; keeps what it was sent."""

    def __init__(self):
        super().__init__()
        self.sent = []
        self.answers = []
        self.summary["command_id"] = OURS
        self.become("REQUESTED", "PREPARING", "READY", "RUNNING")

    def activity(self, key):
        if str(key) not in ("12", self.summary["command_id"]):
            raise UnknownActivity(f"no activity is known by {key!r}")
        return super().activity(key)

    def submit(self, command, argument):
        self.sent.append((command, argument))
        return self.summary["command_id"]

    def complete(self, command, argument, waiting, *, timeout, interruption):
        self.sent.append((command, argument))
        answer = self.answers.pop(0)
        if isinstance(answer, DeviceAway):
            self.lose_history()
            raise answer
        return answer

    def lose_history(self):
        self.summary["command_id"] = OTHERS


@pytest.fixture
def device():
    return Device()


@pytest.fixture
def run(device):
    return ActivityClient(device).activity(12)


def test_a_run_of_a_lost_history_is_not_taken_for_another(device, run):
    device.lose_history()

    for ask in (run.wait, run.summary, run.start, lambda: list(run.events(timeout=LIMIT))):
        with pytest.raises(UnknownActivity):
            ask()
    assert device.sent == []


def test_a_run_of_a_lost_history_stops_no_other(device, run):
    device.lose_history()

    with pytest.raises(UnknownActivity, match="activity 12 is another one now"):
        run.stop(timeout=LIMIT)
    assert device.sent == []


def test_a_run_is_stopped_by_its_number(device, run):
    device.answers = [LrcResult(0, "Activity 12 STOPPED")]

    assert run.stop(timeout=LIMIT).ok
    assert device.sent == [("StopActivity", {"activity_id": 12, "run_abort": True})]


def test_a_stop_is_not_sent_again_to_another_activity(device):
    device.answers = [DeviceAway("device does not answer")]

    with pytest.raises(UnknownActivity):
        ActivityClient(device).stop(12, timeout=LIMIT)
    assert len(device.sent) == 1


def test_following_ends_when_the_history_is_lost_meanwhile(device):
    follower = Follower(device)
    follower.follow(12)
    following = iter(follower)
    told = [next(following) for _ in range(4)]

    device.lose_history()
    device.become("SUCCEEDED")

    with pytest.raises(UnknownActivity, match="activity 12 is another one now"):
        list(following)
    assert all(isinstance(each, StateChanged) for each in told)


@pytest.mark.parametrize(
    "record",
    [{"request_id": "of another"}, {"request_id": "execution", "labels": {"activity_id": 13}}],
)
def test_output_of_another_script_with_the_same_number_is_not_told(device, record):
    device.assign()
    device.running_in.write("ours")
    follower = Follower(device)
    follower.follow(12)
    following = iter(follower)
    while not isinstance(told := next(following), OutputWritten):
        pass
    executor = device.running_in
    executor.device.push("scriptMessage", json.dumps({"procedure_id": 7, "message": "hello"}))
    while not isinstance(next(following), Announced):
        pass

    executor.record, executor.server = record, "2026-11-24T23:00:00.000000Z"
    executor.write("of another", "and more", lost=True)
    device.become("SUCCEEDED")
    rest = list(following)

    assert [line["text"] for line in told.lines] == ["ours"]
    assert not [each for each in rest if isinstance(each, OutputWritten)]
    assert isinstance(rest[-1], Finished)
