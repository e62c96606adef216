"""An activity's life: what is told of it, in which order, and what its commands come to."""

import itertools
import json
import threading
from collections import deque

import pytest

from ska_oso_activity.application.command_tracker import TRANSITIONS
from ska_oso_activity.domain.activity import ActivityState
from ska_oso_activity.domain.control_model import TaskStatus
from ska_oso_activity.domain.errors import (
    EnvironmentFailed,
    InvalidRequest,
    NoCapacity,
    NoSpace,
    NotOnline,
    ScriptNotAllowed,
    ScriptNotFound,
    SubarrayBusy,
    UnknownActivity,
    WrongState,
)
from tests.fakes import (
    SBD,
    InMemoryHistory,
    activity_command,
    block_text,
    eventually,
    kwargs,
)

# Typed in from the Tango interface, section 2.2.
EVENT_KEYS = {
    *("epoch", "seq", "time", "activity_id", "command_id", "state", "previous_state", "sbd_id"),
    *("sbd_version", "activity_name", "subarray_id", "sbi_id", "executor", "procedure_id"),
    *("reason", "message"),
}
SUMMARY_KEYS = {
    *("activity_id", "command_id", "command_ids", "request_id", "requested_by", "comment"),
    *("state", "activity_states", "sbd_id", "sbd_version", "sb_uri", "activity_name"),
    *("subarray_id", "prepare_only", "create_env", "script_args", "script", "sbi_id", "executor"),
    *("procedure_id", "progress", "message", "reason", "error", "stacktrace", "result", "abort"),
    "output_tail",
}
PUSH_ORDER = [
    *("activityId", "activityState", "activityEvent", "subarrayActivityState"),
    *("subarrayActivityId", "activityProgress", "activityMessage", "activeActivities"),
]
HAPPY = ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]


def assert_seq_without_gaps(events):
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len({event["epoch"] for event in events}) == 1


def transitions(publisher):
    """The pushes of each transition, one list for each."""
    groups = []
    for name, value in publisher.of(*PUSH_ORDER):
        if name == "activityId":
            groups.append([])
        if groups:
            groups[-1].append((name, value))
    return groups


# --- The happy path


def test_an_activity_that_goes_well_tells_every_state_once_and_in_order(bench):
    bench.executor.log[1] = [{"n": 0, "stream": "stdout", "time": "t", "text": "hello"}]
    activity_id = bench.running(subarray_id=3)
    bench.executor.end(1, result={"a": 1}, message="done")
    bench.becomes(activity_id, "SUCCEEDED")

    events = bench.events()
    assert [event["state"] for event in events] == HAPPY
    assert [event["previous_state"] for event in events] == ["NONE", *HAPPY[:-1]]
    assert_seq_without_gaps(events)
    assert all(event.keys() == EVENT_KEYS for event in events)
    assert {event["command_id"] for event in events} == {bench.get(activity_id)["command_id"]}
    assert {event["subarray_id"] for event in events} == {3}
    assert bench.service.events_since(0) == events
    assert bench.service.events_since(3) == events[3:]


def test_each_transition_pushes_its_attributes_in_the_order_of_the_contract(bench):
    activity_id = bench.running(subarray_id=3)
    bench.executor.end(1)
    bench.becomes(activity_id, "SUCCEEDED")

    groups = transitions(bench.publisher)
    assert len(groups) == len(HAPPY)
    for group, state in zip(groups, HAPPY, strict=True):
        values = dict(group[: len(PUSH_ORDER)])
        assert [name for name, _ in group[: len(PUSH_ORDER)]] == PUSH_ORDER
        assert values["activityId"] == activity_id
        assert values["activityState"] is ActivityState[state]
        assert json.loads(values["activityEvent"])["state"] == state
        assert values["subarrayActivityState"][2] is ActivityState[state]
        assert values["subarrayActivityId"] == [0, 0, activity_id, *[0] * 13]
        assert values["activeActivities"] == (0 if state == "SUCCEEDED" else 1)
    assert dict(groups[-1])["activityProgress"] == 100.0


def test_every_push_is_ascii_json(bench):
    bench.archive.put(block_text(activities={"\u03b1": {"kind": "inline", "content": "\u03b2"}}))
    activity_id = bench.running(activity_name="\u03b1", comment="\u03b3")
    bench.executor.end(1, "FAILED", reason="SCRIPT_ERROR", error="\u03b4" * 600)
    bench.becomes(activity_id, "FAILED")

    assert all(value.isascii() for _, value in bench.publisher.of("activityEvent"))
    assert all(text.isascii() for _, values in bench.publisher.of("activities") for text in values)


