"""An activity is followed to its end whatever events are lost."""

import json

import pytest

from ska_oso_activity.cli import follow, follow_script
from ska_oso_activity.cli.errors import DeviceAway
from ska_oso_activity.cli.follow import Follower
from ska_oso_activity.cli.happenings import (
    Announced,
    Finished,
    Noted,
    OutputWritten,
    Progressed,
    StateChanged,
)
from tests.unit.cli.fakes import FakeActivityDevice


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Look at silent devices every 10 ms, and give up after 50."""
    monkeypatch.setattr(follow, "CHECK_INTERVAL", 0.01)
    monkeypatch.setattr(follow_script, "CHECK_INTERVAL", 0.01)
    monkeypatch.setattr(follow, "AWAY_LIMIT", 0.05)


@pytest.fixture
def device():
    return FakeActivityDevice()


def states(happenings):
    return [h.state.name for h in happenings if isinstance(h, StateChanged)]


def texts(happenings):
    return [line["text"] for h in happenings if isinstance(h, OutputWritten) for line in h.lines]


def take_until(following, kind):
    """The happenings up to the first of a kind."""
    taken = []
    for happening in following:
        taken.append(happening)
        if isinstance(happening, kind):
            return taken
    raise AssertionError(f"no {kind} in {taken}")


def followed(device, **options):
    follower = Follower(device)
    device.become("REQUESTED")
    assert follower.follow("command", **options) == 12
    return follower


@pytest.mark.parametrize("lost", [False, True])
def test_every_state_and_line_is_told_once_and_in_order(device, lost):
    follower = followed(device)
    device.become("PREPARING", lost=lost)
    device.assign()
    device.running_in.write("from init", lost=lost)
    device.become("READY", "RUNNING", lost=lost)
    device.running_in.write("from main", "the end", lost=lost)
    device.become("SUCCEEDED", lost=lost)

    told = list(follower)

    assert states(told) == ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]
    assert texts(told) == ["from init", "from main", "the end"]
    assert isinstance(told[-1], Finished)
    assert told[-1].summary["state"] == "SUCCEEDED"


def test_lost_events_make_the_subscription_be_renewed(device):
    follower = followed(device)
    following = iter(follower)
    take_until(following, StateChanged)

    device.become("PREPARING", lost=True)
    take_until(following, StateChanged)

    assert device.device.subscriptions[0].renewals > 0


def test_output_that_no_event_told_of_is_fetched(device):
    follower = followed(device)
    device.assign()
    device.become("RUNNING")
    following = iter(follower)
    device.running_in.write("one")
    take_until(following, OutputWritten)

    device.running_in.write("two", lost=True)

    assert texts(take_until(following, OutputWritten)) == ["two"]


def test_preparing_ends_at_ready(device):
    follower = followed(device, until_ready=True)
    device.become("PREPARING", "READY")

    told = list(follower)

    assert states(told) == ["REQUESTED", "PREPARING", "READY"]
    assert told[-1].summary["state"] == "READY"


def test_an_activity_that_ended_before_is_told_whole(device):
    device.become("REQUESTED", "PREPARING", "FAILED")
    follower = Follower(device)
    follower.follow(12)

    assert states(follower) == ["REQUESTED", "PREPARING", "FAILED"]


def test_progress_and_announcements_are_told(device):
    follower = followed(device)
    device.assign()
    device.become("RUNNING")
    following = iter(follower)
    take_until(following, StateChanged)
    take_until(following, StateChanged)
    executor = device.running_in.device
    announced = take_announcement(following, executor, 7)

    other = {"procedure_id": 8, "progress": 5.0, "message": "of another script"}
    executor.push("scriptProgress", json.dumps(other))
    ours = {"procedure_id": 7, "progress": 50.0, "message": "half way"}
    executor.push("scriptProgress", json.dumps(ours))

    assert announced == "hello"
    assert take_until(following, Progressed)[-1] == Progressed(12, 50.0, "half way")


def take_announcement(following, executor, procedure_id):
    told = {"procedure_id": procedure_id, "message": "hello"}
    executor.push("scriptMessage", json.dumps(told))
    return take_until(following, Announced)[-1].message


def test_the_record_has_the_last_lines_when_the_executor_is_away(device):
    follower = followed(device)
    device.assign()
    device.become("RUNNING")
    following = iter(follower)
    device.running_in.write("one")
    take_until(following, OutputWritten)

    device.running_in.device.away = True
    device.summary["output_tail"] = [{"n": n, "text": str(n), "stream": ""} for n in range(3)]
    device.become("FAILED")

    assert texts(following) == ["1", "2"]


def test_a_device_that_comes_back_is_followed_on(device):
    follower = followed(device)
    following = iter(follower)
    take_until(following, StateChanged)

    device.device.away = True
    noted = take_until(following, Noted)[-1]
    device.device.away = False
    device.become("PREPARING", "SUCCEEDED", lost=True)
    rest = list(following)

    assert "waiting for it" in noted.text
    assert Noted("device is back") in rest
    assert states(rest) == ["PREPARING", "SUCCEEDED"]


def test_a_device_that_stays_away_is_given_up(device):
    follower = followed(device)
    device.device.away = True

    with pytest.raises(DeviceAway):
        list(follower)


def test_without_an_activity_all_are_told(device):
    following = iter(Follower(device))
    first = []

    def take():
        first.append(next(following))

    device.become("REQUESTED")
    take()
    summary = {"activity_id": 12, "state": "RUNNING", "progress": 40.0, "message": "on the way"}
    device.device.push("activities", (json.dumps(summary),))
    take()

    assert states(first) == ["REQUESTED"]
    assert first[1] == Progressed(12, 40.0, "on the way")


def test_leaving_closes_all_subscriptions(device):
    with followed(device) as follower:
        device.assign()
        device.become("RUNNING", "SUCCEEDED")
        list(follower)

    subscriptions = device.device.subscriptions + device.running_in.device.subscriptions
    assert len(subscriptions) == 4
    assert all(subscription.closed for subscription in subscriptions)


def test_states_found_by_asking_tell_their_reason_and_all_else(device):
    follower = followed(device)
    device.become("PREPARING", lost=True)
    device.become("FAILED", lost=True, message="boom")

    told = [h for h in follower if isinstance(h, StateChanged)]

    assert [h.event for h in told] == device.events
    assert told[-1].message == "boom"


def test_what_was_said_before_the_executor_was_known_is_told(device):
    follower = Follower(device, executors=["executor"])
    device.become("REQUESTED", "PREPARING")
    follower.follow(12)
    device.assign()
    for message in ("one", "two"):
        told = {"procedure_id": 7, "message": message}
        device.running_in.device.push("scriptMessage", json.dumps(told))
    device.summary["message"] = "two"
    device.become("READY", "RUNNING", "SUCCEEDED")

    told = list(follower)

    assert [h.message for h in told if isinstance(h, Announced)] == ["one", "two"]
    assert isinstance(told[-1], Finished)


def test_output_is_told_after_the_change_that_preceded_it(device):
    follower = followed(device)
    device.assign()
    device.become("READY")
    following = iter(follower)
    take_until(following, StateChanged)
    take_until(following, StateChanged)
    device.running_in.write("of main", time="2026-11-24T22:10:59.000000Z")
    device.become("RUNNING")

    told = take_until(following, OutputWritten)

    assert states(told) == ["RUNNING"]
