"""A simulated CentralNode changes the telescope's state and gives subarrays their resources."""

import json

import pytest

from ska_oso_activity.simulators.answers import NotAllowed
from ska_oso_activity.simulators.faults import read_defect
from ska_oso_activity.simulators.obs_state import ObsState
from ska_oso_activity.simulators.subarray import WrongState
from tests.unit.simulators.bench import ARGUMENTS, ASSIGN, Bench, Died


def break_central(bench, **defect):
    bench.central.defect = read_defect(json.dumps({"enabled": True, **defect}))


def assign(bench):
    return bench.central.perform("AssignResources", ARGUMENTS["AssignResources"])


@pytest.mark.parametrize(
    ("command", "state"),
    [("TelescopeOn", "ON"), ("TelescopeStandby", "STANDBY"), ("TelescopeOff", "OFF")],
)
def test_the_telescope_is_switched(command, state):
    bench = Bench()
    bench.central.telescope_state = "UNKNOWN"

    answer = bench.central.perform(command)
    bench.timers.advance(1)

    assert int(answer.code) == 2
    assert bench.central_publisher.of("telescopeState") == [("telescopeState", state)]
    assert bench.result(answer.text, "central") == [0, "Command Completed"]


def test_resources_are_assigned_and_released():
    bench = Bench()

    assigned = assign(bench).text
    bench.timers.advance(1)
    released = bench.central.perform("ReleaseResources", ARGUMENTS["ReleaseResources"]).text
    bench.timers.advance(1)

    assert bench.states() == ["RESOURCING", "IDLE", "RESOURCING", "EMPTY"]
    assert bench.result(assigned, "central") == [0, "Command Completed"]
    assert bench.result(released, "central") == [0, "Command Completed"]
    assert bench.timers.waiting == []


def test_both_devices_have_an_lrc_of_their_own():
    bench = Bench()

    uid = assign(bench).text
    bench.timers.advance(1)

    told = [
        (who, value[0]) for who, name, value in bench.story if name == "longRunningCommandResult"
    ]
    assert [who for who, _ in told] == ["subarray", "central"]
    assert told[0][1] != told[1][1] == uid


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ({**ASSIGN, "subarray_id": 4}, "there is no subarray_id 4; there are 1"),
        ({**ASSIGN, "subarray_id": None}, "subarray_id must be a whole number"),
        ({**ASSIGN, "interface": "x"}, "https://schema.skao.int/ska-tmc-assignresources/<version>"),
        ({"subarray_id": 1}, "interface is missing"),
        ({**ASSIGN, "dish": 1}, "dish must be an object"),
    ],
)
def test_a_bad_argument_is_rejected_and_changes_nothing(argument, why):
    bench = Bench()

    text = argument if isinstance(argument, str) else json.dumps(argument)
    answer = bench.central.perform("AssignResources", text)
    bench.timers.advance(100)

    assert int(answer.code) == 5
    assert why in answer.text
    assert bench.story == []


def test_a_subarray_in_the_wrong_state_refuses():
    bench = Bench()
    bench.bring_to(ObsState.READY)

    with pytest.raises(WrongState, match="obsState is READY"):
        assign(bench)

    assert bench.story == []


def test_a_subarray_that_is_stuck_makes_the_command_time_out():
    bench = Bench()
    bench.break_(fault_type=4)
    bench.central.command_time_out = 5

    uid = assign(bench).text
    bench.timers.advance(5)

    code, text = bench.result(uid, "central")
    assert code == 3
    assert text.endswith("Timeout has occurred, command failed")
    assert bench.states() == ["RESOURCING"]


def test_a_failure_of_the_subarray_is_told_with_its_name():
    for fault in (2, 3, 5):
        bench = Bench()
        bench.break_(fault_type=fault, error_message="broken")

        uid = assign(bench).text
        bench.timers.advance(1)

        text = "Exception occurred on the following devices: mid-tmc/subarray/01: broken"
        assert bench.result(uid, "central") == [3, text]
        assert bench.timers.waiting == []


