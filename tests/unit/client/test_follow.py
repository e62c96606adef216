"""An activity is followed to its end whatever events are lost."""

import json
import threading
import time

import pytest

from ska_oso_activity.client import ActivityClient, ActivityState, follow, follow_script
from ska_oso_activity.client.errors import (
    DeviceAway,
    Interrupted,
    OutOfTime,
    Refused,
    UnknownActivity,
)
from ska_oso_activity.client.follow import Follower
from ska_oso_activity.client.happenings import (
    Announced,
    Finished,
    Noted,
    OutputWritten,
    Progressed,
    StateChanged,
)
from ska_oso_activity.client.interruption import Interruption
from tests.unit.client.fakes import FakeActivityDevice


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

    for state in ("PREPARING", "READY"):
        device.become(state, lost=True)
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


def test_a_server_that_was_started_anew_is_subscribed_to_at_once(device):
    follower = followed(device)
    device.assign()
    following = iter(follower)
    take_until(following, StateChanged)
    device.running_in.write("one")
    take_until(following, OutputWritten)
    ours = device.device.subscriptions + device.running_in.device.subscriptions

    device.server = device.running_in.server = "2026-11-24T22:30:00.000000Z"
    for each in ours:
        each.disturbed()
    device.become("RUNNING", lost=True)
    take_until(following, StateChanged)
    device.running_in.write("two", lost=True)
    take_until(following, OutputWritten)

    assert len(ours) == 4
    assert all(each.renewals for each in ours)


def test_what_was_told_before_a_restart_of_ours_is_passed_over(device):
    device.become("REQUESTED", "PREPARING", "READY", "RUNNING")
    follower = Follower(device)
    follower.follow(12, after_seq=3, epoch="e")
    device.become("SUCCEEDED")

    assert states(follower) == ["RUNNING", "SUCCEEDED"]


def test_an_end_that_was_told_before_is_no_reason_to_wait(device):
    device.become("REQUESTED", "PREPARING", "FAILED")
    follower = Follower(device)
    follower.follow(12, after_seq=3, epoch="e")

    told = list(follower)

    assert states(told) == []
    assert isinstance(told[-1], Finished)


@pytest.mark.parametrize(("after_seq", "epoch"), [(2, "older"), (99, None)])
def test_of_another_history_all_is_told(device, after_seq, epoch):
    device.become("REQUESTED", "PREPARING", "FAILED")
    follower = Follower(device)
    follower.follow(12, after_seq=after_seq, epoch=epoch)

    assert states(follower) == ["REQUESTED", "PREPARING", "FAILED"]


def test_an_end_is_told_though_the_device_goes_away_while_it_is_read(device, monkeypatch):
    follower = followed(device)
    device.become("PREPARING", lost=True)
    device.become("FAILED")
    failures = iter([DeviceAway("device does not answer")] * 3)
    events_since = device.events_since

    def stumbling(seq):
        for failure in failures:
            raise failure
        return events_since(seq)

    monkeypatch.setattr(device, "events_since", stumbling)

    told = list(follower)

    assert states(told) == ["REQUESTED", "PREPARING", "FAILED"]
    assert isinstance(told[-1], Finished)


def test_nobody_waits_for_longer_than_allowed(device):
    follower = Follower(device, deadline=time.monotonic() + 0.05)
    device.become("REQUESTED")
    follower.follow(12)

    with pytest.raises(OutOfTime, match="activity 12 has not ended in the time"):
        list(follower)


def test_another_thread_can_end_the_waiting(device):
    interruption = Interruption()
    follower = Follower(device, interruption=interruption)
    device.become("REQUESTED")
    follower.follow(12)
    following = iter(follower)
    take_until(following, StateChanged)

    threading.Timer(0.02, interruption.interrupt).start()

    with pytest.raises(Interrupted):
        list(following)


def test_states_alone_are_told_without_asking_the_executor(device):
    follower = Follower(device, scripts=False)
    device.become("REQUESTED")
    follower.follow(12)
    device.assign()
    device.become("RUNNING")
    device.running_in.write("not for us")
    device.summary["output_tail"] = device.running_in.lines
    device.become("SUCCEEDED")

    told = list(follower)

    assert {type(each) for each in told} == {StateChanged, Finished}
    assert device.running_in.device.subscriptions == []


def test_what_was_before_we_listened_is_told_before_what_we_hear(device):
    device.become("REQUESTED", "PREPARING")
    follower = Follower(device)
    device.become("READY", "RUNNING")
    follower.follow(12)
    device.become("SUCCEEDED")

    assert states(follower) == ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]


def test_a_history_that_began_anew_is_no_reason_to_wait(device):
    follower = followed(device)
    device.become("PREPARING", "READY", "RUNNING")
    following = iter(follower)
    told = [next(following) for _ in range(4)]

    device.become("SUCCEEDED", lost=True)
    device.events = [{**device.events[-1], "epoch": "f", "seq": 1}]
    told += following

    assert states(told) == ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]
    assert (told[-2].event["epoch"], told[-2].event["seq"]) == ("f", 1)


def test_an_activity_that_the_device_has_lost_is_told(device, monkeypatch):
    follower = followed(device)

    def unknown(key):
        raise UnknownActivity(f"no activity {key}")

    following = iter(follower)
    next(following)
    monkeypatch.setattr(device, "activity", unknown)

    with pytest.raises(UnknownActivity, match="no activity 12"):
        list(following)


def test_a_device_that_cannot_tell_yet_is_asked_again(device, monkeypatch):
    follower = followed(device)
    refusals = iter([Refused("the device is being set up")] * 3)
    activity = device.activity

    def reluctant(key):
        for refusal in refusals:
            raise refusal
        return activity(key)

    monkeypatch.setattr(device, "activity", reluctant)
    device.become("PREPARING", "FAILED")

    told = list(follower)

    assert states(told) == ["REQUESTED", "PREPARING", "FAILED"]
    assert isinstance(told[-1], Finished)


def test_a_slow_reader_of_an_activity_that_ended_is_not_told_that_it_goes_on(device):
    device.summary["command_id"] = "1_RunActivity"
    device.become("REQUESTED", "PREPARING")
    told = []

    for event in ActivityClient(device).activity(12).events(timeout=0.3):
        told.append(event.state.name)
        if event.state is ActivityState.PREPARING:
            device.become("READY", "RUNNING", "SUCCEEDED", lost=True)
            time.sleep(0.4)  # longer than it has

    assert told == ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]


def test_a_state_of_a_later_release_is_followed(device):
    device.become("REQUESTED", "PAUSED")
    follower = Follower(device)
    follower.follow(12, after_seq=1, epoch="e")
    device.become("SUCCEEDED")

    assert states(follower) == ["UNKNOWN", "SUCCEEDED"]
