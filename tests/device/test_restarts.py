"""Device servers are killed, initialised and frozen while activities run: scripts go on.

The launcher waits longer before each restart of the same server, so tests that kill more than once
have a stack of their own.
"""

import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import tango

from tests.device.client import TERMINAL, Client, Json, until
from tests.device.stack import ACTIVITY_DEVICE, SCRIPT_EXECUTION, Stack

SUCCESS = ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    gate, entered = tmp_path / "gate", tmp_path / "entered"
    yield gate, entered
    gate.touch()


def gated(stack: Stack, gate: Path, entered: Path) -> str:
    given = {"kwargs": {"gate": str(gate), "entered": str(entered)}}
    return stack.block_of("gated.py", main=given)


def pid_of(device: str) -> int:
    return int(tango.Database().get_device_info(device).pid)


def kill_server(device: str, number: int = signal.SIGKILL) -> None:
    """Kill a device server and wait for the one that the launcher starts in its place."""
    pid = pid_of(device)
    os.kill(pid, number)

    def back() -> bool:
        try:
            return pid_of(device) != pid and bool(tango.DeviceProxy(device).ping())
        except tango.DevFailed:
            return False

    until(back, f"{device} to be back", 40)


def init(device: str) -> None:
    tango.DeviceProxy(device).Init()


def restart(device: str) -> None:
    admin = tango.DeviceProxy(tango.DeviceProxy(device).adm_name())
    admin.RestartServer()
    until(lambda: answers(device), f"{device} to be back", 40)


def answers(device: str) -> bool:
    try:
        return tango.DeviceProxy(device).state() == tango.DevState.ON
    except tango.DevFailed:
        return False


def terminate(device: str) -> None:
    kill_server(device, signal.SIGTERM)


def again(client: Client) -> Client:
    """A new client in place of one whose server was restarted.

    cppTango revives a subscription only after some 10 s; renewing it, as every client can that sees
    the restart, takes no time. As long as the old one is there, the new one would share its fate.
    """
    client.recorder.stop()
    found: list[Client] = []

    def connected() -> bool:
        try:
            found.append(Client())
        except tango.DevFailed:
            return False
        return True

    until(connected, "a new client")
    return found[0]


def end_of(client: Client, command_id: str, seconds: float = 40) -> Json:
    """The activity once it is terminal, by asking: subscriptions may not have revived yet."""

    def ended() -> Json | None:
        try:
            activity = client.get(command_id)
        except tango.ConnectionFailed:
            return None
        return activity if activity["state"] in TERMINAL else None

    activity = until(ended, f"the end of {command_id}", seconds)
    assert activity is not None
    return activity


def story(client: Client, since: int, command_id: str) -> list[Json]:
    events = json.loads(client.device.EventsSince(since))
    assert [event["seq"] for event in events] == list(range(since + 1, since + 1 + len(events)))
    assert len({event["epoch"] for event in events}) == 1
    return [event for event in events if event["command_id"] == command_id]


def without_unknown(events: list[Json]) -> list[str]:
    """The states, without a passing loss of contact (UNKNOWN, and the same state again)."""
    states: list[str] = []
    for event in events:
        if event["state"] != "UNKNOWN" and event["state"] not in states[-1:]:
            states.append(event["state"])
    return states


DISTURBANCES = {"kill": kill_server, "terminate": terminate, "init": init, "restart": restart}


