"""What once wedged an activity, a lane or a whole device: each must find its end."""

from collections import deque
from functools import reduce

from ska_oso_activity.application.records import keepable
from ska_oso_activity.application.script_execution_service import ExecutionSettings
from ska_oso_activity.domain.errors import ExecutorUncertain, NotOnline
from tests.fakes import eventually


def nested(depth):
    return reduce(lambda inner, _: [inner], range(depth), 1)


def test_a_result_too_deep_for_json_is_not_kept_and_said_so():
    assert keepable(nested(60)) == (nested(60), "")
    for depth in (65, 980, 5000):
        kept, note = keepable(nested(depth))
        assert kept is None
        assert "cannot be kept" in note


def test_a_result_too_deep_for_json_ends_its_activity_and_holds_up_no_other(bench):
    first = bench.running(subarray_id=1)
    second = bench.running(subarray_id=2)
    bench.executor.end(1, result=nested(500))
    bench.executor.end(2, result=7)
    bench.becomes(first, "SUCCEEDED")
    bench.becomes(second, "SUCCEEDED")

    assert bench.get(first)["result"] is None
    assert "cannot be kept" in bench.get(first)["message"]
    assert bench.get(second)["result"] == 7


def test_a_record_that_cannot_be_written_for_a_defect_of_ours_holds_up_no_other(bench):
    append = bench.history.append

    def defective(record_id, record, event, **how):
        if record_id == 1 and record.get("stacktrace") is not None:
            raise RecursionError
        append(record_id, record, event, **how)

    bench.history.append = defective
    first = bench.running()
    second = bench.running()
    bench.executor.end(1, "FAILED", reason="SCRIPT_ERROR", stacktrace="deep")
    bench.executor.end(2)
    bench.becomes(first, "FAILED")
    bench.becomes(second, "SUCCEEDED")

    assert bench.running() == 3


def test_a_second_stop_with_abort_finds_its_end_though_the_script_was_gone_already(bench):
    bench.executor.stops = False
    activity_id = bench.running(subarray_id=3)
    bench.stop_activity(activity_id, run_abort=False)
    eventually(lambda: bench.executor.called("stop"))
    bench.executor.go_away()
    bench.becomes(activity_id, "UNKNOWN")
    second = bench.stop_activity(activity_id, run_abort=True)
    bench.executor.end(1, "STOPPED")
    bench.executor.come_back()
    bench.becomes(activity_id, "STOPPED")

    assert bench.result(second)[0] == 0
    bench.running(subarray_id=3)


def test_one_question_that_fails_when_the_executor_is_back_is_asked_again(bench):
    activity_id = bench.running(subarray_id=3)
    bench.executor.settled()
    bench.executor.go_away()
    bench.becomes(activity_id, "UNKNOWN")
    stop_id = bench.stop_activity(activity_id)
    bench.executor.troubles["get"] = deque([ExecutorUncertain("busy")])
    bench.executor.come_back()

    assert bench.result(stop_id)[0] == 0
    assert bench.state(activity_id) == "STOPPED"


def test_a_refusal_for_want_of_room_after_an_uncertain_try_ends_the_activity(bench):
    bench.executor.troubles["prepare"] = deque([ExecutorUncertain("?"), *[NotOnline("no")] * 99])
    activity_id = bench.run_activity()
    bench.becomes(activity_id, "FAILED")

    assert bench.get(activity_id)["reason"] == "EXECUTOR_UNAVAILABLE"


def test_room_is_told_as_soon_as_a_script_has_ended(workshops):
    workshop = workshops(settings=ExecutionSettings(most=1)).begin()
    workshop.ended()

    assert workshop.publisher.of("freeSlots")[-1][1] == 1


def test_a_script_that_no_record_knows_is_stopped(workshop):
    workshop.host.told.on_host_attached(frozenset({41}), same_host=False)

    assert workshop.host.stopped == [(41, 3.0)]
    assert workshop.prepare() == 42
