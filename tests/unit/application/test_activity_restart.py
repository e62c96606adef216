"""After a restart the same history is there, nothing runs twice, and every activity is followed."""

import threading
from collections import deque

import pytest

from ska_oso_activity.domain.errors import ExecutorUncertain, SubarrayBusy, UnknownActivity
from tests.fakes import NEWS, FakeExecutor, ReplyLost, eventually
from tests.unit.application.test_activity_life import HAPPY


def restarted(benches, bench, *, missing=()):
    """Another life on the same history, archive and executors; the first one is cut off."""
    history = bench.history.reopened()
    for executor in bench.executors:
        executor.settled()
        executor.listener = None
        executor.gates.clear()
    bench.register.close()
    archive = bench.archive
    executors = [each for each in bench.executors if each.name not in missing]
    return benches(history=history, archive=archive, executors=executors)


def at_rest(bench):
    """The attributes as they read."""
    names = (
        *("activityId", "activityState", "activityEvent", "activities", "activeActivities"),
        *("subarrayActivityState", "subarrayActivityId", "activityProgress", "activityMessage"),
    )
    return {name: bench.publisher.values[name] for name in names}


def test_a_new_device_tells_nothing_of_activities(benches):
    bench = benches().begin()

    assert bench.events() == []
    assert bench.publisher.values["activities"] == []
    assert bench.publisher.values["activeActivities"] == 0
    assert bench.publisher.values["subarrayActivityId"] == [0] * 16


def test_the_attributes_take_the_last_values_and_the_last_event_its_own_seq(benches):
    bench = benches().begin()
    bench.ended(subarray_id=3)
    other = bench.run_activity(activity_name="missing")
    bench.becomes(other, "FAILED")
    again = restarted(benches, bench).begin()

    assert at_rest(again) == at_rest(bench)
    assert again.events() == bench.events()[-1:]
    assert again.service.events_since(0) == bench.events()
    assert [again.get(n) for n in (1, 2)] == [bench.get(n) for n in (1, 2)]


def test_events_that_were_recorded_and_not_pushed_are_pushed_with_their_own_seq(benches):
    bench = benches().begin()
    bench.ended()
    bench.history._notes["told"] = "2"
    again = restarted(benches, bench).begin()

    assert again.events() == bench.events()[2:]


def test_seq_and_ids_go_on(benches):
    bench = benches().begin()
    bench.ended()
    again = restarted(benches, bench).begin()
    activity_id = again.ended()

    events = again.events(activity_id)
    assert activity_id == 2
    assert [event["seq"] for event in events] == [6, 7, 8, 9, 10]
    assert {event["epoch"] for event in events} == {bench.history.epoch}


def test_a_request_id_is_known_after_a_restart(benches):
    bench = benches().begin()
    activity_id = bench.ended(request_id="r-1")
    again = restarted(benches, bench).begin()

    assert again.run_activity(request_id="r-1") == activity_id
    assert again.listed() == [activity_id]


def test_a_request_that_was_accepted_and_nothing_more_is_carried_out(benches):
    bench = benches()
    bench.run.begin = lambda activity_id: None
    activity_id = bench.run_activity()
    again = restarted(benches, bench).begin()
    again.becomes(activity_id, "RUNNING")

    assert again.story(activity_id) == HAPPY[:-1]
    assert len(bench.executor.procedures) == 1


def test_one_that_was_fetching_its_block_is_carried_on(benches):
    bench = benches().begin()
    bench.archive.answers.clear()
    activity_id = bench.run_activity()
    bench.becomes(activity_id, "PREPARING")
    again = restarted(benches, bench)
    # The first life was killed: it stays behind its own lock.
    with bench.register.lock:
        again.archive.answers.set()
        again.begin()
        again.becomes(activity_id, "RUNNING")

    assert again.story(activity_id) == ["PREPARING", "READY", "RUNNING"]
    assert len(again.executor.starts) == 1


@pytest.mark.parametrize("delivered", [True, False])
def test_one_that_was_being_delivered_is_not_delivered_again(benches, delivered):
    bench = benches().begin()
    bench.executor.gates["prepare"] = gate = threading.Event()
    bench.executor.troubles["prepare"] = deque([None if delivered else ExecutorUncertain("?")])
    activity_id = bench.run_activity()
    eventually(lambda: bench.executor.called("prepare"))
    again = restarted(benches, bench)
    with bench.register.lock:
        gate.set()
        if delivered:
            eventually(lambda: bench.executor.procedures)
        again.begin()
        again.becomes(activity_id, "RUNNING" if delivered else "FAILED")

    assert len(bench.executor.procedures) == delivered
    assert len(bench.executor.called("prepare")) == 1
    if delivered:
        assert again.get(activity_id)["sbi_id"] is not None
        assert len(bench.executor.starts) == 1
    else:
        assert again.get(activity_id)["reason"] == "EXECUTOR_UNAVAILABLE"