def test_the_summary_has_the_keys_of_the_contract_by_id_and_by_every_command_id(bench):
    activity_id = bench.running(requested_by="me", comment="why", request_id="r-1")
    stop_id = bench.stop_activity(activity_id)
    bench.becomes(activity_id, "STOPPED")

    summary = bench.get(activity_id)
    assert summary.keys() == SUMMARY_KEYS
    assert summary["command_ids"] == [summary["command_id"], stop_id]
    assert bench.service.get_activity(stop_id) == summary
    assert bench.service.get_activity(summary["command_id"]) == summary
    assert (summary["requested_by"], summary["comment"]) == ("me", "why")
    assert (summary["request_id"], summary["sb_uri"]) == ("r-1", f"oda://{SBD}")
    assert [state for state, _ in summary["activity_states"]] == bench.story(activity_id)


def test_result_and_output_are_there_with_the_terminal_event_whether_or_not_the_executor_is(bench):
    tail = [{"n": 0, "stream": "stdout", "time": "t", "text": "hello"}]
    bench.executor.log[1] = tail
    activity_id = bench.running()
    bench.executor.end(1, result=[1, {"a": None}], message="bye")
    eventually(lambda: "SUCCEEDED" in bench.story(activity_id))
    bench.executor.away = True

    summary = bench.get(activity_id)
    assert (summary["result"], summary["output_tail"]) == ([1, {"a": None}], tail)
    assert (summary["message"], summary["progress"]) == ("bye", 100.0)
    assert summary["script"]["uri"] == "file:///scripts/observe.py"


@pytest.mark.parametrize("name", ["2", "0", "-1", "", "x", "\u0661", "1" * 40, "1_2_RunActivity"])
def test_an_unknown_activity_is_refused_in_words(bench, name):
    bench.ended()

    with pytest.raises(UnknownActivity, match="known are 1 to 1"):
        bench.service.get_activity(name)


def test_what_the_script_reports_is_told(bench):
    activity_id = bench.running()
    bench.executor.progress(1, 25.0, "a quarter")
    bench.executor.announce(1, "going on")
    bench.executor.settled()

    assert bench.publisher.values["activityProgress"] == 25.0
    assert bench.publisher.values["activityMessage"] == "going on"
    assert (bench.get(activity_id)["progress"], bench.get(activity_id)["message"]) == (
        25.0,
        "going on",
    )
    command_id = bench.get(activity_id)["command_id"]
    assert (command_id, '{"progress":25}') in bench.lrc_events()


def test_only_what_changed_last_shows_in_the_progress_attribute(bench):
    bench.running()
    bench.running()
    bench.publisher.pushes.clear()

    bench.executor.progress(1, 50.0)
    bench.executor.settled()

    assert bench.publisher.of("activityProgress") == []
    assert json.loads(bench.publisher.values["activities"][0])["progress"] == 50.0


# --- What the script is given


def test_the_script_gets_block_and_request_combined_and_the_sbi(bench):
    text = block_text(
        init={"args": [], "kwargs": {"subarray_id": 1, "a": 1}},
        main={"args": [1], "kwargs": {"b": 2, "subarray_id": None}},
    )
    bench.archive.put(text, version=4)
    activity_id = bench.running(subarray_id=5, script_args={"main": kwargs(b=3, c=4)})

    (prepared,) = bench.executor.called("prepare")
    (started,) = bench.executor.starts
    assert prepared.init_args.kwargs == {"subarray_id": 5, "a": 1}
    assert prepared.scheduling_block.content == text
    assert (prepared.scheduling_block.sbd_id, prepared.scheduling_block.version) == (SBD, 4)
    assert (prepared.subarray_id, prepared.telescope) == (5, "ska_mid")
    assert prepared.labels["activity_id"] == activity_id
    assert started.function == "main"
    assert started.args.args == (1,)
    summary = bench.get(activity_id)
    assert started.args.kwargs == {"b": 3, "c": 4, "subarray_id": 5, "sbi_id": summary["sbi_id"]}
    assert summary["script_args"]["init"] == kwargs(subarray_id=5, a=1)
    assert summary["sbd_version"] == 4


