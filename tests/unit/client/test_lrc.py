"""Long-running commands are followed by either protocol, whatever comes first."""

import json
import threading

import pytest

from ska_oso_activity.client import ClientError, LrcResult, OutOfTime
from ska_oso_activity.client.lrc import KEPT, LongRunningCommands
from ska_oso_activity.domain.control_model import TaskStatus
from tests.unit.client.fakes import FakeTango


@pytest.fixture
def device():
    made = FakeTango("device")
    made.values = {
        "lrcProtocolVersions": (1, 2),
        "longRunningCommandStatus": None,
        "longRunningCommandResult": ("", ""),
        "_lrcEvent": (),
    }
    return made


def tell(device, protocol, command_id, status, result=None):
    if protocol == 2:
        told = {"status": status} | ({} if result is None else {"result": result})
        device.push("_lrcEvent", (command_id, json.dumps(told)))
        return
    if result is not None:
        device.push("longRunningCommandResult", (command_id, json.dumps(result)))
    others = ("1_On", "COMPLETED")
    device.push("longRunningCommandStatus", (*others, command_id, TaskStatus(status).name))


@pytest.mark.parametrize("protocol", [1, 2])
def test_statuses_and_result_are_told(device, protocol):
    with LongRunningCommands(device, protocol) as commands:
        for status in (0, 2):
            tell(device, protocol, "2_Run", status)
        with pytest.raises(OutOfTime):
            commands.wait("2_Run", 0.01)
        tell(device, protocol, "2_Run", 5, [0, "Activity 12 SUCCEEDED"])

        assert commands.wait("2_Run", 1) == LrcResult(0, "Activity 12 SUCCEEDED")
        assert [each.name for each in commands.statuses("2_Run")] == [
            "STAGING",
            "IN_PROGRESS",
            "COMPLETED",
        ]
    assert all(each.closed for each in device.subscriptions)


@pytest.mark.parametrize(("versions", "agreed"), [((1, 2), 2), ((1, 1), 1), ((2, 7), 2)])
def test_the_newest_protocol_of_both_is_spoken(device, versions, agreed):
    device.values["lrcProtocolVersions"] = versions

    assert LongRunningCommands(device).protocol == agreed


@pytest.mark.parametrize(("versions", "wanted"), [((3, 4), None), ((1, 1), 2)])
def test_a_protocol_that_is_not_spoken_is_refused(device, versions, wanted):
    device.values["lrcProtocolVersions"] = versions

    with pytest.raises(ClientError, match="speaks LRC protocols"):
        LongRunningCommands(device, wanted)


def test_commands_of_long_ago_are_forgotten(device):
    with LongRunningCommands(device, 2) as commands:
        for number in range(KEPT + 1):
            tell(device, 2, f"{number}_Run", 5, [0, "done"])

        assert commands.statuses("0_Run") == []
        assert commands.wait(f"{KEPT}_Run", 1).ok


def test_the_result_of_one_command_of_many_is_kept(device):
    names = [f"{n}_RunActivity" for n in range(150)]
    with LongRunningCommands(device, 1) as commands:
        device.push("longRunningCommandResult", (names[0], json.dumps([0, "good"])))
        words = [word for name in names for word in (name, "COMPLETED")]
        device.push("longRunningCommandStatus", words)

        assert commands.wait(names[0], 1).ok


def test_what_is_waited_for_is_kept(device):
    with LongRunningCommands(device, 2) as commands:
        tell(device, 2, "mine", 5)
        waiting = threading.Thread(target=lambda: told.append(commands.wait("mine", 20)))
        told: list[LrcResult] = []
        waiting.start()
        while "mine" not in commands._awaited:
            waiting.join(0.001)
        for number in range(2 * KEPT):
            tell(device, 2, f"{number}_Run", 5, [0, "done"])
        tell(device, 2, "mine", None, [0, "good"])
        waiting.join()

    assert told == [LrcResult(0, "good")]


@pytest.mark.parametrize("protocol", [1, 2])
def test_a_status_of_a_later_release_is_passed_over(device, protocol):
    with LongRunningCommands(device, protocol) as commands:
        if protocol == 2:
            device.push("_lrcEvent", ("2_Run", json.dumps({"status": 99})))
        else:
            device.push("longRunningCommandStatus", ("2_Run", "PAUSED"))
        tell(device, protocol, "2_Run", 5, [0, "done"])

        assert commands.wait("2_Run", 1).ok
        assert commands.statuses("2_Run") == [TaskStatus.COMPLETED]
