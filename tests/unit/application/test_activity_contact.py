"""What is not known is UNKNOWN, and the truth is found by request id once the executor is back."""

import threading
from collections import deque

import pytest

from ska_oso_activity.domain.errors import ActivityError, ExecutorUnavailable, ExecutorUncertain
from tests.fakes import NEWS, FakeExecutor, ReplyLost, eventually
from tests.unit.application.test_activity_life import HAPPY, assert_seq_without_gaps

# --- Delivery


def test_an_undeliverable_script_is_tried_again(bench):
    bench.executor.troubles["prepare"] = deque([ExecutorUnavailable("not there")])
    activity_id = bench.running()

    first, second = bench.executor.called("prepare")
    assert first == second
    assert bench.story(activity_id) == HAPPY[:-1]


def test_a_script_that_stays_undeliverable_fails_the_activity(bench):
    bench.executor.troubles["prepare"] = deque([ExecutorUnavailable("not there")] * 100)
    activity_id = bench.run_activity()
    bench.becomes(activity_id, "FAILED")

    assert bench.get(activity_id)["reason"] == "EXECUTOR_UNAVAILABLE"
    assert bench.story(activity_id) == ["REQUESTED", "PREPARING", "FAILED"]
    assert len(bench.executor.called("prepare")) >= 2
    assert bench.executor.procedures == {}


def test_a_script_whose_reply_is_lost_is_not_prepared_twice(bench):
    bench.executor.tells = False
    bench.executor.troubles["prepare"] = deque([ReplyLost(ExecutorUncertain("no answer"))])
    activity_id = bench.run_activity()
    eventually(lambda: bench.get(activity_id)["procedure_id"])
    bench.executor.tells = True
    bench.becomes(activity_id, "RUNNING")

    assert list(bench.executor.procedures) == [1]
    assert len({command.request_id for command in bench.executor.called("prepare")}) == 1


@pytest.mark.parametrize("delivered", [True, False])
def test_where_delivery_stays_uncertain_the_activity_is_unknown_until_the_truth_is_found(
    bench, delivered
):
    bench.executor.tells = False
    trouble = ExecutorUncertain("no answer")
    bench.executor.troubles["prepare"] = deque(
        [ReplyLost(trouble) if delivered else trouble, *[trouble] * 100]
    )
    activity_id = bench.run_activity()
    bench.becomes(activity_id, "UNKNOWN")
    bench.executor.go_away()
    bench.executor.come_back()
    bench.becomes(activity_id, "RUNNING" if delivered else "FAILED")

    if delivered:
        assert len(bench.executor.starts) == 1
        assert bench.get(activity_id)["sbi_id"] is not None
    else:
        assert bench.get(activity_id)["reason"] == "EXECUTOR_UNAVAILABLE"
    assert "UNKNOWN" in bench.story(activity_id)


def test_events_may_come_before_the_reply(bench):
    gate = bench.executor.gates["prepare"] = threading.Event()
    activity_id = bench.run_activity()
    eventually(lambda: bench.executor.called("prepare"))
    # The executor has it already; the reply is still on its way.
    bench.executor._prepare(bench.executor.called("prepare")[0])
    bench.becomes(activity_id, "READY")
    gate.set()
    bench.becomes(activity_id, "RUNNING")

    assert bench.story(activity_id) == HAPPY[:-1]
    assert len(bench.executor.starts) == 1
    assert len(bench.archive.sbis) == 1


# --- Events


def test_events_that_come_twice_change_nothing(bench):
    activity_id = bench.running(subarray_id=3)
    for event in list(bench.executor.events):
        bench.executor.hand_over(event)
    bench.executor.settled()
    bench.executor.end(1)
    bench.becomes(activity_id, "SUCCEEDED")
    for event in list(bench.executor.events):
        bench.executor.hand_over(event)
    bench.executor.settled()

    assert bench.story(activity_id) == HAPPY
    assert len(bench.executor.starts) == 1
    assert_seq_without_gaps(bench.events())