def test_a_crash_of_the_machine_cannot_forget_that_a_script_may_have_been_sent(benches):
    bench = benches().begin()
    bench.executor.gates["prepare"] = threading.Event()
    activity_id = bench.run_activity()
    eventually(lambda: bench.executor.called("prepare"))

    # By then a record without an event, that of what is sent and to whom, is synced.
    assert (activity_id, "PREPARING", None, True) in bench.history.appended


@pytest.mark.parametrize("initialised", [True, False])
def test_what_the_publisher_still_has_from_before_init_is_not_handed_to_it_again(
    benches, initialised
):
    bench = benches().begin()
    activity_id = bench.running()
    bench.history._notes["told"] = "0"  # nothing was pushed yet
    again = restarted(benches, bench)
    if initialised:
        again.publisher.handed_over = bench.publisher.handed_over
    again.register.load()

    pushed = again.publisher.json_of("activityEvent")
    assert [each["state"] for each in pushed] == ([] if initialised else HAPPY[:-1])
    assert again.publisher.values["activityProgress"] == 0.0
    assert again.get(activity_id)["state"] == "RUNNING"


def test_an_abort_command_ends_though_the_device_was_initialised_meanwhile(benches):
    bench = benches().begin()
    bench.executor.stops = False
    activity_id = bench.running()
    command_id, _ = bench.service.abort()
    again = restarted(benches, bench)
    # As Init has it: the commands live on.
    again.outcomes._tracker.awaiting.update(bench.tracker.awaiting)
    again.tracker.resume(command_id, "Abort")
    again.begin()
    assert again.tracker.status(command_id) == "IN_PROGRESS"
    again.executor.end(1, "STOPPED")
    again.becomes(activity_id, "STOPPED")

    eventually(lambda: again.tracker.status(command_id) == "COMPLETED")


