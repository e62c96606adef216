"""RunActivity as a subscriber sees it: states, events, their order, and the result."""

import itertools
import json
import re

import pytest
import tango

from tests.device.client import Client, Recorder
from tests.device.stack import Stack

STATES = [
    "NONE",
    "REQUESTED",
    "PREPARING",
    "READY",
    "RUNNING",
    "STOPPING",
    "SUCCEEDED",
    "FAILED",
    "STOPPED",
    "UNKNOWN",
]
SUCCESS = ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]
EVENT_KEYS = [
    "epoch",
    "seq",
    "time",
    "activity_id",
    "command_id",
    "state",
    "previous_state",
    "sbd_id",
    "sbd_version",
    "activity_name",
    "subarray_id",
    "sbi_id",
    "executor",
    "procedure_id",
    "reason",
    "message",
]
SUMMARY_KEYS = [
    "activity_id",
    "command_id",
    "command_ids",
    "request_id",
    "requested_by",
    "comment",
    "state",
    "activity_states",
    "sbd_id",
    "sbd_version",
    "sb_uri",
    "activity_name",
    "subarray_id",
    "prepare_only",
    "create_env",
    "script_args",
    "script",
    "sbi_id",
    "executor",
    "procedure_id",
    "progress",
    "message",
    "reason",
    "error",
    "stacktrace",
    "result",
    "abort",
    "output_tail",
]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_each_state_is_announced_once_and_in_order(stack: Stack, client: Client):
    run = client.run(stack.block_of("echo.py"))

    assert run.states == SUCCESS
    assert [event["previous_state"] for event in run.events] == ["NONE", *SUCCESS[:-1]]
    assert (run.result, run.status) == (
        [0, f"Activity {run.activity['activity_id']} SUCCEEDED"], "COMPLETED"
    )  # fmt: skip


def test_events_have_exactly_the_keys_and_types_of_the_contract(stack: Stack, client: Client):
    sbd_id = stack.block_of("echo.py")

    run = client.run(sbd_id, subarray_id=7)

    last = run.events[-1]
    assert [list(event) for event in run.events] == [EVENT_KEYS] * 5
    assert all(TIME.fullmatch(event["time"]) for event in run.events)
    assert all(
        isinstance(event["seq"], int) and isinstance(event["epoch"], str) for event in run.events
    )
    assert {event["command_id"] for event in run.events} == {run.command_id}
    assert {event["activity_id"] for event in run.events} == {run.activity["activity_id"]}
    assert {event["sbd_id"] for event in run.events} == {sbd_id}
    assert {event["subarray_id"] for event in run.events} == {7}
    assert {event["activity_name"] for event in run.events} == {"observe"}
    assert {event["reason"] for event in run.events} == {None}
    assert all(isinstance(event["message"], str) for event in run.events)
    assert (last["sbd_version"], last["executor"]) == (1, "mid-oso/script-execution/01")
    assert isinstance(last["procedure_id"], int)
    assert last["sbi_id"].startswith("sbi-")


def test_seq_rises_by_one_within_one_epoch(stack: Stack, client: Client):
    sbd_id = stack.block_of("takes_nothing.py")
    for _ in range(3):
        client.run(sbd_id)

    events = [event.json for event in client.recorder.news("activityEvent")]

    first = events[0]["seq"]
    assert [event["seq"] for event in events] == list(range(first, first + 15))
    assert len({event["epoch"] for event in events}) == 1
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)


def test_a_transition_is_pushed_as_id_then_state_then_event_then_the_others(
    stack: Stack, client: Client
):
    others = {"subarrayActivityState", "subarrayActivityId", "activityProgress", "activityMessage"}
    others |= {"activeActivities", "activities"}
    leading = ["activityId", "activityState", "activityEvent"]

    with Recorder(client.device, *leading, *sorted(others)) as recorder:
        run = client.run(stack.block_of("takes_nothing.py"), subarray_id=2)
        recorder.wait(
            lambda: any(
                json.loads(event.value[-1])["state"] == "SUCCEEDED"
                for event in recorder.news("activities")
            ),
            "the view of activities",
        )

    names = [event.attribute for event in recorder.news()]
    while names[0] == "activities":  # a view of what went before may come late
        del names[0]
    heads = [index for index, name in enumerate(names) if name == "activityId"]
    assert [names[index : index + 3] for index in heads] == [leading] * 5
    assert names[0] == "activityId"
    assert names.count("activityState") == names.count("activityEvent") == 5
    ids = recorder.values("activityId")
    states = [STATES[value] for value in recorder.values("activityState")]
    assert (set(ids), states) == ({run.activity["activity_id"]}, SUCCESS)


def test_subarray_attributes_follow_each_transition(stack: Stack, client: Client):
    with Recorder(client.device, "subarrayActivityState", "subarrayActivityId") as recorder:
        run = client.run(stack.block_of("takes_nothing.py"), subarray_id=16)
        recorder.wait(
            lambda: [v[15] for v in recorder.values("subarrayActivityState")][-1:] == [6],
            "SUCCEEDED",
        )

    seen = [STATES[value[15]] for value in recorder.values("subarrayActivityState")]
    assert list(dict.fromkeys(seen)) == SUCCESS
    assert recorder.values("subarrayActivityId")[-1][15] == run.activity["activity_id"]