def test_an_old_blocks_run_arguments_go_to_the_started_function(bench):
    activities = {
        "observe": {
            "procedure_type": "filesystemscript",
            "path": "/scripts/observe.py",
            "default_args": {"init": kwargs(subarray_id=2), "run": {"args": [7], "kwargs": {}}},
        }
    }
    bench.archive.put(block_text(activities=activities))
    activity_id = bench.running()

    assert bench.executor.starts[0].args.args == (7,)
    assert bench.get(activity_id)["subarray_id"] == 2


def test_a_git_script_is_run_in_its_environment_if_the_request_asks_for_it(bench):
    git = {"kind": "git", "path": "git://a.py", "repo": "https://example.org/a.git"}
    bench.archive.put(block_text(activities={"observe": git}))
    bench.running(create_env=True)

    assert bench.executor.called("prepare")[0].script.create_env is True


def test_a_draft_in_a_file_is_run_without_an_sbi(bench):
    bench.archive.files["/blocks/draft.json"] = block_text(None)
    activity_id = bench.running(sb_uri="file:///blocks/draft.json")
    bench.executor.end(1)
    bench.becomes(activity_id, "SUCCEEDED")

    assert bench.archive.sbi_requests == []
    assert "sbi_id" not in bench.executor.starts[0].args.kwargs
    assert bench.get(activity_id)["sbi_id"] is None
    assert bench.get(activity_id)["sbd_id"] is None


# --- The SBI


def test_the_sbi_goes_from_created_over_executing_to_observed(bench):
    activity_id = bench.running(subarray_id=3, script_args={"main": kwargs(a=1)})
    bench.executor.end(1)
    bench.becomes(activity_id, "SUCCEEDED")
    sbi_id = bench.get(activity_id)["sbi_id"]
    eventually(lambda: (sbi_id, "Observed") in bench.archive.statuses)

    assert bench.archive.statuses == [(sbi_id, s) for s in ("Created", "Executing", "Observed")]
    (instance,) = bench.archive.sbis.values()
    assert (instance.sbd_id, instance.sbd_version, instance.telescope) == (SBD, 1, "ska_mid")
    assert (instance.subarray_id, instance.activity_name) == (3, "observe")
    assert instance.runtime_args["main"].kwargs == {"a": 1}


@pytest.mark.parametrize("how", ["stopped", "failed", "stopped before its main"])
def test_the_sbi_of_an_activity_that_does_not_succeed_is_failed(bench, how):
    if how == "stopped before its main":
        activity_id = bench.ready()
        bench.stop_activity(activity_id)
    else:
        activity_id = bench.running()
        if how == "stopped":
            bench.stop_activity(activity_id)
        else:
            bench.executor.end(1, "FAILED", reason="SCRIPT_ERROR", error="no")
    bench.becomes(activity_id, "STOPPED", "FAILED")
    sbi_id = bench.get(activity_id)["sbi_id"]
    eventually(lambda: (sbi_id, "Failed") in bench.archive.statuses)

    assert bench.archive.statuses[0] == (sbi_id, "Created")
    assert bench.archive.statuses[-1] == (sbi_id, "Failed")


def test_main_is_never_started_where_the_sbi_cannot_be_created(bench):
    bench.archive.refusing_sbis = True
    bench.executor.stops = False
    activity_id = bench.run_activity()
    eventually(lambda: bench.executor.called("stop"))
    bench.executor.settled()
    before = bench.state(activity_id)
    bench.executor.end(1, "STOPPED", reason="STOPPED_BY_REQUEST")
    bench.becomes(activity_id, "FAILED")

    # The process was gone first.
    assert before in ("PREPARING", "READY")
    assert bench.executor.starts == []
    summary = bench.get(activity_id)
    assert summary["reason"] == "ODA_UNAVAILABLE"
    assert "SBI could not be created" in summary["error"]
    assert summary["sbi_id"] is None


def test_main_waits_for_the_sbi(bench):
    bench.archive.takes_sbis.clear()
    activity_id = bench.run_activity()
    bench.becomes(activity_id, "READY")
    bench.executor.settled()
    started_before = list(bench.executor.starts)
    bench.archive.takes_sbis.set()
    bench.becomes(activity_id, "RUNNING")

    assert started_before == []
    assert len(bench.executor.starts) == 1


def test_a_status_that_the_archive_does_not_take_ends_nothing(bench):
    bench.archive.refusing_statuses = True
    activity_id = bench.ended()

    assert bench.story(activity_id) == HAPPY


# --- prepare_only and StartActivity


