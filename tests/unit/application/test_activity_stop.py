"""A stop works in every state, joins an earlier one, and says what became of the abort script."""

import threading
from collections import deque

import pytest

from ska_oso_activity.domain.errors import (
    ExecutorUnavailable,
    ExecutorUncertain,
    NoCapacity,
    ScriptNotAllowed,
    UnknownActivity,
)
from tests.fakes import ReplyLost, eventually

# --- In every state


def fetching(bench):
    bench.archive.answers.clear()
    activity_id = bench.run_activity(subarray_id=3)
    bench.becomes(activity_id, "PREPARING")
    return activity_id


def sending(bench):
    bench.executor.gates["prepare"] = threading.Event()
    activity_id = bench.run_activity(subarray_id=3)
    eventually(lambda: bench.executor.called("prepare"))
    return activity_id


def loading(bench):
    bench.executor.prepares = False
    activity_id = bench.run_activity(subarray_id=3)
    eventually(lambda: bench.get(activity_id)["sbi_id"])
    return activity_id


def ready(bench):
    return bench.ready(subarray_id=3)


def running(bench):
    return bench.running(subarray_id=3)


STATES = [fetching, sending, loading, ready, running]


@pytest.mark.parametrize("reach", STATES, ids=lambda reach: reach.__name__)
@pytest.mark.parametrize("run_abort", [True, False])
def test_a_stop_ends_the_activity_stopped_and_nothing_stays_alive(bench, reach, run_abort):
    activity_id = reach(bench)
    stop_id = bench.stop_activity(activity_id, run_abort=run_abort)
    eventually(lambda: "STOPPING" in bench.story(activity_id))
    for gate in bench.executor.gates.values():
        gate.set()
    bench.archive.let_go()
    bench.becomes(activity_id, "STOPPED")

    code, text = bench.result(stop_id)
    assert code == 0
    assert text.startswith(f"Activity {activity_id} STOPPED")
    summary = bench.get(activity_id)
    assert summary["reason"] == "STOPPED_BY_REQUEST"
    assert bench.story(activity_id)[-2:] == ["STOPPING", "STOPPED"]
    bench.executor.settled()
    assert bench.executor.alive() == []
    assert bench.executor.mains().count(1) == (reach is running)
    if reach is ready:
        assert bench.results(summary["command_id"]) == [[0, f"Activity {activity_id} READY"]]
    else:
        assert bench.result(summary["command_id"]) == [7, f"Activity {activity_id} STOPPED"]
    if reach is running and run_abort:
        assert summary["abort"] == {"procedure_id": 2, "state": "COMPLETE", "error": None}
        assert text == f"Activity {activity_id} STOPPED"
    else:
        assert summary["abort"] is None
        assert ("no abort script was run" in text) == run_abort
    # The lane is free again.
    bench.executor.prepares = True
    bench.running(subarray_id=3)


def test_a_stop_by_subarray_stops_who_holds_it(bench):
    other = bench.running(subarray_id=4)
    activity_id = bench.running(subarray_id=3)
    stop_id = bench.stop_activity(subarray_id=3)
    bench.becomes(activity_id, "STOPPED")

    assert bench.result(stop_id) == [0, f"Activity {activity_id} STOPPED"]
    assert bench.state(other) == "RUNNING"


def test_a_stop_by_subarray_finds_a_prepared_activity_where_nobody_holds_it(bench):
    activity_id = bench.ready(subarray_id=3)
    bench.stop_activity(subarray_id=3)

    bench.becomes(activity_id, "STOPPED")


def test_a_stop_of_nothing_is_refused(bench):
    bench.ended(subarray_id=3)

    with pytest.raises(UnknownActivity, match="no activity runs on subarray 3"):
        bench.stop_activity(subarray_id=3)
    with pytest.raises(UnknownActivity, match="no activity has the id 9"):
        bench.stop_activity(9)