def test_progress_is_0_at_running_and_100_at_succeeded(stack: Stack, client: Client):
    with Recorder(
        client.device, "activityEvent", "activityProgress", "activityMessage"
    ) as recorder:
        run = client.run(stack.block_of("announces.py"))
        recorder.wait(lambda: recorder.values("activityProgress")[-1:] == [100.0], "progress 100")

    progress = recorder.values("activityProgress")
    told = list(dict.fromkeys(progress))
    assert told == [0.0, 25.0, 50.0, 100.0]
    messages = [message for message in recorder.values("activityMessage") if message]
    announced = list(dict.fromkeys(messages))
    assert announced[:3] == ["by user.script.announce", "by script.announce", "by announce"]
    assert run.activity["progress"] == 100.0


def test_activeactivities_counts_those_not_finished(stack: Stack, client: Client):
    gate = stack.directory / "gate-active"
    sbd_id = stack.block_of("gated.py", main={"kwargs": {"gate": str(gate)}})

    with Recorder(client.device, "activeActivities") as recorder:
        first = client.start(sbd_id)
        second = client.start(sbd_id)
        at_most = client.device.activeActivities
        gate.touch()
        client.finish(first["command_id"])
        client.finish(second["command_id"])
        recorder.wait(lambda: recorder.values("activeActivities")[-1:] == [0], "nothing active")

    assert at_most == 2
    assert set(recorder.values("activeActivities")) == {0, 1, 2}


def test_attributes_read_as_the_value_last_pushed(stack: Stack, client: Client):
    names = ["activityId", "activityState", "activityEvent", "activityProgress", "activityMessage"]
    names += ["activeActivities", "subarrayActivityState", "subarrayActivityId", "activities"]
    with Recorder(client.device, *names) as recorder:
        client.run(stack.block_of("announces.py"), subarray_id=1)
        recorder.wait(
            lambda: any(
                json.loads(event.value[-1])["state"] == "SUCCEEDED"
                for event in recorder.news("activities")
            ),
            "the view of activities",
        )

    for name in names:
        read = client.device.read_attribute(name).value
        read = list(read) if isinstance(recorder.values(name)[-1], list) else read
        assert read == recorder.values(name)[-1], name


def test_the_commands_result_and_status_follow_the_terminal_event(stack: Stack, client: Client):
    run = client.run(stack.block_of("takes_nothing.py"))

    order = [
        event.attribute
        for event in client.recorder.news()
        if (event.attribute == "activityEvent" and event.json["state"] == "SUCCEEDED")
        or (event.attribute == "longRunningCommandResult" and event.value[0] == run.command_id)
        or (
            event.attribute == "longRunningCommandStatus"
            and (run.command_id, "COMPLETED") in itertools.pairwise(event.value)
        )
    ]
    assert order == ["activityEvent", "longRunningCommandResult", "longRunningCommandStatus"]
    assert client.statuses(run.command_id) == ["STAGING", "QUEUED", "IN_PROGRESS", "COMPLETED"]


def test_the_second_protocol_tells_the_same_story(stack: Stack, client: Client):
    with Recorder(client.device, "_lrcEvent") as recorder:
        run = client.run(stack.block_of("takes_nothing.py"))
        recorder.wait(
            lambda: any("result" in e.value[1] for e in recorder.news("_lrcEvent")), "the result"
        )

    told = [json.loads(e.value[1]) for e in recorder.news() if e.value[0] == run.command_id]
    assert [entry["status"] for entry in told if "status" in entry] == [0, 1, 2, 5]
    assert told[-1] == {"status": 5, "result": run.result}


def test_the_commands_show_in_the_lrc_attributes(stack: Stack, client: Client):
    run = client.run(stack.block_of("takes_nothing.py"))

    finished = json.loads(client.device.lrcFinished[-1])
    assert finished["uid"] == run.command_id
    assert (finished["name"], finished["status"]) == ("RunActivity", "COMPLETED")
    assert finished["result"] == run.result
    assert {"submitted_time", "started_time", "finished_time"} < set(finished)
    assert client.device.CheckLongRunningCommandStatus(run.command_id) == "COMPLETED"
    assert client.device.CheckLongRunningCommandStatus("1_2_RunActivity") == "NOT_FOUND"


def test_all_json_is_ascii(stack: Stack, client: Client):
    text = "αλ🔭"
    names = ["activityEvent", "activities", "activityMessage", "longRunningCommandResult"]
    sbd_id = stack.block({text: stack.activity("raises_in_init.py")})

    with Recorder(client.device, *names) as recorder:
        command_id = client.send(
            "RunActivity", {"sbd_id": sbd_id, "activity_name": text, "comment": text}
        )
        run = client.finish(command_id)
        answers = [client.device.GetActivity(command_id), client.device.ListActivities("{}")]
        answers.append(client.device.EventsSince(run.events[0]["seq"] - 1))

    assert run.states == ["REQUESTED", "PREPARING", "FAILED"]
    assert (run.activity["activity_name"], run.activity["comment"]) == (text, text)
    for event in recorder.news():
        answers += [event.value] if isinstance(event.value, str) else event.value
    assert all(answer.isascii() for answer in answers)