@pytest.mark.parametrize("device", [ACTIVITY_DEVICE, SCRIPT_EXECUTION])
@pytest.mark.parametrize("how", DISTURBANCES)
def test_a_running_activity_goes_on(
    fragile_stack: Stack, files: tuple[Path, Path], how: str, device: str
):
    client, (gate, entered) = Client(), files
    before = client.run(fragile_stack.block_of("echo.py"))
    since = before.events[-1]["seq"]
    event = client.start(gated(fragile_stack, gate, entered), subarray_id=3)
    pid = client.procedure(event["procedure_id"])["pid"]

    DISTURBANCES[how](device)
    still_alive = psutil.pid_exists(pid)
    after = again(client)
    meanwhile = after.get(event["command_id"])["state"]
    gate.touch()
    activity = end_of(after, event["command_id"])

    events = story(after, since, event["command_id"])
    assert still_alive
    assert meanwhile in ("RUNNING", "UNKNOWN")
    assert (activity["state"], activity["error"]) == ("SUCCEEDED", None)
    assert activity["result"] == "through"
    assert [line["text"] for line in activity["output_tail"]] == [
        "init entered",
        "main entered",
        "through",
    ]
    assert without_unknown(events) == SUCCESS
    assert [e["state"] for e in events].count("SUCCEEDED") == 1
    assert entered.read_text() == "main\n"
    assert after.get(before.command_id) == before.activity
    assert events[:4] == client.story(event["command_id"])[:4]
    assert after.run(fragile_stack.block_of("takes_nothing.py"), subarray_id=3).states == SUCCESS


@pytest.mark.parametrize("device", [ACTIVITY_DEVICE, SCRIPT_EXECUTION])
def test_an_activity_that_ends_meanwhile_has_ended(
    fragile_stack: Stack, files: tuple[Path, Path], device: str
):
    client, (gate, entered) = Client(), files
    since = client.run(fragile_stack.block_of("takes_nothing.py")).events[-1]["seq"]
    event = client.start(gated(fragile_stack, gate, entered))
    pid = client.procedure(event["procedure_id"])["pid"]

    os.kill(pid_of(device), signal.SIGSTOP)
    gate.touch()
    until(
        lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie",
        "its end",
        20,
    )
    kill_server(device)
    after = again(client)
    activity = end_of(after, event["command_id"])

    events = story(after, since, event["command_id"])
    assert activity["state"] == "SUCCEEDED", activity["error"]
    assert activity["result"] == "through"
    assert without_unknown(events) == SUCCESS
    assert [e["state"] for e in events].count("SUCCEEDED") == 1


def test_attributes_take_the_last_recorded_values(fragile_stack: Stack):
    client = Client()
    run = client.run(fragile_stack.block_of("announces.py"), subarray_id=5)
    names = ["activityId", "activityState", "activityEvent", "activeActivities"]
    names += ["subarrayActivityId", "subarrayActivityState", "activityProgress", "activityMessage"]

    def values() -> dict:
        proxy = tango.DeviceProxy(ACTIVITY_DEVICE)
        read = {name: proxy.read_attribute(name).value for name in names}
        return {name: v.tolist() if hasattr(v, "tolist") else v for name, v in read.items()}

    before = until(lambda: (v := values())["activeActivities"] == 0 and v, "nothing active")
    for how in ("kill", "init"):
        DISTURBANCES[how](ACTIVITY_DEVICE)
        assert values() == before, how
    assert json.loads(before["activityEvent"])["command_id"] == run.command_id


def test_lanes_are_kept_over_a_restart(own_stack: Stack, files: tuple[Path, Path]):
    client, (gate, entered) = Client(), files
    sbd_id = gated(own_stack, gate, entered)
    event = client.start(sbd_id, subarray_id=6)

    kill_server(ACTIVITY_DEVICE)
    after = again(client)
    refusal = after.refusal("RunActivity", after.request(sbd_id, subarray_id=6))
    gate.touch()

    assert refusal.startswith("SUBARRAY_BUSY: subarray 6 ")
    assert end_of(after, event["command_id"])["state"] == "SUCCEEDED"


def test_a_request_id_is_known_over_a_restart(own_stack: Stack, files: tuple[Path, Path]):
    client, (gate, entered) = Client(), files
    gate.touch()
    request = client.request(gated(own_stack, gate, entered), request_id=uuid.uuid4().hex)
    command_id = client.send("RunActivity", request)
    client.finish(command_id)

    kill_server(ACTIVITY_DEVICE)
    after = again(client)

    assert after.send("RunActivity", request) == command_id
    assert entered.read_text() == "main\n"


