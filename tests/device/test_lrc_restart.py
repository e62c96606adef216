"""What long-running commands came to is shown after a restart as it was before."""

import json
import os
import queue
import signal
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
import tango

from ska_oso_activity.application.aborts import MAX_ABORTS
from tests.device.client import Client, until
from tests.device.stack import ACTIVITY_DEVICE, SCRIPT_EXECUTION, Stack
from tests.device.test_restarts import again, init, kill_server, pid_of


def shown(device: tango.DeviceProxy, command_ids: list[str]) -> dict:
    return {
        "lrcFinished": [json.loads(each) for each in device.lrcFinished or ()],
        "longRunningCommandResult": list(device.longRunningCommandResult),
        "statuses": {
            each: device.CheckLongRunningCommandStatus(each) for each in command_ids
        },
    }  # fmt: skip


def every_kind_of_end(stack: Stack, client: Client, tmp_path: Path) -> list[str]:
    """Commands with every kind of end; their ids."""
    ids = [client.run(stack.block_of("takes_nothing.py")).command_id]
    ids.append(client.run(stack.block_of("raises_in_init.py")).command_id)
    ids.append(client.run("no-such-block").command_id)
    stopped = client.start(stack.block_of("sleeps.py"), subarray_id=2)
    ids.append(stopped["command_id"])
    ids.append(client.send("StopActivity", {"activity_id": stopped["activity_id"]}))
    client.result(ids[-1])
    ids.append(client.send("StopActivity", {"activity_id": stopped["activity_id"]}))
    client.result(ids[-1])
    prepared = client.run(stack.block_of("takes_nothing.py"), prepare_only=True)
    ids.append(prepared.command_id)
    ids.append(client.send("StartActivity", {"activity_id": prepared.activity["activity_id"]}))
    client.result(ids[-1])
    ids.append(client.send("ValidateActivity", client.request("no-such-block")))
    client.result(ids[-1])
    for command in ("Abort", "Reset"):
        (_,), (command_id,) = client.device.command_inout(command)
        client.result(command_id)
        ids.append(command_id)
    return ids


@pytest.mark.parametrize("how", ["killed", "initialised"])
def test_commands_are_shown_after_a_restart_as_before(own_stack: Stack, tmp_path: Path, how: str):
    client = Client()
    ids = every_kind_of_end(own_stack, client, tmp_path)
    before = shown(client.device, ids)

    if how == "killed":
        kill_server(ACTIVITY_DEVICE)
        client = again(client)
    else:
        init(ACTIVITY_DEVICE)
    until(lambda: client.device.lrcFinished, "the history")
    after = shown(client.device, ids)

    assert [each["uid"] for each in before["lrcFinished"]] == ids
    assert after == before


def test_commands_of_the_executor_are_shown_after_a_restart(own_stack: Stack):
    executor = tango.DeviceProxy(SCRIPT_EXECUTION)
    ids = [executor.command_inout(command)[1][0] for command in ("Reset", "Abort")]
    until(lambda: len(executor.lrcFinished or ()) == 2, "the history")
    before = shown(executor, ids)

    kill_server(SCRIPT_EXECUTION)
    executor = tango.DeviceProxy(SCRIPT_EXECUTION)
    until(lambda: executor.lrcFinished, "the history")

    assert shown(executor, ids) == before


def test_a_command_that_runs_over_a_restart_ends_once(own_stack: Stack):
    client = Client()
    running = client.start(own_stack.block_of("sleeps.py"))
    executing = json.loads(client.device.lrcExecuting[0])

    kill_server(ACTIVITY_DEVICE)
    client = again(client)
    until(lambda: client.device.lrcExecuting, "the command that runs")
    after = json.loads(client.device.lrcExecuting[0])
    client.stop(activity_id=running["activity_id"])
    until(lambda: len(client.device.lrcFinished or ()) == 2, "the ends")
    finished = [json.loads(each) for each in client.device.lrcFinished]

    assert after == executing
    run = next(each for each in finished if each["uid"] == running["command_id"])
    assert run["status"] == "ABORTED"
    assert run["started_time"] == executing["started_time"]


def test_an_abort_that_a_restart_comes_upon_is_followed_to_its_end(own_stack: Stack):
    client = Client()
    running = client.start(own_stack.block_of("ignores_signals.py"))
    (_,), (abort_id,) = client.device.Abort()

    kill_server(ACTIVITY_DEVICE)
    client = again(client)
    until(lambda: client.device.CheckLongRunningCommandStatus(abort_id) == "COMPLETED", "the end")
    finished = [json.loads(each) for each in client.device.lrcFinished]

    abort = next(each for each in finished if each["uid"] == abort_id)
    assert client.get(running["activity_id"])["state"] == "STOPPED"
    assert abort["result"] == [0, "Abort completed OK"]
    assert abort["started_time"] == abort["submitted_time"]