@pytest.mark.parametrize("end", ["COMPLETE", "FAILED"])
def test_a_stop_after_the_end_says_what_it_was(bench, end):
    activity_id = bench.running()
    bench.executor.end(1, end, reason=None if end == "COMPLETE" else "SCRIPT_ERROR")
    bench.becomes(activity_id, "SUCCEEDED", "FAILED")
    before = bench.get(activity_id)
    stop_id = bench.stop_activity(activity_id)

    assert bench.result(stop_id) == [0, f"Activity {activity_id} was {before['state']}"]
    after = bench.get(stop_id)
    assert after == before | {"command_ids": [before["command_id"], stop_id]}


@pytest.mark.parametrize("end", ["COMPLETE", "FAILED"])
def test_a_script_that_finishes_first_is_reported_as_it_finished(bench, end):
    bench.executor.stops = False
    activity_id = bench.running(subarray_id=3)
    stop_id = bench.stop_activity(activity_id)
    eventually(lambda: bench.executor.called("stop"))
    bench.executor.end(1, end, reason=None if end == "COMPLETE" else "SCRIPT_ERROR", result=5)
    bench.becomes(activity_id, "SUCCEEDED", "FAILED")

    ended = bench.state(activity_id)
    assert bench.result(stop_id) == [0, f"Activity {activity_id} was {ended}"]
    assert bench.story(activity_id)[-2:] == ["STOPPING", ended]
    assert bench.get(activity_id)["result"] == 5
    assert bench.get(activity_id)["abort"] is None
    bench.running(subarray_id=3)


def test_a_second_stop_joins_the_first(bench):
    bench.executor.stops = False
    activity_id = bench.running(subarray_id=3)
    first = bench.stop_activity(activity_id)
    second = bench.stop_activity(activity_id)
    third = bench.stop_activity(activity_id, run_abort=False)
    eventually(lambda: bench.executor.called("stop"))
    bench.executor.end(1, "STOPPED", reason="STOPPED_BY_REQUEST")

    expected = [0, f"Activity {activity_id} STOPPED"]
    assert [bench.result(each) for each in (first, second, third)] == [expected] * 3
    assert bench.story(activity_id).count("STOPPING") == 1
    assert bench.get(activity_id)["command_ids"][1:] == [first, second, third]
    assert bench.get(activity_id)["abort"]["state"] == "COMPLETE"


def test_a_stop_that_joins_while_the_abort_script_runs_waits_for_its_end(bench):
    bench.executor.aborts = False
    activity_id = bench.running(subarray_id=3)
    bench.stop_activity(activity_id)
    bench.becomes(activity_id, "STOPPED")
    second = bench.stop_activity(activity_id)
    early = bench.results(second)
    bench.executor.make_ready(2)
    bench.executor.say(2, "RUNNING")
    bench.executor.say(2, "COMPLETE")

    assert early == []
    assert bench.result(second) == [0, f"Activity {activity_id} STOPPED"]


def test_the_run_ends_when_the_script_is_gone_and_the_stop_when_the_abort_script_is(bench):
    bench.executor.aborts = False
    activity_id = bench.running(subarray_id=3)
    stop_id = bench.stop_activity(activity_id)
    run_result = bench.result(bench.get(activity_id)["command_id"])
    early = bench.results(stop_id)
    bench.executor.make_ready(2)
    bench.executor.say(2, "FAILED", reason="SCRIPT_ERROR", error="no")

    assert run_result == [7, f"Activity {activity_id} STOPPED"]
    assert early == []
    code, text = bench.result(stop_id)
    assert code == 3
    assert text == f"Activity {activity_id} STOPPED, and its abort script FAILED: no"
    assert bench.get(activity_id)["abort"] == {
        "procedure_id": 2,
        "state": "FAILED",
        "error": "no",
    }


def test_where_the_executor_has_no_abort_script_the_stop_says_so(bench):
    bench.executor.has_abort_script = False
    activity_id = bench.running(subarray_id=3)
    stop_id = bench.stop_activity(activity_id)

    code, text = bench.result(stop_id)
    assert code == 0
    assert "no abort script is configured" in text
    bench.running(subarray_id=3)


