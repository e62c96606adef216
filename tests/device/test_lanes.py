"""Lanes: one activity at a time on a subarray; prepared activities; two clients at once."""

import json
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.device.client import Client, until
from tests.device.stack import Stack

SUCCESS = ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]


def gated(stack: Stack, gate: Path, entered: Path | None = None, **init) -> str:
    """A block whose main waits for `gate` and writes a line to `entered`."""
    given = {"gate": str(gate)} | ({"entered": str(entered)} if entered else {})
    return stack.block_of("gated.py", main={"kwargs": given})


@pytest.fixture
def gate(stack: Stack) -> Path:
    return stack.directory / f"gate-{uuid.uuid4().hex}"


def test_a_busy_lane_refuses_and_says_who_has_it(stack: Stack, client: Client, gate: Path):
    sbd_id = gated(stack, gate)
    running = client.start(sbd_id, subarray_id=3)
    number = running["activity_id"]

    refusal = client.refusal("RunActivity", client.request(sbd_id, subarray_id=3))
    gate.touch()
    first = client.finish(running["command_id"])
    second = client.run(sbd_id, subarray_id=3)

    expected = f"SUBARRAY_BUSY: subarray 3 is running activity {number} (observe of {sbd_id})"
    assert refusal.startswith(expected)
    assert (first.states, second.states) == (SUCCESS, SUCCESS)
    assert second.activity["activity_id"] == number + 1


def test_the_lane_is_taken_when_the_request_is_accepted(stack: Stack, client: Client, gate: Path):
    sbd_id = gated(stack, gate)
    accepted = client.send("RunActivity", client.request(sbd_id, subarray_id=4))

    refusal = client.refusal("RunActivity", client.request(sbd_id, subarray_id=4))
    gate.touch()
    client.finish(accepted)

    assert refusal.startswith("SUBARRAY_BUSY: subarray 4 ")


@pytest.mark.parametrize("function", ["init", "main"])
def test_the_lane_may_be_named_in_the_requests_kwargs(
    stack: Stack, client: Client, gate: Path, function: str
):
    running = client.start(gated(stack, gate), subarray_id=5)
    request = client.request(
        stack.block_of("echo.py"), script_args={function: {"kwargs": {"subarray_id": 5}}}
    )

    refusal = client.refusal("RunActivity", request)
    gate.touch()
    client.finish(running["command_id"])
    run = client.finish(client.send("RunActivity", request))

    assert refusal.startswith("SUBARRAY_BUSY: subarray 5 ")
    assert (run.states, run.activity["subarray_id"]) == (SUCCESS, 5)


@pytest.mark.parametrize("function", ["init", "main"])
def test_the_lane_may_be_named_in_the_block_alone(
    stack: Stack, client: Client, gate: Path, function: str
):
    sbd_id = stack.block_of("echo.py", **{function: {"kwargs": {"subarray_id": 6}}})
    running = client.start(gated(stack, gate), subarray_id=6)

    late = client.run(sbd_id)
    gate.touch()
    client.finish(running["command_id"])
    run = client.run(sbd_id)

    assert (late.states[-1], late.activity["reason"]) == ("FAILED", "SUBARRAY_BUSY")
    assert "READY" not in late.states
    assert (run.states, run.activity["subarray_id"]) == (SUCCESS, 6)
    assert client.device.subarrayActivityId[5] == run.activity["activity_id"]


def test_without_a_subarray_there_is_no_lane(stack: Stack, client: Client, gate: Path):
    sbd_id = gated(stack, gate)
    both = [client.start(sbd_id), client.start(sbd_id)]
    gate.touch()

    runs = [client.finish(event["command_id"]) for event in both]

    assert [run.activity["subarray_id"] for run in runs] == [None, None]
    assert [run.states for run in runs] == [SUCCESS, SUCCESS]


@pytest.mark.parametrize("bad", [0, 17, True, "1", None, 1.5])
def test_an_impossible_subarray_in_the_block_is_one_failure(
    stack: Stack, client: Client, bad: object
):
    run = client.run(stack.block_of("echo.py", init={"kwargs": {"subarray_id": bad}}))

    if bad is None and run.states[-1] == "SUCCEEDED":
        return  # a null in a block may as well mean that it names none
    assert (run.states[-1], run.activity["reason"]) == ("FAILED", "SB_INVALID")


# --- prepare_only and StartActivity


def test_a_prepared_activity_waits_at_ready_and_then_runs(stack: Stack, client: Client):
    prepared = client.run(
        stack.block_of("echo.py", main={"args": [1], "kwargs": {"a": 1}}), prepare_only=True
    )
    number = prepared.activity["activity_id"]

    code, text = client.ask(
        "StartActivity", {"activity_id": number, "script_args": {"main": {"kwargs": {"a": 2}}}}
    )

    run = client.finish(prepared.command_id)
    assert prepared.states == ["REQUESTED", "PREPARING", "READY"]
    assert (prepared.result, prepared.status) == ([0, f"Activity {number} READY"], "COMPLETED")
    assert prepared.activity["prepare_only"] is True
    assert (code, text) == (0, f"Activity {number} SUCCEEDED")
    assert run.states == SUCCESS
    assert {event["command_id"] for event in run.events} == {prepared.command_id}
    assert run.activity["result"]["main"]["args"] == [1]
    assert run.activity["result"]["main"]["kwargs"]["a"] == 2
    assert run.activity["script_args"]["main"]["kwargs"]["a"] == 2


