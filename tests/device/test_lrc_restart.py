"""What long-running commands came to is shown after a restart as it was before."""

import json
from pathlib import Path

import pytest
import tango

from tests.device.client import Client, until
from tests.device.stack import ACTIVITY_DEVICE, SCRIPT_EXECUTION, Stack
from tests.device.test_restarts import again, init, kill_server


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