def test_a_prepared_activity_waits_for_start_activity(bench):
    activity_id = bench.ready(subarray_id=3)
    command_id = bench.get(activity_id)["command_id"]
    first = bench.result(command_id)
    start_id = bench.start_activity(activity_id, script_args={"main": kwargs(x=1)})
    bench.becomes(activity_id, "RUNNING")
    bench.executor.end(1)

    assert first == [0, f"Activity {activity_id} READY"]
    assert bench.result(start_id) == [0, f"Activity {activity_id} SUCCEEDED"]
    assert bench.results(command_id) == [first]
    assert bench.story(activity_id) == HAPPY
    assert bench.executor.starts[0].args.kwargs["x"] == 1
    assert bench.get(activity_id)["command_ids"] == [command_id, start_id]
    assert bench.get(activity_id)["script_args"]["main"]["kwargs"]["x"] == 1
    assert {event["command_id"] for event in bench.events()} == {command_id}


@pytest.mark.parametrize("state", ["RUNNING", "SUCCEEDED"])
def test_only_a_ready_activity_can_be_started(bench, state):
    activity_id = bench.running() if state == "RUNNING" else bench.ended()
    before = bench.get(activity_id)

    with pytest.raises(WrongState, match=f"activity {activity_id} is {state}"):
        bench.start_activity(activity_id)

    assert bench.get(activity_id) == before


def test_an_activity_is_started_once(bench):
    bench.executor.gates["start"] = gate = threading.Event()
    activity_id = bench.ready()
    bench.start_activity(activity_id)

    with pytest.raises(WrongState):
        bench.start_activity(activity_id)

    gate.set()
    bench.becomes(activity_id, "RUNNING")
    assert len(bench.executor.called("start")) == 1


def test_an_unknown_activity_cannot_be_started(bench):
    with pytest.raises(UnknownActivity, match="there is none yet"):
        bench.start_activity(1)


def test_a_start_for_another_subarray_than_it_was_prepared_for_is_refused(bench):
    activity_id = bench.ready(subarray_id=3)

    with pytest.raises(InvalidRequest, match=r"subarray 3.*subarray 4"):
        bench.start_activity(activity_id, script_args={"main": kwargs(subarray_id=4)})

    assert bench.state(activity_id) == "READY"


# --- Lanes


def test_a_busy_lane_is_refused_and_names_who_holds_it(bench):
    bench.running(subarray_id=3)

    with pytest.raises(SubarrayBusy, match=rf"subarray 3 is running activity 1 \(observe of {SBD}"):
        bench.run_activity(subarray_id=3)

    assert bench.listed() == [1]
    assert bench.running(subarray_id=4) == 2


def test_without_a_subarray_there_is_no_lane(bench):
    bench.running()

    assert bench.running() == 2


def test_a_lane_named_in_the_kwargs_is_taken_too(bench):
    bench.running(script_args={"init": kwargs(subarray_id=3)})

    with pytest.raises(SubarrayBusy):
        bench.run_activity(subarray_id=3)


def test_a_lane_is_free_again_after_the_end(bench):
    bench.ended(subarray_id=3)

    assert bench.running(subarray_id=3) == 2


def test_a_prepared_activity_takes_its_lane_at_the_start(bench):
    prepared = bench.ready(subarray_id=3)
    other = bench.running(subarray_id=3)

    with pytest.raises(SubarrayBusy, match=f"activity {other}"):
        bench.start_activity(prepared)

    assert bench.state(prepared) == "READY"
    bench.executor.end(2)
    bench.becomes(other, "SUCCEEDED")
    bench.start_activity(prepared)
    bench.becomes(prepared, "RUNNING")
    with pytest.raises(SubarrayBusy, match=f"activity {prepared}"):
        bench.run_activity(subarray_id=3)


def test_a_lane_that_only_the_block_names_is_taken_once_it_is_read(bench):
    bench.archive.put(block_text(init=kwargs(subarray_id=3)))
    first = bench.running()
    second = bench.run_activity()
    bench.becomes(second, "FAILED")

    assert bench.get(first)["subarray_id"] == 3
    summary = bench.get(second)
    assert summary["reason"] == "SUBARRAY_BUSY"
    assert f"activity {first}" in summary["error"]
    assert len(bench.executor.called("prepare")) == 1
    with pytest.raises(SubarrayBusy):
        bench.run_activity(subarray_id=3)