def test_a_prepared_activity_can_be_started_after_restarts(
    own_stack: Stack, files: tuple[Path, Path]
):
    client, (gate, entered) = Client(), files
    gate.touch()
    prepared = client.run(gated(own_stack, gate, entered), prepare_only=True)
    number = prepared.activity["activity_id"]

    kill_server(SCRIPT_EXECUTION)
    kill_server(ACTIVITY_DEVICE)
    after = again(client)
    until(lambda: after.get(number)["state"] == "READY", "READY again", 20)
    code, text = after.ask("StartActivity", {"activity_id": number})

    assert (code, text) == (0, f"Activity {number} SUCCEEDED")
    assert entered.read_text() == "main\n"


def test_a_running_activity_can_be_stopped_after_restarts(
    own_stack: Stack, files: tuple[Path, Path]
):
    client, (gate, entered) = Client(), files
    event = client.start(gated(own_stack, gate, entered), subarray_id=7)
    pid = client.procedure(event["procedure_id"])["pid"]

    kill_server(SCRIPT_EXECUTION)
    kill_server(ACTIVITY_DEVICE)
    after = again(client)
    code, text = after.stop(subarray_id=7, run_abort=False)

    assert code == 0
    assert text.startswith(f"Activity {event['activity_id']} STOPPED")
    assert after.get(event["command_id"])["state"] == "STOPPED"
    until(lambda: not psutil.pid_exists(pid), "the script to be gone", 5)


def test_a_stop_survives_the_death_of_the_server_that_accepted_it(own_stack: Stack):
    client = Client()
    event = client.start(own_stack.block_of("ignores_signals.py"), subarray_id=8)
    client.send("StopActivity", {"subarray_id": 8, "run_abort": False})
    kill_server(ACTIVITY_DEVICE)
    after = again(client)

    activity = end_of(after, event["command_id"])

    assert (activity["state"], activity["reason"]) == ("STOPPED", "STOPPED_BY_REQUEST")


def test_requests_that_were_accepted_end_once_whenever_the_server_dies(
    own_stack: Stack, files: tuple[Path, Path]
):
    client, (gate, entered) = Client(), files
    gate.touch()
    since = json.loads(client.device.activityEvent or '{"seq": 0}')["seq"]
    sbd_id = gated(own_stack, gate, entered)
    sent = [client.send("RunActivity", client.request(sbd_id)) for _ in range(8)]

    kill_server(ACTIVITY_DEVICE)
    after = again(client)
    ends = [end_of(after, command_id) for command_id in sent]

    events = json.loads(after.device.EventsSince(since))
    assert [event["seq"] for event in events] == list(range(since + 1, since + 1 + len(events)))
    for command_id, activity in zip(sent, ends, strict=True):
        told = [
            e["state"] for e in events if e["command_id"] == command_id and e["state"] in TERMINAL
        ]
        assert told == [activity["state"]]
        assert activity["state"] == "SUCCEEDED" or activity["reason"].startswith("EXECUTOR_")
    assert entered.read_text().count("main") <= len(sent)


def test_an_executor_that_does_not_answer_makes_the_activity_unknown_until_it_is_back(
    fragile_stack: Stack, files: tuple[Path, Path]
):
    client, (gate, entered) = Client(), files
    event = client.start(gated(fragile_stack, gate, entered), subarray_id=9)
    pid = pid_of(SCRIPT_EXECUTION)

    os.kill(pid, signal.SIGSTOP)
    try:
        client.reach(event["command_id"], "UNKNOWN", 20)
        health = until(lambda: client.device.healthState, "trouble in the health", 10)
        stopping = client.send("StopActivity", {"subarray_id": 9, "run_abort": False})
    finally:
        os.kill(pid, signal.SIGCONT)
    result, _ = client.result(stopping, 40)
    until(lambda: client.device.healthState == 0, "health OK", 20)

    assert health in (1, 2)
    assert result[0] == 0
    activity = client.get(event["command_id"])
    assert activity["state"] == "STOPPED"
    states = [e["state"] for e in client.story(event["command_id"])]
    assert states[3:5] == ["RUNNING", "UNKNOWN"]
    assert states[-1] == "STOPPED"