def test_states_that_were_missed_are_passed_through(bench):
    bench.executor.tells = False
    activity_id = bench.run_activity()
    eventually(lambda: bench.get(activity_id)["sbi_id"])
    bench.executor.lose_events()
    bench.executor.tells = True
    bench.executor.procedures[1]["started"] = True
    bench.executor.say(1, "RUNNING")
    bench.executor.lose_events()
    bench.executor.end(1)
    bench.becomes(activity_id, "SUCCEEDED")

    assert bench.story(activity_id) == HAPPY


def test_events_of_strangers_are_passed_over(bench):
    activity_id = bench.running()
    event = {**bench.executor.events[-1], "state": "FAILED", "reason": "SCRIPT_ERROR"}
    bench.executor.hand_over({**event, "request_id": "another's"})
    bench.executor.hand_over({**event, "state": "DANCING"})
    bench.executor.settled()
    bench.follower.on_procedure_event("another/executor/1", event)

    assert bench.state(activity_id) == "RUNNING"


def test_an_end_whose_details_cannot_be_had_at_once_is_still_told(bench):
    # One GetProcess that times out; the executor is never noticed to be away.
    activity_id = bench.running()
    bench.executor.troubles["get"] = deque([ExecutorUncertain("timeout")])
    bench.executor.end(1, result=1)

    bench.becomes(activity_id, "SUCCEEDED", timeout=0.6)
    assert bench.get(activity_id)["result"] == 1


# --- Loss of contact


@pytest.mark.parametrize("state", ["PREPARING", "READY", "RUNNING", "STOPPING"])
def test_lost_contact_makes_it_unknown_and_the_same_when_it_is_back(bench, state):
    bench.executor.prepares = state != "PREPARING"
    bench.executor.stops = False
    activity_id = bench.run_activity(prepare_only=state == "READY")
    eventually(lambda: bench.get(activity_id)["sbi_id"])
    if state == "STOPPING":
        bench.becomes(activity_id, "RUNNING")
        bench.stop_activity(activity_id)
    bench.becomes(activity_id, state)
    bench.executor.settled()
    bench.executor.go_away()
    bench.becomes(activity_id, "UNKNOWN")
    message = bench.events()[-1]["message"]
    bench.executor.come_back()
    bench.becomes(activity_id, state)

    assert message == f"{bench.executor.name} does not answer"
    assert bench.story(activity_id)[-3:] == [state, "UNKNOWN", state]
    assert (bench.executor.name, "does not answer") in bench.health
    assert bench.health[-1] == (bench.executor.name, None)
    assert len(bench.archive.sbis) == 1
    assert bench.executor.mains().count(1) == (state in ("RUNNING", "STOPPING"))


def test_an_executors_trouble_is_ours_and_silence_weighs_more(bench):
    name = bench.executor.name
    bench.follower.on_executor_health(name, "FAILED", "script host: gone")
    bench.follower.on_executor_health(name, "DEGRADED", "disk: nearly full")
    bench.executor.go_away()
    eventually(lambda: (name, "does not answer") in bench.health)
    bench.follower.on_executor_health(name, "OK", "")

    assert bench.health[-5:] == [
        (name, "its healthState is FAILED: script host: gone"),
        (f"{name} (usable)", None),
        (name, None),
        (f"{name} (usable)", "its healthState is DEGRADED: disk: nearly full"),
        (name, "does not answer"),
    ]


def test_what_ended_meanwhile_has_ended_with_all_its_details(bench):
    activity_id = bench.running()
    bench.executor.go_away()
    bench.executor.end(1, result={"a": 1})
    bench.executor.come_back()
    bench.becomes(activity_id, "SUCCEEDED")

    assert bench.story(activity_id) == [*HAPPY[:-1], "UNKNOWN", "SUCCEEDED"]
    assert bench.get(activity_id)["result"] == {"a": 1}
    assert bench.result(bench.get(activity_id)["command_id"])[0] == 0