def test_the_lane_is_held_until_the_abort_script_has_ended(bench):
    bench.executor.aborts = False
    activity_id = bench.running(subarray_id=3)
    bench.stop_activity(activity_id)
    bench.becomes(activity_id, "STOPPED")

    with pytest.raises(SubarrayBusy, match=f"abort script of activity {activity_id}"):
        bench.run_activity(subarray_id=3)

    bench.executor.make_ready(2)
    bench.executor.say(2, "RUNNING")
    bench.executor.say(2, "COMPLETE")
    bench.executor.settled()
    bench.running(subarray_id=3)


def test_a_device_of_one_subarray_serves_that_alone(benches):
    bench = benches(subarray_id=2).begin()
    activity_id = bench.running()

    with pytest.raises(InvalidRequest, match="serves subarray 2 alone"):
        bench.run_activity(subarray_id=3)
    with pytest.raises(InvalidRequest, match="serves subarray 2 alone"):
        bench.run_activity(script_args={"main": kwargs(subarray_id=3)})
    with pytest.raises(SubarrayBusy):
        bench.run_activity()

    assert bench.get(activity_id)["subarray_id"] == 2


# --- Refusals


def test_a_refusal_creates_nothing_and_uses_no_id(bench):
    bench.service.set_closed("adminMode is OFFLINE")
    with pytest.raises(NotOnline, match="adminMode is OFFLINE"):
        bench.run_activity()
    bench.service.set_closed(None)

    assert bench.listed() == []
    assert bench.publisher.of("activityId", "_lrcEvent") == []
    assert bench.running() == 1


def test_start_is_refused_while_closed_and_stop_is_not(bench):
    activity_id = bench.ready()
    bench.service.set_closed("adminMode is OFFLINE")

    with pytest.raises(NotOnline, match="StartActivity"):
        bench.start_activity(activity_id)

    bench.stop_activity(activity_id)
    bench.becomes(activity_id, "STOPPED")


def test_a_block_outside_the_roots_is_refused(bench):
    with pytest.raises(InvalidRequest, match="SchedulingBlockRoots"):
        bench.run_activity(sb_uri="file:///etc/passwd.json")

    assert bench.archive.fetched == []


def test_there_is_room_for_100_and_no_more(bench):
    bench.archive.answers.clear()
    for _ in range(100):
        bench.run_activity()

    with pytest.raises(NoCapacity, match="100 activities are not finished"):
        bench.run_activity()

    assert bench.publisher.values["activeActivities"] == 100
    assert len(bench.publisher.values["activities"]) == 100
    bench.stop_activity(1)
    bench.becomes(1, "STOPPED")
    assert bench.run_activity() == 101


def test_without_an_executor_that_answers_there_is_no_capacity(benches):
    bench = benches().begin()
    bench.executor.go_away()

    with pytest.raises(NoCapacity, match=r"does not answer|no executor answers"):
        bench.run_activity()
    with pytest.raises(NoCapacity, match="no executor is configured"):
        benches(executors=[]).begin().run_activity()


def test_the_same_request_id_starts_nothing_new(bench):
    first = bench.service.run_activity(activity_command(request_id="r-1"))
    again = bench.service.run_activity(activity_command(request_id="r-1", activity_name="other"))
    bench.becomes(1, "RUNNING")
    bench.executor.end(1)
    bench.becomes(1, "SUCCEEDED")
    bench.service.set_closed("adminMode is OFFLINE")
    later = bench.service.run_activity(activity_command(request_id="r-1"))

    assert first == again == later
    assert bench.listed() == [1]
    assert len(bench.executor.called("prepare")) == 1


# --- Failures

FAILURES = {
    "no such block": ("SB_NOT_FOUND", lambda b: b.archive.blocks.clear()),
    "no JSON": ("SB_INVALID", lambda b: b.archive.put("{")),
    "another block": ("SB_INVALID", lambda b: b.archive.put(block_text("sbd-other"))),
    "a function too many": (
        "SB_INVALID",
        lambda b: b.archive.put(
            block_text(
                activities={
                    "observe": {"kind": "inline", "content": "", "function_args": {"__init__": {}}}
                }
            )
        ),
    ),
    "a subarray too far": (
        "SB_INVALID",
        lambda b: b.archive.put(block_text(init=kwargs(subarray_id=17))),
    ),
    "too large": ("SB_INVALID", lambda b: b.archive.put(" " * (8 * 1024 * 1024 + 1))),
    "no archive": ("ODA_UNAVAILABLE", lambda b: setattr(b.archive, "absent", True)),
    "no activity": (
        "ACTIVITY_NOT_FOUND",
        lambda b: b.archive.put(block_text(activities={"other": {}})),
    ),
    "not allowed": (
        "SCRIPT_NOT_ALLOWED",
        lambda b: b.executor.troubles.update(prepare=_queue(ScriptNotAllowed("no"))),
    ),
    "no script": (
        "SCRIPT_NOT_FOUND",
        lambda b: b.executor.troubles.update(prepare=_queue(ScriptNotFound("no"))),
    ),
    "a defect": (
        "INTERNAL_ERROR",
        lambda b: b.executor.troubles.update(prepare=_queue(RuntimeError("oops"))),
    ),
}