def test_without_a_lane_no_abort_script_is_run(bench):
    activity_id = bench.running()
    stop_id = bench.stop_activity(activity_id)

    assert "holds no subarray" in bench.result(stop_id)[1]
    assert bench.get(activity_id)["abort"] is None


def test_a_prepared_activity_is_stopped_without_an_abort_script(bench):
    # Its subarray may be another's by now.
    other = bench.ready(subarray_id=3)
    bench.running(subarray_id=3)
    stop_id = bench.stop_activity(other)

    assert bench.result(stop_id)[0] == 0
    assert bench.get(other)["abort"] is None
    assert not any(command.run_abort for command in bench.executor.called("stop"))


def test_abort_stops_everything_and_runs_no_abort_scripts(bench):
    done = bench.ended()
    ids = [bench.running(subarray_id=n) for n in (1, 2)] + [bench.ready(), fetching(bench)]
    command_id, targets = bench.service.abort()
    result = bench.result(command_id)

    assert targets == ids
    assert result == [0, "Abort completed OK"]
    assert [bench.state(each) for each in ids] == ["STOPPED"] * 4
    assert bench.state(done) == "SUCCEEDED"
    assert all(bench.get(each)["abort"] is None for each in ids)
    assert bench.executor.alive() == []


def test_abort_with_nothing_to_do_is_done_at_once(bench):
    command_id, targets = bench.service.abort()

    assert targets == []
    assert bench.result(command_id) == [0, "Abort completed OK"]


# --- When the executor does not do its part


def test_a_stop_is_tried_until_the_executor_takes_it(bench):
    bench.executor.troubles["stop"] = deque([ExecutorUnavailable("no"), ExecutorUncertain("no")])
    activity_id = bench.running()
    bench.stop_activity(activity_id)
    bench.becomes(activity_id, "STOPPED")

    assert len(bench.executor.called("stop")) == 3


def test_a_stop_while_the_process_is_being_delivered_reaches_it(bench):
    # PrepareProcess is delivered and its reply lost; the executor's events come, the stop too.
    activity_id = sending(bench)
    bench.executor.tells = False
    bench.executor.troubles["prepare"] = deque([ReplyLost(ExecutorUncertain("no answer"))])
    bench.stop_activity(activity_id)
    bench.executor.gates.pop("prepare").set()
    eventually(lambda: bench.executor.procedures)
    bench.executor.tells = True

    bench.becomes(activity_id, "STOPPED", timeout=0.6)
    assert bench.executor.alive() == []


def test_a_refusal_after_an_uncertain_try_ends_the_activity(bench):
    # Refused now, it cannot have been taken before: the same request id would give the procedure.
    bench.executor.troubles["prepare"] = deque([ExecutorUncertain("?"), ScriptNotAllowed("no")])
    activity_id = bench.run_activity()

    bench.becomes(activity_id, "FAILED", timeout=0.6)
    assert bench.get(activity_id)["reason"] == "SCRIPT_NOT_ALLOWED"


def test_a_stop_after_an_uncertain_try_that_was_not_delivered_ends_the_activity(bench):
    bench.executor.troubles["prepare"] = deque([ExecutorUncertain("?")])
    activity_id = sending(bench)
    bench.stop_activity(activity_id)
    bench.executor.gates.pop("prepare").set()

    bench.becomes(activity_id, "STOPPED", "FAILED", timeout=0.6)


def test_very_many_stops_of_one_activity_are_refused_and_the_first_ones_hold(bench):
    bench.executor.stops = False
    activity_id = bench.running()
    stops = [bench.stop_activity(activity_id) for _ in range(99)]

    with pytest.raises(NoCapacity, match="100 commands wait for activity 1"):
        bench.stop_activity(activity_id)
    bench.executor.end(1, "STOPPED")
    bench.becomes(activity_id, "STOPPED")

    assert {bench.result(stop_id)[0] for stop_id in stops} == {0}