def test_what_ended_meanwhile_is_found_even_if_its_events_were_lost(bench):
    activity_id = bench.running()
    bench.executor.go_away()
    bench.executor.end(1, "FAILED", reason="SCRIPT_DIED", error="signal 9")
    bench.executor.lose_events()
    bench.executor.come_back()
    bench.becomes(activity_id, "FAILED")

    assert bench.get(activity_id)["reason"] == "SCRIPT_DIED"


@pytest.mark.parametrize("replaced", [True, False])
def test_what_an_executor_without_its_history_knows_no_more_is_lost(bench, replaced):
    activity_id = bench.running(subarray_id=3)
    bench.executor.go_away()
    bench.executor.forget_everything()
    if replaced:
        # Another script runs there under the same number.
        bench.executor.away = False
        bench.executor.prepare(
            type(bench.executor.called("prepare")[0])(
                "another", bench.executor.called("prepare")[0].script
            )
        )
    bench.executor.come_back()
    bench.becomes(activity_id, "FAILED")

    assert bench.get(activity_id)["reason"] == "EXECUTOR_LOST"
    bench.running(subarray_id=3)


def test_a_stop_of_something_unknown_is_done_on_return(bench):
    activity_id = bench.running(subarray_id=3)
    bench.executor.go_away()
    stop_id = bench.stop_activity(activity_id)
    meanwhile = (bench.state(activity_id), bench.results(stop_id))
    bench.executor.come_back()
    bench.becomes(activity_id, "STOPPED")

    assert meanwhile == ("UNKNOWN", [])
    assert bench.result(stop_id) == [0, f"Activity {activity_id} STOPPED"]
    assert bench.story(activity_id)[-3:] == ["UNKNOWN", "STOPPING", "STOPPED"]
    assert bench.get(activity_id)["abort"]["state"] == "COMPLETE"


def test_a_stop_of_something_unknown_that_ended_meanwhile_says_so(bench):
    activity_id = bench.running(subarray_id=3)
    bench.executor.go_away()
    stop_id = bench.stop_activity(activity_id)
    bench.executor.end(1)
    bench.executor.come_back()
    bench.becomes(activity_id, "SUCCEEDED")

    assert bench.result(stop_id) == [0, f"Activity {activity_id} was SUCCEEDED"]
    bench.running(subarray_id=3)


@pytest.mark.parametrize("when", ["before the loss", "after the loss"])
def test_a_stop_of_something_that_is_lost_frees_the_lane(bench, when):
    bench.executor.stops = False
    activity_id = bench.running(subarray_id=3)
    if when == "before the loss":
        stop_id = bench.stop_activity(activity_id)
        eventually(lambda: bench.executor.called("stop"))
    bench.executor.go_away()
    if when == "after the loss":
        stop_id = bench.stop_activity(activity_id)
    bench.executor.forget_everything()
    bench.executor.come_back()
    bench.becomes(activity_id, "FAILED")

    assert bench.result(stop_id, timeout=0.3) == [0, f"Activity {activity_id} was FAILED"]
    bench.running(subarray_id=3)


def test_an_abort_script_that_is_lost_frees_the_lane(bench):
    bench.executor.aborts = False
    activity_id = bench.running(subarray_id=3)
    stop_id = bench.stop_activity(activity_id)
    bench.becomes(activity_id, "STOPPED")
    bench.executor.settled()
    bench.executor.go_away()
    bench.executor.forget_everything()
    bench.executor.come_back()

    code, text = bench.result(stop_id)
    assert code == 3
    assert "EXECUTOR_LOST" in text
    bench.running(subarray_id=3)


def test_an_abort_script_that_ended_meanwhile_is_found(bench):
    bench.executor.aborts = False
    activity_id = bench.running(subarray_id=3)
    stop_id = bench.stop_activity(activity_id)
    bench.becomes(activity_id, "STOPPED")
    bench.executor.settled()
    bench.executor.go_away()
    bench.executor.make_ready(2)
    bench.executor.say(2, "RUNNING")
    bench.executor.say(2, "COMPLETE")
    bench.executor.lose_events()
    bench.executor.come_back()

    assert bench.result(stop_id) == [0, f"Activity {activity_id} STOPPED"]