def _queue(*troubles):
    return deque(troubles)


@pytest.mark.parametrize(("reason", "harm"), FAILURES.values(), ids=FAILURES.keys())
def test_what_is_found_later_fails_the_activity_with_its_reason(bench, reason, harm):
    harm(bench)
    activity_id = bench.run_activity()
    bench.becomes(activity_id, "FAILED")

    summary = bench.get(activity_id)
    assert summary["reason"] == reason
    assert bench.story(activity_id) == ["REQUESTED", "PREPARING", "FAILED"]
    assert bench.events()[-1]["reason"] == reason
    assert bench.events()[-1]["message"] == summary["error"]
    assert bench.result(summary["command_id"]) == [
        3,
        f"Activity {activity_id} FAILED: {reason}: {summary['error']}",
    ]
    assert bench.executor.alive() == []
    assert bench.archive.sbis == {}


@pytest.mark.parametrize(
    "reason", ["SCRIPT_ERROR", "SCRIPT_DIED", "ENVIRONMENT_ERROR", "SCRIPT_LOAD_ERROR", "TIMEOUT"]
)
@pytest.mark.parametrize("when", ["PREPARING", "READY", "RUNNING"])
def test_a_script_that_fails_fails_the_activity_as_it_says(bench, reason, when):
    bench.executor.prepares = when != "PREPARING"
    activity_id = bench.run_activity(prepare_only=when == "READY")
    eventually(lambda: bench.executor.procedures)
    bench.becomes(activity_id, when)

    bench.executor.end(1, "FAILED", reason=reason, error="ValueError: no", stacktrace="Trace")
    bench.becomes(activity_id, "FAILED")

    summary = bench.get(activity_id)
    assert (summary["reason"], summary["error"], summary["stacktrace"]) == (
        reason,
        "ValueError: no",
        "Trace",
    )


def test_an_environment_that_cannot_be_built_is_one_clean_failure(bench):
    bench.executor.troubles["prepare"] = _queue(EnvironmentFailed("clone failed"))
    activity_id = bench.run_activity()
    bench.becomes(activity_id, "FAILED")

    assert bench.get(activity_id)["reason"] == "ENVIRONMENT_ERROR"


# --- Long-running commands


def test_every_lrc_passes_legal_statuses_once_each_and_ends_with_one_result(bench):
    good = bench.ended()
    bad = bench.running()
    bench.executor.end(2, "FAILED", reason="SCRIPT_ERROR", error="ValueError: no")
    bench.becomes(bad, "FAILED")
    stopped = bench.running(subarray_id=1)
    stop_id = bench.stop_activity(stopped)
    bench.result(stop_id)
    late_id = bench.stop_activity(good)
    abort_id, _ = bench.service.abort()

    expected = {
        bench.get(good)["command_id"]: (TaskStatus.COMPLETED, [0, "Activity 1 SUCCEEDED"]),
        bench.get(bad)["command_id"]: (
            TaskStatus.FAILED,
            [3, "Activity 2 FAILED: SCRIPT_ERROR: ValueError: no"],
        ),
        bench.get(stopped)["command_id"]: (TaskStatus.ABORTED, [7, "Activity 3 STOPPED"]),
        stop_id: (TaskStatus.COMPLETED, [0, "Activity 3 STOPPED"]),
        late_id: (TaskStatus.COMPLETED, [0, "Activity 1 was SUCCEEDED"]),
        abort_id: (TaskStatus.COMPLETED, [0, "Abort completed OK"]),
    }
    for command_id, (status, result) in expected.items():
        assert bench.result(command_id) == result
        told = bench.statuses(command_id)
        assert told[0] is TaskStatus.STAGING.value
        assert told[-1] == status
        assert len(set(told)) == len(told)
        for before, after in itertools.pairwise(told):
            assert TaskStatus(after) in TRANSITIONS[TaskStatus(before)]
        assert bench.tracker.status(command_id) == status.name