def test_startactivity_of_a_script_that_fails_fails(stack: Stack, client: Client):
    number = client.run(stack.block_of("raises.py"), prepare_only=True).activity["activity_id"]

    result, status = client.result(client.send("StartActivity", {"activity_id": number}))

    assert result == [3, f"Activity {number} FAILED: SCRIPT_ERROR: ValueError: the beam is gone"]
    assert status == "FAILED"


def test_a_prepared_activity_holds_no_lane_until_it_is_started(
    stack: Stack, client: Client, gate: Path
):
    sbd_id = gated(stack, gate)
    prepared = client.run(sbd_id, subarray_id=7, prepare_only=True).activity["activity_id"]
    running = client.start(sbd_id, subarray_id=7)

    busy = client.refusal("StartActivity", {"activity_id": prepared})
    unchanged = client.get(prepared)["state"]
    client.stop(activity_id=running["activity_id"], run_abort=False)
    started = client.send("StartActivity", {"activity_id": prepared})
    taken = client.refusal("RunActivity", client.request(sbd_id, subarray_id=7))
    gate.touch()
    result, _ = client.result(started)

    assert busy.startswith("SUBARRAY_BUSY: subarray 7 ")
    assert unchanged == "READY"
    assert taken.startswith("SUBARRAY_BUSY: subarray 7 ")
    assert result == [0, f"Activity {prepared} SUCCEEDED"]


def test_start_of_what_is_not_ready_is_refused_and_changes_nothing(
    stack: Stack, client: Client, gate: Path
):
    ended = client.run(stack.block_of("takes_nothing.py")).activity["activity_id"]
    running = client.start(gated(stack, gate))

    refusals = [
        client.refusal("StartActivity", {"activity_id": number})
        for number in (ended, running["activity_id"])
    ]
    state = client.get(running["activity_id"])["state"]
    gate.touch()
    client.finish(running["command_id"])

    assert [refusal.split(":")[0] for refusal in refusals] == ["WRONG_STATE"] * 2
    assert state == "RUNNING"


@pytest.mark.parametrize(
    "script_args",
    [
        {"init": {"args": [1]}},
        {"main": {"kwargs": {"sb_json": "x"}}},
        {"nope": {}},
        {"main": []},
        1,
    ],
)
def test_impossible_arguments_of_a_start_are_refused(
    stack: Stack, client: Client, script_args: object
):
    prepared = client.run(stack.block_of("takes_nothing.py"), prepare_only=True)
    number = prepared.activity["activity_id"]

    refusal = client.refusal("StartActivity", {"activity_id": number, "script_args": script_args})

    assert refusal.startswith("INVALID_REQUEST: ")
    assert client.get(number)["state"] == "READY"
    assert client.stop(activity_id=number)[0] == 0


def test_a_start_cannot_move_the_activity_to_another_subarray(stack: Stack, client: Client):
    prepared = client.run(stack.block_of("echo.py"), subarray_id=8, prepare_only=True)
    number = prepared.activity["activity_id"]

    refusal = client.refusal(
        "StartActivity",
        {"activity_id": number, "script_args": {"main": {"kwargs": {"subarray_id": 9}}}},
    )

    assert refusal.startswith("INVALID_REQUEST: ")
    assert client.stop(activity_id=number)[0] == 0


def test_of_two_starts_at_once_one_is_accepted(stack: Stack, client: Client):
    entered = stack.directory / "entered-two-starts"
    sbd_id = stack.block_of("gated.py", main={"kwargs": {"entered": str(entered)}})
    prepared = client.run(sbd_id, prepare_only=True)
    number = prepared.activity["activity_id"]

    answers = at_once(4, lambda: client.device.StartActivity(f'{{"activity_id": {number}}}'))

    accepted = [text for (code,), (text,) in answers if code == 2]
    assert len(accepted) == 1
    assert client.result(accepted[0])[0] == [0, f"Activity {number} SUCCEEDED"]
    assert entered.read_text() == "main\n"


# --- Two clients at the same instant


def at_once(number: int, call) -> list:
    """What `number` threads get that call at the same instant."""
    barrier = threading.Barrier(number)

    def one(_):
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