STUBBORN = """
import signal, time
def main():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass
"""


def state_of(device: tango.DeviceProxy, number: int) -> str:
    return str(json.loads(device.GetProcess(number))["state"])


def stubborn_script(stack: Stack, device: tango.DeviceProxy) -> int:
    """Have a script run that ends only when it is killed; its procedure's number."""
    script = {"kind": "filesystem", "uri": stack.write_script(STUBBORN)}
    request = {"request_id": str(uuid.uuid4()), "script": script}
    number = int(json.loads(device.PrepareProcess(json.dumps(request)))["procedure_id"])
    until(lambda: state_of(device, number) == "READY", "READY")
    device.StartProcess(json.dumps({"procedure_id": number, "function": "main", "args": {}}))
    until(lambda: state_of(device, number) == "RUNNING", "RUNNING")
    return number


@pytest.mark.parametrize("how", ["killed", "initialised"])
def test_an_abort_of_scripts_completes_over_a_restart(own_stack: Stack, how: str):
    device = tango.DeviceProxy(SCRIPT_EXECUTION)
    number = stubborn_script(own_stack, device)

    [_], [command_id] = device.Abort()
    if how == "killed":
        kill_server(SCRIPT_EXECUTION)
        device = tango.DeviceProxy(SCRIPT_EXECUTION)
    else:
        init(SCRIPT_EXECUTION)
    until(lambda: state_of(device, number) == "STOPPED", "STOPPED")
    until(lambda: device.CheckLongRunningCommandStatus(command_id) == "COMPLETED", "the end", 5)
    [entry] = [json.loads(each) for each in device.lrcFinished]

    assert (entry["uid"], entry["result"]) == (command_id, [0, "Abort completed OK"])


def test_aborts_that_tell_nothing_new_are_refused(own_stack: Stack):
    device = tango.DeviceProxy(SCRIPT_EXECUTION)
    stubborn_script(own_stack, device)

    answers = [device.Abort() for _ in range(MAX_ABORTS + 1)]
    ids = [text for _, [text] in answers[:-1]]
    [code], [text] = answers[-1]
    until(
        lambda: {device.CheckLongRunningCommandStatus(each) for each in ids} == {"COMPLETED"},
        "the ends",
    )

    assert code == 5
    assert text.startswith("NO_CAPACITY: ")
    assert ids[-1] in text


def test_the_end_just_before_a_kill_reaches_a_plain_v1_subscriber(own_stack: Stack):
    """CppTango revives the subscription some 10 s after a kill: it must still be listed then."""
    client = Client()
    told = queue.SimpleQueue[list[str]]()

    def listen(event: tango.EventData) -> None:
        if not event.err:
            told.put(list(event.attr_value.value or ()))

    device = tango.DeviceProxy(ACTIVITY_DEVICE)
    subscription = device.subscribe_event(
        "longRunningCommandStatus", tango.EventType.CHANGE_EVENT, listen
    )
    command_id = client.run(own_stack.block_of("takes_nothing.py")).command_id

    def says_so() -> bool:
        with suppress(queue.Empty):
            statuses = iter(told.get(timeout=1))
            return (command_id, "COMPLETED") in zip(statuses, statuses, strict=True)
        return False

    until(says_so, "the terminal status")
    kill_server(ACTIVITY_DEVICE)
    until(says_so, "the terminal status again", 40)
    device.unsubscribe_event(subscription)


def test_a_question_that_a_kill_comes_upon_has_failed(own_stack: Stack):
    client = Client()
    block = own_stack.block_of("takes_nothing.py")
    history = own_stack.directory / "state" / "activity"

    def noted() -> bool:
        note = f'lrc unanswered["{command_id}"]'.encode()
        return any(note in path.read_bytes() for path in history.glob("activities.db*"))

    executor = pid_of(SCRIPT_EXECUTION)
    os.kill(executor, signal.SIGSTOP)
    try:
        command_id = client.send("ValidateActivity", client.request(block))
        until(noted, "a second look at it")
        kill_server(ACTIVITY_DEVICE)
        client = again(client)
        until(lambda: client.device.lrcFinished, "the history")
        [entry] = [json.loads(each) for each in client.device.lrcFinished]
    finally:
        os.kill(executor, signal.SIGCONT)

    assert client.device.CheckLongRunningCommandStatus(command_id) == "FAILED"
    assert (entry["uid"], entry["result"][0]) == (command_id, 3)
    assert "the server was restarted" in entry["result"][1]