@pytest.mark.parametrize("state", ["PREPARING", "READY", "RUNNING", "STOPPING"])
@pytest.mark.parametrize("back", [True, False])
def test_one_that_was_under_way_is_followed_to_its_end(benches, state, back):
    bench = benches().begin()
    bench.executor.prepares = state != "PREPARING"
    bench.executor.stops = False
    activity_id = bench.run_activity(prepare_only=state == "READY", subarray_id=3)
    eventually(lambda: bench.get(activity_id)["sbi_id"])
    command_id = bench.get(activity_id)["command_id"]
    if state == "STOPPING":
        bench.becomes(activity_id, "RUNNING")
        stop_id = bench.stop_activity(activity_id, run_abort=False)
        eventually(lambda: bench.executor.called("stop"))
    bench.becomes(activity_id, state)
    bench.executor.settled()
    if not back:
        bench.executor.go_away()
    again = restarted(benches, bench).begin()
    if not back:
        again.follower.on_executor_lost(again.executor.name)
        assert again.state(activity_id) == "UNKNOWN"
        again.executor.come_back()
    again.becomes(activity_id, state)
    shown = again.tracker.status(command_id)
    again.executor.settled()
    if state == "PREPARING":
        again.executor.make_ready(1)
        again.becomes(activity_id, "RUNNING")
    elif state == "READY":
        again.start_activity(activity_id)
        again.becomes(activity_id, "RUNNING")
    again.executor.end(1, "STOPPED" if state == "STOPPING" else "COMPLETE")
    again.becomes(activity_id, "SUCCEEDED", "STOPPED")

    assert len(again.executor.procedures) == 1
    assert len(again.executor.starts) == 1
    assert len(again.archive.sbis) == 1
    seqs = [event["seq"] for event in again.service.events_since(0)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert shown == ("NOT_FOUND" if state == "READY" else "IN_PROGRESS")
    if state == "STOPPING":
        assert again.result(stop_id) == [0, f"Activity {activity_id} STOPPED"]
        assert again.result(command_id) == [7, f"Activity {activity_id} STOPPED"]
    elif state != "READY":
        assert again.result(command_id) == [0, f"Activity {activity_id} SUCCEEDED"]
    again.executor.prepares = True
    again.running(subarray_id=3)


def test_the_lane_is_still_held_after_a_restart(benches):
    bench = benches().begin()
    bench.running(subarray_id=3)
    again = restarted(benches, bench).begin()

    with pytest.raises(SubarrayBusy):
        again.run_activity(subarray_id=3)


def test_what_ended_while_nobody_looked_is_told_once(benches):
    bench = benches().begin()
    activity_id = bench.running()
    again = restarted(benches, bench)
    bench.executor.end(1, result=7)
    again.begin()
    again.becomes(activity_id, "SUCCEEDED")

    assert again.story(activity_id) == ["RUNNING", "SUCCEEDED"]
    assert again.get(activity_id)["result"] == 7


def test_an_abort_script_that_runs_over_a_restart_is_followed(benches):
    bench = benches().begin()
    bench.executor.aborts = False
    activity_id = bench.running(subarray_id=3)
    stop_id = bench.stop_activity(activity_id)
    bench.becomes(activity_id, "STOPPED")
    eventually(lambda: (bench.get(activity_id)["abort"] or {}).get("procedure_id"))
    again = restarted(benches, bench).begin()
    early = again.results(stop_id)
    again.executor.make_ready(2)
    again.executor.say(2, "RUNNING")
    again.executor.say(2, "COMPLETE")

    assert early == []
    assert again.result(stop_id) == [0, f"Activity {activity_id} STOPPED"]
    assert again.story(activity_id)[1:] == []


def test_a_run_that_has_ended_is_not_in_progress_again_for_its_abort_script(benches):
    bench = benches().begin()
    bench.executor.aborts = False
    activity_id = bench.running(subarray_id=3)
    command_id = bench.get(activity_id)["command_id"]
    bench.stop_activity(activity_id)
    bench.becomes(activity_id, "STOPPED")
    again = restarted(benches, bench).begin()

    assert again.tracker.status(command_id) != "IN_PROGRESS"


def test_what_runs_on_an_executor_that_was_taken_out_is_lost(benches):
    bench = benches(executors=[FakeExecutor("a/b/1"), FakeExecutor("a/b/2")]).begin()
    activity_id = bench.running(subarray_id=3)
    again = restarted(benches, bench, missing=("a/b/1",)).begin()

    assert again.state(activity_id) == "FAILED"
    assert again.get(activity_id)["reason"] == "EXECUTOR_LOST"
    assert "ScriptExecutionDevices" in again.get(activity_id)["error"]
    again.running(subarray_id=3)


def test_a_stop_that_was_waiting_for_an_executor_that_was_taken_out_frees_the_lane(benches):
    bench = benches(executors=[FakeExecutor("a/b/1"), FakeExecutor("a/b/2")]).begin()
    bench.executor.stops = False
    bench.running(subarray_id=3)
    bench.stop_activity(1)
    eventually(lambda: bench.executor.called("stop"))
    again = restarted(benches, bench, missing=("a/b/1",)).begin()

    assert again.state(1) == "FAILED"
    again.running(subarray_id=3)


def test_a_history_that_was_lost_begins_another_epoch(benches):
    bench = benches().begin()
    bench.ended()
    bench.executor.listener = None
    again = benches(archive=bench.archive, executors=bench.executors).begin()

    with pytest.raises(UnknownActivity):
        again.get(1)
    assert again.running() == 1
    assert again.events()[0]["epoch"] != bench.history.epoch


def looked_for_strangers(executor):
    """Wait until an executor was asked what runs there, and what is to be stopped is stopped."""
    asked, stops = (len(executor.called(name)) for name in ("unfinished", "stop"))
    executor.come_back()
    eventually(lambda: len(executor.called("unfinished")) > asked)
    NEWS.wait(lambda: len(executor.called("stop")) > stops, 0.3)


@pytest.mark.parametrize("away", [True, False])
@pytest.mark.parametrize("state", ["PREPARING", "READY", "RUNNING"])
def test_scripts_of_activities_that_were_forgotten_are_stopped(benches, caplog, state, away):
    bench = benches().begin()
    bench.executor.prepares = state != "PREPARING"
    activity_id = bench.run_activity(prepare_only=state == "READY", subarray_id=3)
    eventually(lambda: bench.get(activity_id)["sbi_id"])
    bench.becomes(activity_id, state)
    bench.executor.listener = None
    bench.register.close()
    if away:
        bench.executor.go_away()
    again = benches(archive=bench.archive, executors=bench.executors).begin()
    again.executor.troubles["unfinished"] = deque([ExecutorUncertain("timeout")])
    again.executor.come_back()

    eventually(lambda: again.executor.alive() == [])
    assert f"runs procedure 1 for activity {activity_id} of ours" in caplog.text
    assert [command.procedure_id for command in again.executor.called("stop")] == [1]
    again.executor.prepares = True
    again.running(subarray_id=3)


def test_scripts_of_another_device_are_none_of_our_business(benches):
    other = benches(device="mid-oso/activity/02").begin()
    other.running(subarray_id=3)
    other.executor.listener = None
    other.register.close()
    bench = benches(archive=other.archive, executors=other.executors).begin()
    looked_for_strangers(bench.executor)

    assert bench.executor.alive() == [1]
    assert bench.executor.called("stop") == []


def test_a_script_that_is_just_being_delivered_is_not_taken_for_a_forgotten_one(benches):
    bench = benches().begin()
    bench.executor.tells = False
    bench.executor.troubles["prepare"] = deque([ReplyLost(ExecutorUncertain("no answer"))] * 3)
    activity_id = bench.run_activity()
    eventually(lambda: bench.executor.procedures)
    looked_for_strangers(bench.executor)
    bench.becomes(activity_id, "RUNNING")

    assert bench.executor.called("stop") == []


def test_an_abort_script_that_is_waited_for_is_not_taken_for_a_forgotten_one(benches):
    bench = benches().begin()
    bench.executor.aborts = False
    activity_id = bench.running(subarray_id=3)
    bench.stop_activity(activity_id)
    bench.becomes(activity_id, "STOPPED")
    again = restarted(benches, bench).begin()
    looked_for_strangers(again.executor)

    assert again.executor.alive() == [2]
    assert len(again.executor.called("stop")) == 1