def test_the_same_request_id_starts_nothing_again(stack: Stack, client: Client):
    entered = stack.directory / f"entered-{uuid.uuid4().hex}"
    sbd_id = stack.block_of("gated.py", main={"kwargs": {"entered": str(entered)}})
    request = client.request(sbd_id, request_id=uuid.uuid4().hex, subarray_id=9)

    first = client.send("RunActivity", request)
    while_running = client.send("RunActivity", request)
    run = client.finish(first)
    afterwards = client.send("RunActivity", request)

    assert first == while_running == afterwards
    assert entered.read_text() == "main\n"
    assert client.device.activityId == run.activity["activity_id"]


def test_the_same_request_id_at_the_same_instant_runs_once(stack: Stack, client: Client):
    entered = stack.directory / f"entered-{uuid.uuid4().hex}"
    sbd_id = stack.block_of("gated.py", main={"kwargs": {"entered": str(entered)}})
    clients = [Client() for _ in range(4)]
    request = client.request(sbd_id, request_id=uuid.uuid4().hex)
    barrier = threading.Barrier(4)

    def send(one: Client) -> str:
        barrier.wait(10)
        return one.send("RunActivity", request)

    with ThreadPoolExecutor(4) as pool:
        sent = set(pool.map(send, clients))

    assert len(sent) == 1
    assert client.finish(sent.pop()).states == SUCCESS
    assert entered.read_text() == "main\n"
    assert len(client.list(sbd_id=sbd_id)) == 1


def test_of_two_requests_for_a_lane_at_the_same_instant_one_gets_it(
    stack: Stack, client: Client, gate: Path
):
    sbd_id = gated(stack, gate)
    clients = [Client() for _ in range(4)]
    barrier = threading.Barrier(4)

    def send(one: Client) -> tuple[int, str]:
        request = one.request(sbd_id, subarray_id=10)
        barrier.wait(10)
        (code,), (text,) = one.device.RunActivity(json.dumps(request))
        return int(code), text

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, clients))
    gate.touch()
    (command_id,) = [text for code, text in answers if code == 2]
    client.finish(command_id)

    assert Counter(code for code, _ in answers) == {2: 1, 5: 3}
    assert {text.split(":")[0] for code, text in answers if code == 5} == {"SUBARRAY_BUSY"}


# --- ListActivities and EventsSince


def test_listactivities_lists_the_newest_first_and_filters(stack: Stack, client: Client):
    good, bad = stack.block_of("takes_nothing.py"), stack.block_of("raises.py")
    runs = [client.run(good, subarray_id=11), client.run(bad, subarray_id=11), client.run(good)]
    one, two, three = [run.activity["activity_id"] for run in runs]

    def ids(**filters) -> list[int]:
        return [activity["activity_id"] for activity in client.list(**filters)]

    assert ids(limit=3) == [three, two, one]
    assert ids(sbd_id=good) == [three, one]
    assert ids(sbd_id=bad, state="FAILED") == [two]
    assert ids(sbd_id=bad, state="SUCCEEDED") == []
    assert ids(subarray_id=11, limit=2) == [two, one]
    assert ids(before=three, limit=1) == [two]
    assert ids(before=two, sbd_id=good) == [one]
    assert ids(limit=1, state="FAILED") == [two]
    assert ids(limit=1) == [three]
    everything = ids()
    assert everything == sorted(everything, reverse=True)


def test_short_summaries_leave_out_what_is_long(stack: Stack, client: Client):
    client.run(stack.block_of("raises.py"))

    (summary,) = client.list(limit=1)

    assert not {"script_args", "result", "stacktrace"} & set(summary)
    assert {"activity_id", "command_id", "state", "sbd_id", "activity_name", "reason"} < set(
        summary
    )
    assert "the beam is gone" in summary["error"]


def test_eventssince_gives_what_a_subscriber_got(stack: Stack, client: Client):
    sbd_id = stack.block_of("takes_nothing.py")
    first, second = client.run(sbd_id), client.run(sbd_id)

    since = json.loads(client.device.EventsSince(first.events[0]["seq"] - 1))
    after = json.loads(client.device.EventsSince(first.events[-1]["seq"]))

    assert since == first.events + second.events
    assert after == second.events
    assert json.loads(client.device.EventsSince(second.events[-1]["seq"])) == []
    assert json.loads(client.device.EventsSince(10**15)) == []
    assert json.loads(client.device.EventsSince(-1)) == json.loads(client.device.EventsSince(0))


def test_activities_are_listed_by_ascending_id_and_in_full(stack: Stack, client: Client):
    run = client.run(stack.block_of("takes_nothing.py"))

    def in_view() -> list[dict]:
        listed = [json.loads(text) for text in client.device.activities]
        newest = listed[-1]
        over = newest["activity_id"] == run.activity["activity_id"]
        return listed if over and newest["state"] == "SUCCEEDED" else []

    listed = until(in_view, "the end in the view")
    ids = [activity["activity_id"] for activity in listed]
    assert ids == sorted(ids)
    assert len(ids) <= 100
    assert run.activity["activity_id"] in ids
    assert not {"script_args", "result", "stacktrace"} & set(listed[-1])
