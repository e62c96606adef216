"""Long-running commands as clients of both protocol versions see them: each status, in order."""

import json

import pytest
import tango

from tests.device.client import Client, Recorder
from tests.device.stack import ACTIVITY_DEVICE, Stack
from tests.lrc_client import CommandRejected, LrcClient

RUN = ["STAGING", "QUEUED", "IN_PROGRESS", "COMPLETED"]
COMMANDS, IN_FLIGHT = 1000, 16


def test_both_versions_see_every_status_of_a_thousand_commands_once_and_in_order(stack: Stack):
    device = tango.DeviceProxy(ACTIVITY_DEVICE)
    sbd_id = stack.block_of("takes_nothing.py")
    sent: list[str] = []
    with LrcClient(device, 1) as first, LrcClient(device, 2) as second:
        unfinished: set[str] = set()
        for _ in range(COMMANDS):
            second.await_room(unfinished, IN_FLIGHT)
            sent.append(second.invoke("DescribeSchedulingBlock", sbd_id))
            unfinished.add(sent[-1])
        for client in (first, second):
            for command_id in sent:
                client.wait(command_id)

        for client in (first, second):
            told = [client.commands[command_id] for command_id in sent]
            assert client.faults == []
            assert all(each.statuses == RUN for each in told)
            assert all(len(each.results) == 1 for each in told)
            assert not any(each.early_end for each in told)
            assert {each.results[0][0] for each in told} == {0}
    assert len(set(sent)) == COMMANDS


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("script", "status", "code"),
    [("takes_nothing.py", "COMPLETED", 0), ("raises_in_init.py", "FAILED", 3)],
)
def test_run_activity_ends_as_its_activity(
    stack: Stack, version: int, script: str, status: str, code: int
):
    request = {"sbd_id": stack.block_of(script), "activity_name": "observe"}
    with LrcClient(tango.DeviceProxy(ACTIVITY_DEVICE), version) as lrc:
        told = lrc.wait(lrc.invoke("RunActivity", json.dumps(request)))

    assert lrc.faults == []
    assert told.statuses == [*RUN[:3], status]
    assert [result[0] for result in told.results] == [code]
    assert not told.early_end


@pytest.mark.parametrize("version", [1, 2])
def test_the_progress_of_a_script_is_that_of_its_command(stack: Stack, version: int):
    script = stack.write_script(
        "from ska_oso_activity import script\n"
        "def main():\n"
        "    for percent in (10, 60, 90):\n"
        "        script.progress(percent / 100)\n"
    )
    request = {
        "sbd_id": stack.block({"observe": stack.activity(script)}),
        "activity_name": "observe",
    }
    device = tango.DeviceProxy(ACTIVITY_DEVICE)
    with LrcClient(device, version) as lrc:
        command_id = lrc.invoke("RunActivity", json.dumps(request))
        told = lrc.wait(command_id)

    assert lrc.faults == []
    assert told.progress == [10, 60, 90]
    assert command_id not in (device.longRunningCommandProgress or ())


@pytest.mark.parametrize("version", [1, 2])
def test_abort_ends_each_activity_and_its_command(stack: Stack, version: int):
    request = {"sbd_id": stack.block_of("sleeps.py"), "activity_name": "observe"}
    client = Client()
    with LrcClient(client.device, version) as lrc:
        runs = [lrc.invoke("RunActivity", json.dumps(request)) for _ in range(3)]
        for command_id in runs:
            client.reach(command_id, "RUNNING")
        abort_id = lrc.invoke("Abort")
        abort = lrc.wait(abort_id)
        told = [lrc.wait(command_id) for command_id in runs]

    assert lrc.faults == []
    assert abort.statuses == ["STAGING", "IN_PROGRESS", "COMPLETED"]
    assert abort.results == [[0, "Abort completed OK"]]
    for command_id, each in zip(runs, told, strict=True):
        activity = client.get(command_id)
        assert activity["state"] == "STOPPED"
        assert each.statuses[-1] == "ABORTED"
        assert each.results == [[7, f"Activity {activity['activity_id']} STOPPED"]]


def test_nothing_new_is_taken_while_everything_is_being_stopped(stack: Stack, client: Client):
    running = client.start(stack.block_of("ignores_signals.py"))
    (_,), (abort_id,) = client.device.Abort()
    with LrcClient(client.device, 2) as lrc:
        refusals = []
        for command, argument in (
            ("RunActivity", json.dumps(client.request(stack.block_of("takes_nothing.py")))),
            ("DescribeSchedulingBlock", "sbd-1"),
            ("Reset", None),
        ):
            with pytest.raises(CommandRejected) as refused:
                lrc.invoke(command, argument)
            refusals.append(str(refused.value))
    result, _ = client.result(abort_id)

    assert all(each.startswith("WRONG_STATE: Queue is being aborted") for each in refusals)
    assert result == [0, "Abort completed OK"]
    assert client.finish(running["command_id"]).states[-1] == "STOPPED"


def test_v1_tells_the_end_in_the_order_of_the_contract(stack: Stack, client: Client):
    names = (
        *("longRunningCommandResult", "longRunningCommandStatus", "longRunningCommandInProgress"),
        *("_lrcEvent", "lrcExecuting", "lrcFinished"),
    )
    with Recorder(client.device, *names) as recorder:
        command_id = client.send("DescribeSchedulingBlock", stack.block_of("takes_nothing.py"))
        client.result(command_id)
        recorder.wait(lambda: recorder.values("lrcFinished"), "lrcFinished")
        story = recorder.news()

    end = next(
        n for n, e in enumerate(story)
        if e.attribute == "longRunningCommandResult" and e.value[0] == command_id
    )  # fmt: skip
    assert tuple(event.attribute for event in story[end:]) == names


def test_a_finished_command_leaves_the_lists_of_v1_though_nothing_else_happens(
    own_stack: Stack,
):
    device = tango.DeviceProxy(ACTIVITY_DEVICE)
    with Recorder(device, "longRunningCommandStatus", "longRunningCommandIDsInQueue") as recorder:
        (_,), (command_id,) = device.Reset()
        recorder.wait(
            lambda: recorder.values("longRunningCommandStatus")[-1:] == [[command_id, "COMPLETED"]],
            "the end",
        )
        recorder.wait(lambda: recorder.values("longRunningCommandStatus")[-1:] == [[]], "its leave")

    assert recorder.values("longRunningCommandIDsInQueue") == [[command_id], []]
    assert [json.loads(each)["uid"] for each in device.lrcFinished] == [command_id]