@pytest.mark.parametrize("frozen_seconds", [0.0, 2.0])
def test_a_request_that_meets_a_frozen_executor_runs_once_when_it_thaws(
    own_stack: Stack, files: tuple[Path, Path], frozen_seconds: float
):
    client, (gate, entered) = Client(), files
    gate.touch()
    sbd_id = gated(own_stack, gate, entered)
    pid = pid_of(SCRIPT_EXECUTION)

    os.kill(pid, signal.SIGSTOP)
    try:
        command_id = client.send("RunActivity", client.request(sbd_id, subarray_id=3))
        if frozen_seconds:
            client.reach(command_id, "UNKNOWN", 8)
    finally:
        os.kill(pid, signal.SIGCONT)
    run = client.finish(command_id, 60)

    ends = [state for state in run.states if state in TERMINAL]
    assert ends == run.states[-1:]
    if ends == ["SUCCEEDED"]:
        assert entered.read_text() == "main\n"
    else:
        assert run.activity["reason"] == "EXECUTOR_UNAVAILABLE"
        assert not entered.exists()


def test_an_executor_that_went_away_for_good_is_told_in_time(own_stack: Stack):
    client = Client()
    client.run(own_stack.block_of("takes_nothing.py"))
    tango.Database().put_device_property(
        ACTIVITY_DEVICE, {"ScriptExecutionDevices": ["mid-oso/script-execution/99"]}
    )
    running = client.start(own_stack.block_of("sleeps.py"), subarray_id=5)
    init(ACTIVITY_DEVICE)
    client = again(client)

    lost = end_of(client, running["command_id"])
    request = client.request(own_stack.block_of("echo.py"))
    until(
        lambda: client.answer("RunActivity", request)[1].startswith("NO_CAPACITY: "), "a refusal", 8
    )

    assert (lost["state"], lost["reason"]) == ("FAILED", "EXECUTOR_LOST")
    assert "script-execution/99" in client.device.status()


def test_health_tells_of_an_executor_that_is_away_and_comes_back(fragile_stack: Stack):
    client = Client()
    pid = pid_of(SCRIPT_EXECUTION)

    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: client.device.healthState != 0, "trouble in the health", 10)
        status = client.device.status()
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: client.device.healthState == 0, "health OK", 10)

    assert SCRIPT_EXECUTION in status


def test_the_history_of_the_executor_survives(own_stack: Stack):
    client = Client()
    run = client.run(own_stack.block_of("talks.py", main={"kwargs": {"rounds": 30}}))
    procedure_id = run.activity["procedure_id"]
    before = client.procedure(procedure_id), client.output(procedure_id, offset=0, limit=200)
    since = json.loads(client.executor.EventsSince(0))

    for how in ("kill", "init"):
        DISTURBANCES[how](SCRIPT_EXECUTION)
        after = again(client)
        assert after.procedure(procedure_id) == before[0], how
        assert after.output(procedure_id, offset=0, limit=200) == before[1], how
        assert json.loads(after.executor.EventsSince(0)) == since, how


def test_scripts_whose_activities_were_forgotten_are_stopped(own_stack: Stack):
    client = Client()
    event = client.start(own_stack.block_of("sleeps.py"), subarray_id=3)
    procedure_id = event["procedure_id"]
    pid = client.procedure(procedure_id)["pid"]

    for path in (own_stack.directory / "state" / "activity").glob("activities.db*"):
        path.unlink()
    kill_server(ACTIVITY_DEVICE)
    until(lambda: not psutil.pid_exists(pid), "the script to be gone", 15)
    after = again(client)
    log = (own_stack.directory / "state" / "logs" / "ActivityDevice.log").read_text()

    assert after.list() == []
    until(lambda: client.procedure(procedure_id)["state"] == "STOPPED", "its end", 5)
    assert f"runs procedure {procedure_id} for activity {event['activity_id']} of ours" in log
    assert after.run(own_stack.block_of("takes_nothing.py"), subarray_id=3).states == SUCCESS