def test_abort_ends_the_central_nodes_command_too():
    bench = Bench()
    uid = assign(bench).text

    bench.send("Abort")

    assert bench.result(uid, "central")[0] == 3
    assert "Command has been aborted" in bench.result(uid, "central")[1]


# --- Faults of its own -----------------------------------------------------------------------


def test_not_allowed_before_queuing():
    bench = Bench()
    break_central(bench, fault_type=1, error_message="not now")

    with pytest.raises(NotAllowed, match="not now"):
        bench.central.perform("TelescopeOn")


def test_failed_at_once():
    bench = Bench()
    break_central(bench, fault_type=2, error_message="no")

    answer = assign(bench)

    assert (int(answer.code), answer.text) == (3, "no")
    assert bench.story == []


@pytest.mark.parametrize(("fault", "states"), [(3, ["RESOURCING", "EMPTY"]), (5, ["RESOURCING"])])
def test_failed_late(fault, states):
    bench = Bench()
    break_central(bench, fault_type=fault, error_message="broken")

    uid = assign(bench).text
    bench.timers.advance(1)

    assert bench.result(uid, "central")[0] == 3
    assert bench.states() == states


def test_stuck_without_a_result_for_ever():
    bench = Bench()
    break_central(bench, fault_type=4)

    uid = assign(bench).text
    bench.timers.advance(1000)

    assert bench.result(uid, "central") is None
    assert bench.states() == ["RESOURCING"]


def test_not_allowed_after_queuing():
    bench = Bench()
    break_central(bench, fault_type=6, error_message="not after all")

    uid = assign(bench).text
    bench.timers.advance(0)

    assert bench.result(uid, "central") == [6, "not after all"]
    assert bench.states() == []


@pytest.mark.parametrize(("fault", "code"), [(0, 0), (3, 3), (5, 3), (6, 6)])
def test_a_switch_of_the_telescope_can_fail_as_well(fault, code):
    bench = Bench()
    break_central(bench, fault_type=fault)

    uid = bench.central.perform("TelescopeOn").text
    bench.timers.advance(1)

    assert bench.result(uid, "central")[0] == code
    assert bench.central.telescope_state == ("OFF" if fault else "ON")


def test_it_has_the_server_die_when_the_subarray_enters_a_state():
    bench = Bench()
    break_central(bench, die_at="RESOURCING")

    with pytest.raises(Died):
        assign(bench)


def test_one_that_leaves_ends_what_is_under_way():
    bench = Bench()
    uids = [bench.central.perform("TelescopeOn").text, assign(bench).text]

    bench.central.leave()
    bench.timers.advance(100)

    assert [bench.result(uid, "central")[0] for uid in uids] == [3, 3]


def test_what_is_aborted_takes_no_effect():
    bench = Bench()
    bench.central.perform("TelescopeOn")

    bench.central.abort_commands()
    bench.timers.advance(100)

    assert bench.central.telescope_state == "OFF"


def test_availability_lists_the_subarrays():
    bench = Bench()
    before = json.loads(bench.central.availability())["tmc_subarrays"]

    bench.subarray.leave()

    assert before == {"mid-tmc/subarray/01": True}
    assert json.loads(bench.central.availability())["tmc_subarrays"] == {}


def test_the_silent_kind_does_it_at_once():
    bench = Bench()

    bench.central.perform_at_once("AssignResources", ARGUMENTS["AssignResources"])
    bench.central.perform_at_once("TelescopeOn")

    assert bench.states() == ["RESOURCING", "IDLE"]
    assert bench.central.telescope_state == "ON"
    with pytest.raises(NotAllowed, match="no subarray_id 9"):
        bench.central.perform_at_once("AssignResources", json.dumps({**ASSIGN, "subarray_id": 9}))