def test_run_activitys_result_comes_after_the_terminal_event(bench):
    activity_id = bench.ended()
    command_id = bench.get(activity_id)["command_id"]

    names = [
        name
        for name, value in bench.publisher.pushes
        if (name == "activityState" and value is ActivityState.SUCCEEDED)
        or name == "activityEvent"
        or (name == "longRunningCommandResult" and value[0] == command_id)
    ]
    assert names[-3:] == ["activityState", "activityEvent", "longRunningCommandResult"]


def test_the_result_comes_before_the_status_and_the_lists(bench):
    activity_id = bench.ended()
    command_id = bench.get(activity_id)["command_id"]

    names = [name for name, _ in bench.publisher.pushes]
    at = names.index("longRunningCommandResult")
    assert names[at : at + 6] == [
        "longRunningCommandResult",
        "longRunningCommandStatus",
        "longRunningCommandInProgress",
        "_lrcEvent",
        "lrcExecuting",
        "lrcFinished",
    ]
    uid, news = bench.publisher.pushes[at + 3][1]
    assert uid == command_id
    assert json.loads(news) == {"status": 5, "result": [0, f"Activity {activity_id} SUCCEEDED"]}


def test_no_lrc_attribute_is_ever_longer_than_its_dimension(bench):
    bench.executor.stops = False
    ids = [bench.run_activity() for _ in range(100)]
    for activity_id in ids:
        bench.becomes(activity_id, "RUNNING")
    for activity_id in ids:
        bench.stop_activity(activity_id)

    longest = {}
    for name, value in bench.publisher.pushes:
        if name.startswith(("lrc", "longRunning")):
            longest[name] = max(longest.get(name, 0), len(value))
    assert longest["longRunningCommandInProgress"] <= 128
    assert longest["lrcExecuting"] <= 129
    assert longest["lrcQueue"] <= 192
    assert longest["longRunningCommandStatus"] <= 2 * 192


# --- Lists and views


def test_activities_are_listed_newest_first_and_filtered_by_each_key(bench):
    bench.archive.put(block_text("sbd-b"), sbd_id="sbd-b")
    first = bench.ended(subarray_id=1)
    second = bench.running(subarray_id=2)
    third = bench.running(sbd_id="sbd-b")

    assert bench.listed() == [third, second, first]
    assert bench.listed(state="SUCCEEDED") == [first]
    assert bench.listed(state="RUNNING") == [third, second]
    assert bench.listed(sbd_id="sbd-b") == [third]
    assert bench.listed(subarray_id=2) == [second]
    assert bench.listed(before=third) == [second, first]
    assert bench.listed(limit=1) == [third]
    assert bench.listed(before=third, limit=1, state="RUNNING") == [second]


def test_short_summaries_leave_out_what_is_large(bench):
    bench.ended()

    short = json.loads(bench.publisher.values["activities"][0])
    assert not {"script_args", "result", "stacktrace"} & short.keys()
    assert short.keys() >= {"activity_id", "state", "sbd_id", "activity_name", "command_id"}


def test_the_view_shows_the_unfinished_and_the_newest_100(bench):
    bench.archive.blocks.clear()
    live = bench.run_activity()
    bench.becomes(live, "FAILED")
    bench.archive.put(block_text())
    live = bench.running()
    bench.archive.blocks.clear()
    for _ in range(105):
        bench.becomes(bench.run_activity(), "FAILED")

    shown = [json.loads(text)["activity_id"] for text in bench.publisher.values["activities"]]
    assert len(shown) == 100
    assert shown == [live, *range(9, 108)]


def test_the_history_keeps_the_newest_and_uses_no_id_twice(benches):
    history = InMemoryHistory(keep=3)
    bench = benches(history=history).begin()
    for _ in range(5):
        bench.ended()
    again = benches(history=history.reopened()).begin()

    assert bench.listed() == [5, 4, 3]
    with pytest.raises(UnknownActivity, match="known are 3 to 5"):
        bench.get(1)
    assert again.listed() == [5, 4, 3]
    assert again.run_activity() == 6


def test_the_history_keeps_the_newest_even_if_they_were_requested_long_ago(benches):
    bench = benches(history=InMemoryHistory(keep=3)).begin()
    long_running = bench.ready()
    for _ in range(3):
        bench.ended()
    bench.stop_activity(long_running)
    eventually(lambda: bench.story(long_running)[-1] == "STOPPED")
    bench.executor.settled()

    assert bench.events(long_running)[-1] in bench.service.events_since(0)
    assert bench.state(long_running) == "STOPPED"