def test_getactivity_has_exactly_the_keys_of_the_contract(stack: Stack, client: Client):
    sbd_id = stack.block_of("echo.py", main={"args": [1], "kwargs": {"a": 1, "b": 2}})

    run = client.run(
        sbd_id,
        subarray_id=4,
        script_args={"main": {"kwargs": {"b": 3}}},
        request_id="r-4711",
        requested_by="ops",
        comment="why not",
    )

    activity = run.activity
    assert set(activity) == set(SUMMARY_KEYS)
    assert [state for state, _ in activity["activity_states"]] == SUCCESS
    assert [time for _, time in activity["activity_states"]] == [e["time"] for e in run.events]
    assert activity["command_ids"] == [run.command_id]
    assert activity["script_args"]["main"]["args"] == [1]
    assert activity["script_args"]["main"]["kwargs"] == {"a": 1, "b": 3}
    assert activity["script"]["kind"] == "filesystem"
    assert (activity["request_id"], activity["requested_by"]) == ("r-4711", "ops")
    assert (activity["comment"], activity["subarray_id"]) == ("why not", 4)
    assert (activity["prepare_only"], activity["create_env"]) == (False, False)
    assert (activity["sbd_id"], activity["sbd_version"]) == (sbd_id, 1)
    assert activity["sb_uri"] == f"oda://{sbd_id}"
    assert (activity["reason"], activity["error"], activity["stacktrace"]) == (None, None, None)
    assert activity["abort"] is None
    assert activity["state"] == "SUCCEEDED"
    assert client.get(activity["activity_id"]) == activity


def test_an_activity_is_found_by_any_of_its_command_ids(stack: Stack, client: Client):
    gate = str(stack.directory / "gate-never")
    prepared = client.run(
        stack.block_of("gated.py", main={"kwargs": {"gate": gate}}), prepare_only=True
    )
    activity_id = prepared.activity["activity_id"]
    started = client.send("StartActivity", {"activity_id": activity_id})
    client.reach(prepared.command_id, "RUNNING")
    stopped = client.send("StopActivity", {"activity_id": activity_id})
    client.result(stopped)
    client.result(started)

    by_each = [client.get(key) for key in (activity_id, prepared.command_id, started, stopped)]

    assert {activity["activity_id"] for activity in by_each} == {activity_id}
    assert by_each[0]["command_ids"] == [prepared.command_id, started, stopped]


def test_an_activity_is_found_by_a_stop_that_came_too_late(stack: Stack, client: Client):
    run = client.run(stack.block_of("takes_nothing.py"))
    stopped = client.send("StopActivity", {"activity_id": run.activity["activity_id"]})
    client.result(stopped)

    assert client.get(stopped)["activity_id"] == run.activity["activity_id"]


@pytest.mark.parametrize(
    "key", ["0", "999999", "-1", "", "nonsense", "1.0", "9" * 30, "\u00e9", "1 2", "null"]
)
def test_an_unknown_activity_is_one_clear_failure(stack: Stack, client: Client, key: str):
    with pytest.raises(tango.DevFailed) as caught:
        client.device.GetActivity(key)

    error = caught.value.args[0]
    assert error.reason in ("UNKNOWN_ACTIVITY", "INVALID_REQUEST")
    assert error.desc
    assert "Traceback" not in error.desc


def test_activity_ids_rise(stack: Stack, client: Client):
    sbd_id = stack.block_of("takes_nothing.py")

    ids = [client.run(sbd_id).activity["activity_id"] for _ in range(3)]

    assert ids == [ids[0], ids[0] + 1, ids[0] + 2]


def test_sixteen_activities_run_on_sixteen_subarrays_at_once(stack: Stack, client: Client):
    gate = stack.directory / "gate-sixteen"
    sbd_id = stack.block_of("gated.py", main={"kwargs": {"gate": str(gate)}})

    sent = [
        client.send("RunActivity", client.request(sbd_id, subarray_id=subarray))
        for subarray in range(1, 17)
    ]
    for command_id in sent:
        client.reach(command_id, "RUNNING")
    states = list(client.device.subarrayActivityState)
    gate.touch()
    runs = [client.finish(command_id) for command_id in sent]

    assert states == [STATES.index("RUNNING")] * 16
    assert [run.states for run in runs] == [SUCCESS] * 16
    assert [run.activity["subarray_id"] for run in runs] == list(range(1, 17))
    assert list(client.device.subarrayActivityId) == [r.activity["activity_id"] for r in runs]
    seqs = [event["seq"] for event in client.story() if event["command_id"] in sent]
    assert seqs == list(range(seqs[0], seqs[0] + 80))