def test_main_is_entered_once_though_the_start_is_delivered_and_its_reply_lost(bench):
    bench.executor.troubles["start"] = deque([ReplyLost(ExecutorUncertain("no answer"))])
    activity_id = bench.running()
    bench.executor.end(1)
    bench.becomes(activity_id, "SUCCEEDED")

    assert len(bench.executor.starts) == 1
    assert bench.story(activity_id) == HAPPY


def test_a_start_that_contact_was_lost_before_is_made_once_on_return(bench):
    activity_id = bench.ready()
    bench.executor.away = True
    bench.start_activity(activity_id)
    eventually(lambda: bench.executor.called("start"))
    bench.executor.go_away()
    bench.executor.come_back()
    bench.becomes(activity_id, "RUNNING")

    assert len(bench.executor.starts) == 1


def test_one_sbi_is_created_though_contact_is_lost_while_the_archive_is_slow(bench):
    bench.archive.takes_sbis.clear()
    activity_id = bench.run_activity()
    bench.becomes(activity_id, "READY")
    eventually(lambda: bench.archive.sbi_requests)
    bench.executor.go_away()
    bench.executor.come_back()
    bench.becomes(activity_id, "READY")
    # A second request, if one is made, has this long to arrive.
    NEWS.wait(lambda: len(bench.archive.sbi_requests) > 1, 0.1)
    bench.archive.takes_sbis.set()
    bench.becomes(activity_id, "RUNNING")
    eventually(lambda: len(bench.archive.sbis) == len(bench.archive.sbi_requests))

    assert len(bench.archive.sbis) == 1


def test_nobody_is_given_up_while_prepareprocess_is_under_way(bench):
    # Contact is lost and found meanwhile: the executor does not know of it, yet.
    bench.executor.troubles["prepare"] = deque([ExecutorUncertain("?"), None])
    activity_id = bench.run_activity()
    eventually(lambda: bench.executor.called("prepare"))
    gate = bench.executor.gates["prepare"] = threading.Event()
    eventually(lambda: len(bench.executor.called("prepare")) == 2)
    bench.executor.go_away()
    bench.executor.come_back()
    eventually(lambda: len(bench.executor.called("events_since")) >= 2)
    assert bench.state(activity_id) == "UNKNOWN"
    gate.set()
    bench.becomes(activity_id, "RUNNING")

    assert bench.executor.mains() == [1]


def test_an_end_is_told_once_its_details_are_there(bench):
    bench.executor.troubles["get"] = deque([ActivityError("not set up")] * 2)
    activity_id = bench.running()
    bench.executor.end(1, result=42)
    bench.becomes(activity_id, "SUCCEEDED")

    assert bench.get(activity_id)["result"] == 42


def test_the_truth_is_found_though_the_executor_hangs_in_between(bench):
    activity_id = bench.running()
    bench.executor.go_away()
    bench.becomes(activity_id, "UNKNOWN")
    bench.executor.end(1, result=42)
    bench.executor.troubles["get"] = deque([None, ExecutorUncertain("it hangs")])
    bench.executor.come_back()

    bench.becomes(activity_id, "SUCCEEDED")
    assert bench.get(activity_id)["result"] == 42


def test_a_stop_that_no_client_asked_for_says_who_did(bench):
    activity_id = bench.running()
    bench.executor.end(1, "STOPPED", message="the script host was asked to end")
    bench.becomes(activity_id, "STOPPED")

    assert bench.events(activity_id)[-1]["message"] == "the script host was asked to end"
    assert bench.get(activity_id)["message"] == "the script host was asked to end"


def test_activities_go_to_the_executor_that_has_least_to_do_and_is_there(benches):
    first, second = FakeExecutor("a/b/1"), FakeExecutor("a/b/2")
    bench = benches(executors=[first, second]).begin()
    used = [bench.get(bench.running())["executor"] for _ in range(4)]
    first.go_away()
    used.append(bench.get(bench.running())["executor"])

    assert used == ["a/b/1", "a/b/2", "a/b/1", "a/b/2", "a/b/2"]
    assert bench.listed(state="UNKNOWN") == [3, 1]