# --- A disk that takes nothing


def test_a_disk_that_takes_no_record_refuses_the_request_and_forgets_nothing(bench):
    bench.history.refusing = True
    with pytest.raises(NoSpace, match="not accepted"):
        bench.run_activity()
    bench.history.refusing = False

    assert bench.listed() == []
    assert bench.events() == []
    assert bench.publisher.of("activityId") == []
    assert bench.run_activity() == 1
    assert bench.events()[0]["seq"] == 1


def test_accepted_means_durable(bench):
    bench.archive.answers.clear()
    activity_id = bench.run_activity()

    assert bench.history.appended[0] == (activity_id, "REQUESTED", 1, True)


def test_the_terminal_record_is_synced_before_it_is_announced(bench):
    activity_id = bench.ended()

    terminal = [entry for entry in bench.history.appended if entry[1] == "SUCCEEDED"]
    assert terminal[0] == (activity_id, "SUCCEEDED", 5, True)


def test_while_the_disk_refuses_events_wait_in_order_and_then_all_are_told(bench):
    activity_id = bench.running()
    bench.history.refusing = True
    bench.executor.end(1, result=42)
    eventually(bench.disk_troubles)
    told_meanwhile = bench.story(activity_id)
    (trouble,) = bench.disk_troubles()
    bench.history.refusing = False
    eventually(lambda: bench.story(activity_id) == HAPPY)
    eventually(lambda: bench.disk_troubles()[-1] is None)

    assert told_meanwhile == HAPPY[:-1]
    assert "cannot be written" in trouble
    assert_seq_without_gaps(bench.events())
    assert bench.get(activity_id)["result"] == 42


def test_while_records_wait_nothing_new_is_accepted(bench):
    bench.running()
    bench.history.refusing = True
    bench.executor.end(1)
    eventually(bench.disk_troubles)

    with pytest.raises(NoSpace):
        bench.run_activity()

    bench.history.refusing = False


def test_a_stop_of_what_has_ended_and_waits_for_the_disk_does_not_call_it_running(bench):
    activity_id = bench.running()
    bench.history.refusing = True
    bench.executor.end(1)
    bench.executor.settled()
    stop_id = bench.stop_activity(activity_id)
    bench.history.refusing = False

    assert bench.result(stop_id) == [0, f"Activity {activity_id} was SUCCEEDED"]


def test_a_stop_works_while_the_disk_refuses(bench):
    activity_id = bench.running()
    bench.history.refusing = True
    bench.stop_activity(activity_id)
    eventually(lambda: bench.executor.alive() == [])
    bench.history.refusing = False
    eventually(lambda: bench.story(activity_id)[-1] == "STOPPED")

    assert bench.story(activity_id)[-2:] == ["STOPPING", "STOPPED"]


def test_the_lrcs_result_waits_for_the_terminal_event_that_waits_for_the_disk(bench):
    activity_id = bench.running()
    command_id = bench.get(activity_id)["command_id"]
    bench.history.refusing = True
    bench.executor.end(1)
    bench.executor.settled()

    assert bench.results(command_id) == []


def test_start_activity_is_refused_by_a_disk_that_takes_no_record(bench):
    activity_id = bench.ready()
    bench.history.refusing = True

    with pytest.raises(NoSpace):
        bench.start_activity(activity_id)


def test_stop_activity_is_on_disk_when_it_is_accepted(bench):
    bench.executor.stops = False
    activity_id = bench.running()
    before = len(bench.history.appended)
    bench.stop_activity(activity_id)

    assert any(durable for *_, durable in bench.history.appended[before:])


def test_a_refusal_by_the_disk_is_told_to_health(bench):
    bench.history.refusing = True
    with pytest.raises(NoSpace):
        bench.run_activity()

    assert any(bench.disk_troubles())


def test_an_end_is_told_and_settled_even_if_old_records_cannot_be_removed(benches):
    history = InMemoryHistory(keep=1)
    bench = benches(history=history).begin()
    bench.ended()
    activity_id = bench.running()
    command_id = bench.get(activity_id)["command_id"]
    history.refusing_trim = True
    bench.executor.end(2)

    assert bench.result(command_id, timeout=0.3) == [0, f"Activity {activity_id} SUCCEEDED"]