@pytest.mark.parametrize("device", [ACTIVITY_DEVICE, SCRIPT_EXECUTION])
def test_a_server_that_is_told_to_end_does_so_in_silence(own_stack: Stack, device: str):
    client = Client()
    sbd_id = own_stack.block_of("takes_nothing.py")
    client.run(sbd_id)
    pid = pid_of(device)
    admin = tango.DeviceProxy(tango.DeviceProxy(device).adm_name())

    for _ in range(12):
        client.send("RunActivity", client.request(sbd_id))
    with suppress(tango.DevFailed):  # its answer may be lost with it
        admin.Kill()
    until(lambda: not psutil.pid_exists(pid), "its end", 20)
    until(lambda: answers(device), f"{device} to be back", 40)

    name = "ActivityDevice" if device == ACTIVITY_DEVICE else "ScriptExecution"
    log = (own_stack.directory / "state" / "logs" / f"{name}.log").read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log


def longest_read_during(call: Callable[[], object]) -> float:
    """The longest that another client's read took while `call` ran."""
    proxy, longest = tango.DeviceProxy(ACTIVITY_DEVICE), 0.0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(call)
        while not running.done():
            begin = time.monotonic()
            proxy.state()
            longest = max(longest, time.monotonic() - begin)
        running.result()
    return longest


def test_init_holds_nobody_up(fragile_stack: Stack):
    client = Client()
    for _ in range(2):
        client.run(fragile_stack.block_of("takes_nothing.py"))

        assert longest_read_during(lambda: init(ACTIVITY_DEVICE)) < 1.0

        client = again(client)


def test_init_works_while_the_executor_does_not_answer(own_stack: Stack):
    client = Client()
    client.run(own_stack.block_of("takes_nothing.py"))
    pid = pid_of(SCRIPT_EXECUTION)

    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: client.device.healthState != 0, "trouble in the health", 10)
        longest = longest_read_during(lambda: init(ACTIVITY_DEVICE))
    finally:
        os.kill(pid, signal.SIGCONT)

    assert longest < 1.0


def test_an_executor_that_was_initialised_takes_work_at_once(fragile_stack: Stack):
    client = Client()
    sbd_id = fragile_stack.block_of("takes_nothing.py")
    for _ in range(3):
        client.run(sbd_id)
        init(SCRIPT_EXECUTION)

        assert client.run(sbd_id).states == SUCCESS


def test_the_admin_mode_is_remembered(fragile_stack: Stack):
    proxy = tango.DeviceProxy(ACTIVITY_DEVICE)
    proxy.adminMode = "OFFLINE"
    try:
        init(ACTIVITY_DEVICE)
        remembered = proxy.adminMode
    finally:
        proxy.adminMode = "ONLINE"

    assert remembered == 1


def test_a_property_can_limit_the_device_to_one_subarray(fragile_stack: Stack):
    database = tango.Database()
    database.put_device_property(ACTIVITY_DEVICE, {"SubarrayId": ["4"]})
    init(ACTIVITY_DEVICE)
    client = Client()
    sbd_id = fragile_stack.block_of("subarray_in_init.py")
    try:
        other = client.refusal("RunActivity", client.request(sbd_id, subarray_id=5))
        run = client.run(sbd_id)
        same = client.run(sbd_id, subarray_id=4)
    finally:
        database.put_device_property(ACTIVITY_DEVICE, {"SubarrayId": ["0"]})
        init(ACTIVITY_DEVICE)

    assert other.startswith("INVALID_REQUEST: ")
    assert (run.activity["subarray_id"], run.activity["result"]["init"]) == (4, 4)
    assert same.states == SUCCESS
