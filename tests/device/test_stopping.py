"""StopActivity in all its forms, the abort script, Abort, and how long a stop may take."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import tango

from tests.device.client import Client, Recorder, until
from tests.device.stack import SCRIPT_EXECUTION, Stack

STOPPED = ["REQUESTED", "PREPARING", "READY", "RUNNING", "STOPPING", "STOPPED"]
GRACE = 3.0
PROMISE = GRACE + 2.0
STUBBORN = {
    "sleeps.py": "sleeping",
    "loops_in_c.py": "looping",
    "swallows_everything.py": "swallowing",
    "ignores_signals.py": "ignoring",
    "suspends_itself.py": "suspending",
    "fork_bomb.py": "bombing",
}


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_for_line(client: Client, procedure_id: int, text: str) -> None:
    def said() -> bool:
        lines = client.output(procedure_id, offset=0, limit=100)["lines"]
        return any(text in line["text"] for line in lines)

    until(said, f"{text!r} in the output")


@pytest.mark.parametrize("script", STUBBORN)
def test_any_script_is_gone_within_the_grace_and_two_seconds(
    stack: Stack, client: Client, script: str
):
    event = client.start(stack.block_of(script))
    wait_for_line(client, event["procedure_id"], STUBBORN[script])
    pid = client.procedure(event["procedure_id"])["pid"]
    number, begin = event["activity_id"], time.monotonic()

    answer = client.stop(activity_id=number, run_abort=False)

    took = time.monotonic() - begin
    run = client.finish(event["command_id"])
    assert (run.states, run.activity["reason"]) == (STOPPED, "STOPPED_BY_REQUEST")
    assert answer[0] == 0
    assert answer[1].startswith(f"Activity {number} STOPPED")
    assert (run.result, run.status) == ([7, f"Activity {number} STOPPED"], "ABORTED")
    assert not alive(pid)
    assert took < PROMISE
    assert run.activity["result"] is None


def test_stopped_is_announced_when_the_script_is_gone(stack: Stack, client: Client):
    event = client.start(stack.block_of("ignores_signals.py"))
    pid = client.procedure(event["procedure_id"])["pid"]
    seen = []
    with Recorder(client.device, "activityEvent") as recorder:
        client.send("StopActivity", {"activity_id": event["activity_id"]})
        recorder.wait(
            lambda: (
                "STOPPED" in recorder.values("activityEvent")[-1:][0]
                if recorder.values("activityEvent")
                else False
            ),
            "STOPPED",
        )
        seen.append(alive(pid))

    assert seen == [False]


def test_a_polite_script_may_clean_up(stack: Stack, client: Client):
    event = client.start(stack.block_of("sleeps.py"))
    wait_for_line(client, event["procedure_id"], "sleeping")

    client.stop(activity_id=event["activity_id"])

    assert client.finish(event["command_id"]).output == ["sleeping", "cleaned up"]


@pytest.mark.parametrize("script", ["sleeps_at_load.py", "sleeps_in_init.py"])
def test_a_stop_while_preparing(stack: Stack, client: Client, script: str):
    command_id = client.send("RunActivity", client.request(stack.block_of(script), subarray_id=1))
    client.reach(command_id, "PREPARING")
    procedure_id = until(lambda: client.get(command_id)["procedure_id"], "the procedure")
    wait_for_line(client, procedure_id, "sleeping")

    code, text = client.stop(subarray_id=1)

    run = client.finish(command_id)
    assert run.states == ["REQUESTED", "PREPARING", "STOPPING", "STOPPED"]
    assert code == 0
    assert text.startswith(f"Activity {run.activity['activity_id']} STOPPED")
    assert "abort" in text  # skipped, since it was not yet READY; and the result says so
    assert run.activity["abort"] is None


def test_a_stop_that_follows_the_request_at_once(stack: Stack, client: Client):
    for _ in range(10):
        command_id = client.send("RunActivity", client.request(stack.block_of("sleeps.py")))
        number = client.get(command_id)["activity_id"]

        code, text = client.stop(activity_id=number)

        run = client.finish(command_id)
        assert run.states[-2:] == ["STOPPING", "STOPPED"]
        assert (code, text.split(" ")[2].rstrip(";:,.")) == (0, "STOPPED")


def test_a_prepared_activity_can_be_stopped(stack: Stack, client: Client):
    prepared = client.run(stack.block_of("echo.py"), prepare_only=True)

    code, _ = client.stop(activity_id=prepared.activity["activity_id"])

    run = client.finish(prepared.command_id)
    client.reach(prepared.command_id, "STOPPED")
    assert code == 0
    assert [e["state"] for e in client.story(prepared.command_id)] == [
        "REQUESTED", "PREPARING", "READY", "STOPPING", "STOPPED"
    ]  # fmt: skip
    assert run.result == [0, f"Activity {run.activity['activity_id']} READY"]


@pytest.mark.parametrize(
    ("script", "state"), [("takes_nothing.py", "SUCCEEDED"), ("raises.py", "FAILED")]
)
def test_a_stop_of_what_has_ended_says_how_it_ended(
    stack: Stack, client: Client, script: str, state: str
):
    run = client.run(stack.block_of(script), subarray_id=2)
    number = run.activity["activity_id"]

    answer = client.stop(activity_id=number)

    assert answer == (0, f"Activity {number} was {state}")
    assert client.get(number)["state"] == state
    assert client.story(number) == run.events


def test_a_stop_of_what_was_stopped_says_so(stack: Stack, client: Client):
    event = client.start(stack.block_of("sleeps.py"))
    client.stop(activity_id=event["activity_id"])

    answer = client.stop(activity_id=event["activity_id"])

    assert answer == (0, f"Activity {event['activity_id']} was STOPPED")


def test_a_second_stop_joins_the_first(stack: Stack, client: Client):
    event = client.start(stack.block_of("ignores_signals.py"), subarray_id=3)
    wait_for_line(client, event["procedure_id"], "ignoring")
    first = client.send("StopActivity", {"activity_id": event["activity_id"], "run_abort": False})
    client.reach(event["command_id"], "STOPPING")
    second = client.send("StopActivity", {"subarray_id": 3, "run_abort": False})

    results = [client.result(command_id)[0] for command_id in (first, second)]

    assert [code for code, _ in results] == [0, 0]
    assert {text.split(";")[0].split(",")[0][:20] for _, text in results} == {results[0][1][:20]}
    assert client.finish(event["command_id"]).states == STOPPED


def test_a_stop_by_subarray_stops_what_runs_there(stack: Stack, client: Client):
    sbd_id = stack.block_of("sleeps.py")
    here, there = client.start(sbd_id, subarray_id=4), client.start(sbd_id, subarray_id=5)

    code, text = client.stop(subarray_id=4, run_abort=False)
    other = client.get(there["activity_id"])["state"]
    client.stop(subarray_id=5, run_abort=False)

    assert code == 0
    assert text.startswith(f"Activity {here['activity_id']} STOPPED")
    assert other == "RUNNING"


def test_a_stop_of_a_free_subarray_is_clear(stack: Stack, client: Client):
    run = client.run(stack.block_of("takes_nothing.py"), subarray_id=13)

    code, text = client.answer("StopActivity", {"subarray_id": 13})

    if code == 5:
        assert text.startswith("UNKNOWN_ACTIVITY: ")
    else:
        was = [0, f"Activity {run.activity['activity_id']} was SUCCEEDED"]
        assert client.result(text)[0] == was


@pytest.mark.parametrize("script", ["returns_when_interrupted.py", "fails_when_interrupted.py"])
def test_a_script_that_ends_in_its_own_way_when_asked(stack: Stack, client: Client, script: str):
    event = client.start(stack.block_of(script))
    wait_for_line(client, event["procedure_id"], "sleeping")

    client.stop(activity_id=event["activity_id"])

    run = client.finish(event["command_id"])
    assert run.states[:5] == STOPPED[:5]
    assert run.states[5:] in (["STOPPED"], ["SUCCEEDED"], ["FAILED"])


def test_a_stop_races_with_the_end_and_there_is_one_end(stack: Stack, client: Client):
    sbd_id = stack.block_of("sleeps.py", main={"kwargs": {"seconds": 0.01}})
    for _ in range(12):
        event = client.start(sbd_id, subarray_id=6)
        code, text = client.stop(activity_id=event["activity_id"], run_abort=False)
        run = client.finish(event["command_id"])

        ends = [state for state in run.states if state in ("SUCCEEDED", "FAILED", "STOPPED")]
        assert len(ends) == 1
        assert ends[0] == run.states[-1] == run.activity["state"]
        assert code == 0
        assert ends[0] in text


def test_children_of_a_stopped_script_are_gone(stack: Stack, client: Client):
    pid_file = stack.directory / "daemon-stopped"
    arguments = {"args": [str(pid_file)], "kwargs": {"forget_environment": True, "then": "sleep"}}
    event = client.start(stack.block_of("daemonises.py", main=arguments))
    pid = until(lambda: pid_file.exists() and int(pid_file.read_text() or 0), "the daemon")

    client.stop(activity_id=event["activity_id"])

    assert not alive(pid)


def test_abort_stops_every_activity_and_runs_no_abort_script(stack: Stack, client: Client):
    sbd_id = stack.block_of("sleeps.py")
    running = [client.start(sbd_id, subarray_id=number) for number in (1, 2)] + [
        client.start(sbd_id)
    ]
    prepared = client.run(sbd_id, prepare_only=True)

    (code,), (command_id,) = client.device.Abort()
    result, status = client.result(command_id)

    runs = [client.finish(event["command_id"]) for event in running]
    client.reach(prepared.command_id, "STOPPED")
    assert (code, command_id.split("_")[-1]) == (1, "Abort")
    assert (result, status) == ([0, "Abort completed OK"], "COMPLETED")
    assert [run.states[-1] for run in runs] == ["STOPPED"] * 3
    assert [run.activity["abort"] for run in runs] == [None] * 3
    assert client.run(sbd_id, prepare_only=True).states[-1] == "READY"
    client.device.Abort()


def test_abort_of_the_executor_stops_every_script(stack: Stack, client: Client):
    events = [client.start(stack.block_of("sleeps.py")) for _ in range(2)]

    client.executor.Abort()

    runs = [client.finish(event["command_id"]) for event in events]
    assert all(run.states[-1] in ("STOPPED", "FAILED") for run in runs)


# --- The abort script


@pytest.fixture
def abort_log(fragile_stack: Stack) -> Iterator[Path]:
    """Makes `abort_subarray.py` the abort script; where it writes down how it was called."""
    log = fragile_stack.directory / f"abort-{uuid.uuid4().hex}"
    set_abort(fragile_stack.script("abort_subarray.py"), log=str(log))
    yield log
    set_abort(None)


def set_abort(script: str | None, **arguments) -> None:
    database = tango.Database()
    if script is None:
        database.delete_device_property(SCRIPT_EXECUTION, ["AbortScript", "AbortScriptArgs"])
    else:
        properties = {"AbortScript": [script], "AbortScriptArgs": [json.dumps(arguments)]}
        database.put_device_property(SCRIPT_EXECUTION, properties)
    tango.DeviceProxy(SCRIPT_EXECUTION).Init()


def calls(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.parametrize("request_it", [{}, {"run_abort": True}])
def test_the_abort_script_runs_for_the_lane(
    fragile_stack: Stack, abort_log: Path, request_it: dict
):
    client = Client()
    event = client.start(fragile_stack.block_of("sleeps.py"), subarray_id=12)
    number = event["activity_id"]

    code, text = client.stop(activity_id=number, **request_it)

    activity = client.get(number)
    assert (code, text) == (0, f"Activity {number} STOPPED")
    assert calls(abort_log) == [{"subarray_id": 12}]
    assert set(activity["abort"]) == {"procedure_id", "state", "error"}
    assert (activity["abort"]["state"], activity["abort"]["error"]) == ("COMPLETE", None)
    assert activity["abort"]["procedure_id"] != activity["procedure_id"]
    assert client.procedure(activity["abort"]["procedure_id"])["state"] == "COMPLETE"
    assert client.finish(event["command_id"]).states == STOPPED


def test_the_abort_script_can_be_left_out(fragile_stack: Stack, abort_log: Path):
    client = Client()
    event = client.start(fragile_stack.block_of("sleeps.py"), subarray_id=12)

    code, text = client.stop(activity_id=event["activity_id"], run_abort=False)

    assert code == 0
    assert text.startswith(f"Activity {event['activity_id']} STOPPED")
    assert calls(abort_log) == []
    assert client.get(event["activity_id"])["abort"] is None


def test_without_a_lane_the_abort_script_is_skipped_and_the_result_says_so(
    fragile_stack: Stack, abort_log: Path
):
    client = Client()
    event = client.start(fragile_stack.block_of("sleeps.py"))

    code, text = client.stop(activity_id=event["activity_id"])

    assert code == 0
    assert text.startswith(f"Activity {event['activity_id']} STOPPED")
    assert "abort" in text.lower()
    assert calls(abort_log) == []


def test_the_lane_is_held_and_the_stop_runs_until_the_abort_script_has_ended(fragile_stack: Stack):
    log, gate = fragile_stack.directory / "abort-held", fragile_stack.directory / "gate-abort"
    set_abort(fragile_stack.script("abort_subarray.py"), log=str(log), gate=str(gate))
    client = Client()
    sbd_id = fragile_stack.block_of("sleeps.py")
    event = client.start(sbd_id, subarray_id=14)
    try:
        stopping = client.send("StopActivity", {"subarray_id": 14})
        run = client.finish(event["command_id"])
        until(lambda: calls(log), "the abort script")
        refusal = client.refusal("RunActivity", client.request(sbd_id, subarray_id=14))
        unfinished = client.statuses(stopping)[-1]
        gate.touch()
        result, _ = client.result(stopping)
        free = client.run(fragile_stack.block_of("takes_nothing.py"), subarray_id=14)
    finally:
        gate.touch()
        set_abort(None)

    assert run.states == STOPPED
    assert refusal.startswith("SUBARRAY_BUSY: ")
    assert unfinished == "IN_PROGRESS"
    assert result == [0, f"Activity {event['activity_id']} STOPPED"]
    assert free.states[-1] == "SUCCEEDED"


def test_an_abort_script_that_fails_fails_the_stop(fragile_stack: Stack):
    log = fragile_stack.directory / "abort-fails"
    set_abort(fragile_stack.script("abort_subarray.py"), log=str(log), fail=True)
    client = Client()
    event = client.start(fragile_stack.block_of("sleeps.py"), subarray_id=15)
    try:
        result, status = client.result(client.send("StopActivity", {"subarray_id": 15}))
    finally:
        set_abort(None)

    activity = client.get(event["activity_id"])
    assert (result[0], status) == (3, "FAILED")
    assert activity["state"] == "STOPPED"
    assert activity["abort"]["state"] == "FAILED"
    assert "could not abort" in activity["abort"]["error"]


def test_without_an_abort_script_the_result_says_so(fragile_stack: Stack):
    set_abort("", log="")
    client = Client()
    event = client.start(fragile_stack.block_of("sleeps.py"), subarray_id=15)
    try:
        code, text = client.stop(subarray_id=15)
    finally:
        set_abort(None)

    assert code == 0
    assert text.startswith(f"Activity {event['activity_id']} STOPPED")
    assert "abort" in text.lower()


def test_two_stops_run_the_abort_script_once(fragile_stack: Stack, abort_log: Path):
    client = Client()
    event = client.start(fragile_stack.block_of("sleeps.py"), subarray_id=16)
    barrier = threading.Barrier(3)

    def stop(one: Client) -> tuple[int, str]:
        barrier.wait(10)
        return one.stop(activity_id=event["activity_id"])

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(stop, [Client() for _ in range(3)]))

    assert {code for code, _ in answers} == {0}
    assert len(calls(abort_log)) == 1


def test_the_promise_holds_for_the_script_while_the_abort_script_takes_its_time(
    fragile_stack: Stack, abort_log: Path
):
    client = Client()
    event = client.start(fragile_stack.block_of("ignores_signals.py"), subarray_id=1)
    wait_for_line(client, event["procedure_id"], "ignoring")
    begin = time.monotonic()

    client.send("StopActivity", {"subarray_id": 1})
    client.reach(event["command_id"], "STOPPED")

    assert time.monotonic() - begin < PROMISE
    until(lambda: calls(abort_log), "the abort script")
