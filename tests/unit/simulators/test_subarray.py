"""A simulated subarray goes where TMC's table says, for every state and every command."""

import itertools
import json

import pytest

from ska_oso_activity.domain.control_model import TaskStatus
from ska_oso_activity.simulators.answers import NotAllowed
from ska_oso_activity.simulators.obs_state import RULES, ObsState
from ska_oso_activity.simulators.simulation import Order
from ska_oso_activity.simulators.subarray import WrongState
from tests.unit.simulators.bench import ARGUMENTS, CONFIGURE, RELEASE, Bench, Died

# Typed in from contracts/tmc.md: from, through, to.
TABLE = {
    "AssignResources": ("EMPTY IDLE", "RESOURCING", "IDLE"),
    "ReleaseResources": ("IDLE", "RESOURCING", "EMPTY"),
    "ReleaseAllResources": ("IDLE", "RESOURCING", "EMPTY"),
    "Configure": ("IDLE READY", "CONFIGURING", "READY"),
    "Scan": ("READY", "SCANNING", "READY"),
    "EndScan": ("SCANNING", None, "READY"),
    "End": ("READY", None, "IDLE"),
    "Abort": ("RESOURCING IDLE CONFIGURING READY SCANNING", "ABORTING", "ABORTED"),
    "Restart": ("ABORTED FAULT", "RESTARTING", "EMPTY"),
}
STATES = [
    *("EMPTY", "RESOURCING", "IDLE", "CONFIGURING", "READY", "SCANNING", "ABORTING", "ABORTED"),
    *("RESETTING", "FAULT", "RESTARTING"),
]
EVERYTHING = list(itertools.product(STATES, TABLE))


def path_of(command, start):
    """The states that are told, from one where the command is allowed."""
    _, through, to = TABLE[command]
    path = [state for state in (through, to) if state is not None]
    return [state for before, state in itertools.pairwise([start, *path]) if state != before]


def test_states_have_the_numbers_of_ska_control_model():
    assert [state.name for state in ObsState] == STATES
    assert [int(state) for state in ObsState] == list(range(11))


def test_the_table_names_all_commands():
    assert set(RULES) == set(TABLE)


@pytest.mark.parametrize(("state", "command"), EVERYTHING)
def test_a_command_is_done_where_the_table_allows_it_and_refused_elsewhere(state, command):
    bench = Bench()
    bench.bring_to(ObsState[state])

    if state in TABLE[command][0].split():
        answer = bench.send(command)
        assert bench.states() == path_of(command, state)[: 1 if TABLE[command][1] else 0]
        assert answer.accepted
        bench.timers.advance(100)
        assert bench.states() == path_of(command, state)
        assert bench.result(answer.text) == [0, "Command Completed"]
    else:
        with pytest.raises(WrongState) as refused:
            bench.send(command)
        bench.timers.advance(100)
        assert f"obsState is {state}" in str(refused.value)
        assert "allowed in " + ", ".join(TABLE[command][0].split()) in str(refused.value)
        assert bench.publisher.pushes == []
    assert bench.timers.waiting == []


@pytest.mark.parametrize(("state", "command"), EVERYTHING)
def test_the_silent_kind_moves_by_the_same_table(state, command):
    bench = Bench()
    bench.bring_to(ObsState[state])

    if state in TABLE[command][0].split():
        bench.subarray.perform_at_once(command, ARGUMENTS.get(command, ""))
        assert bench.states() == path_of(command, state)
    else:
        with pytest.raises(WrongState):
            bench.subarray.perform_at_once(command, ARGUMENTS.get(command, ""))
    assert {name for _, name, _ in bench.story} <= {"obsState", "assignedResources", "scanId"}
    assert bench.subarray.scan_id == 0


@pytest.mark.parametrize(
    "state", ["RESOURCING", "CONFIGURING", "SCANNING"], ids=lambda state: f"in {state}"
)
def test_abort_ends_what_is_under_way(state):
    bench = Bench()
    before, command = {
        "RESOURCING": ("EMPTY", "AssignResources"),
        "CONFIGURING": ("IDLE", "Configure"),
        "SCANNING": ("READY", "Scan"),
    }[state]
    bench.subarray.scan_duration = 10.0
    bench.bring_to(ObsState[before])
    pending = bench.send(command).text

    abort = bench.send("Abort")
    bench.timers.advance(100)

    code, text = bench.result(pending)
    assert (code, text) == (3, f"{command} on mid-tmc/subarray/01: Command has been aborted")
    assert bench.states() == [state, "ABORTING", "ABORTED"]
    assert int(abort.code) == 1
    assert bench.result(abort.text) == [0, "Command Completed"]
    statuses = [
        json.loads(value[1])["status"]
        for name, value in bench.publisher.pushes
        if name == "_lrcEvent" and value[0] == abort.text
    ]
    assert statuses == [TaskStatus.STAGING, TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED]


def test_an_abort_that_takes_too_long_ends_in_fault():
    bench = Bench(abort_limit=5.0)
    bench.delays.set('{"Abort": 9}')
    bench.bring_to(ObsState.IDLE)

    abort = bench.send("Abort").text
    bench.timers.advance(5)

    assert bench.states() == ["ABORTING", "FAULT"]
    assert bench.result(abort)[0] == 3
    assert "Timeout has occurred, command failed" in bench.result(abort)[1]


def observed(bench, seconds=0.0):
    """Bring a subarray to SCANNING, `seconds` ago."""
    for command in ("AssignResources", "Configure"):
        bench.send(command)
        bench.timers.advance(1)
    scan = bench.send("Scan").text
    bench.timers.advance(seconds)
    return scan


def test_a_scan_lasts_as_configured():
    bench = Bench()
    scan = observed(bench, 1.0)
    told = bench.result(scan)

    bench.timers.advance(8.9)
    before = bench.states()[-1]
    bench.timers.advance(0.1)

    assert told == [0, "Command Completed"]
    assert (before, bench.states()[-1]) == ("SCANNING", "READY")


def test_a_scan_that_is_shorter_than_its_command_completes_with_it():
    bench = Bench()
    bench.send("AssignResources")
    bench.timers.advance(1)
    short = {**CONFIGURE, "tmc": {"scan_duration": 0.1}}
    bench.send("Configure", json.dumps(short))
    bench.timers.advance(1)

    scan = bench.send("Scan").text
    bench.timers.advance(0.1)

    assert bench.result(scan) == [0, "Command Completed"]
    assert bench.states()[-2:] == ["SCANNING", "READY"]


def test_a_partial_configuration_keeps_the_duration():
    bench = Bench()
    observed(bench, 10.0)

    partial = {**CONFIGURE, "tmc": {"partial_configuration": True}}
    del partial["dish"]
    bench.send("Configure", json.dumps(partial))
    bench.timers.advance(1)

    assert bench.subarray.scan_duration == 10.0


def test_end_scan_ends_a_scan_and_its_timer():
    bench = Bench()
    scan = observed(bench, 0.5)

    bench.send("EndScan")
    bench.timers.advance(100)

    assert bench.result(scan) == [0, "Command Completed"]
    assert bench.states()[-2:] == ["SCANNING", "READY"]
    assert bench.publisher.values["scanId"] == 0


def test_a_scan_that_was_ended_does_not_end_the_next():
    bench = Bench()
    observed(bench, 0.5)
    bench.send("EndScan")
    bench.timers.advance(1)
    waiting = bench.timers.waiting

    bench.send("Scan")
    bench.timers.advance(9.5)

    assert waiting == []
    assert bench.states()[-1] == "SCANNING"


def test_resources_are_told_and_can_be_released_in_parts():
    bench = Bench()
    bench.send("AssignResources")
    bench.timers.advance(1)
    assigned = bench.publisher.values["assignedResources"]

    some = {**RELEASE, "release_all": False, "receptor_ids": ["SKA001"]}
    bench.send("ReleaseResources", json.dumps(some))
    bench.timers.advance(1)
    state, left = bench.states()[-1], bench.publisher.values["assignedResources"]
    bench.send("ReleaseResources", json.dumps({**some, "receptor_ids": ["SKA036"]}))
    bench.timers.advance(1)

    assert (assigned, state, left) == (["SKA001", "SKA036"], "IDLE", ["SKA036"])
    assert bench.states()[-1] == "EMPTY"


def test_what_is_not_assigned_cannot_be_released():
    bench = Bench()
    bench.send("AssignResources")
    bench.timers.advance(1)

    some = {**RELEASE, "release_all": False, "receptor_ids": ["SKA100"]}
    answer = bench.send("ReleaseResources", json.dumps(some))

    assert int(answer.code) == 5
    assert "SKA100 cannot be released: assigned are SKA001, SKA036" in answer.text
    assert bench.states()[-1] == "IDLE"


def end_of_configure(bench):
    bench.bring_to(ObsState.IDLE)
    bench.send("Configure")
    bench.timers.advance(1)
    names = [name for _, name, _ in bench.story]
    result = names.index("longRunningCommandResult")
    return "result first" if "obsState" in names[result:] else "state first"


def test_the_order_of_state_and_result_can_be_chosen():
    assert end_of_configure(Bench(Order.STATE_FIRST)) == "state first"
    assert end_of_configure(Bench(Order.RESULT_FIRST)) == "result first"
    assert end_of_configure(Bench(Order.RANDOM, chance=lambda: 0.4)) == "result first"
    assert end_of_configure(Bench(Order.RANDOM, chance=lambda: 0.6)) == "state first"


# --- Faults ----------------------------------------------------------------------------------


def test_not_allowed_before_queuing():
    bench = Bench()
    bench.break_(fault_type=1, error_message="not now")

    with pytest.raises(NotAllowed, match="not now"):
        bench.send("AssignResources")

    assert bench.publisher.pushes == []


def test_failed_at_once_passing_through_states():
    bench = Bench()
    bench.break_(fault_type=2, error_message="no", target_obsstates=[1, 0])

    answer = bench.send("AssignResources")

    assert (int(answer.code), answer.text) == (3, "no")
    assert bench.states() == ["RESOURCING", "EMPTY"]


def test_failed_after_the_delay():
    bench = Bench()
    bench.break_(fault_type=3, error_message="broken")

    uid = bench.send("AssignResources").text
    bench.timers.advance(0.9)
    before = bench.result(uid)
    bench.timers.advance(0.1)

    text = "Exception occurred on the following devices: mid-tmc/subarray/01: broken"
    assert before is None
    assert bench.result(uid) == [3, text]
    assert bench.states() == ["RESOURCING", "EMPTY"]


@pytest.mark.parametrize(
    ("given", "state"), [({}, "RESOURCING"), ({"intermediate_state": "CONFIGURING"}, "CONFIGURING")]
)
def test_stuck_without_a_result_until_abort(given, state):
    bench = Bench()
    bench.break_(fault_type=4, **given)

    uid = bench.send("AssignResources").text
    bench.timers.advance(1000)
    told = bench.result(uid)
    bench.send("Abort")
    bench.timers.advance(1)

    assert told is None
    assert bench.states() == [state, "ABORTING", "ABORTED"]
    assert bench.result(uid)[0] == 3


def test_stuck_with_a_failed_result():
    bench = Bench()
    bench.break_(fault_type=5, error_message="stuck")
    bench.bring_to(ObsState.IDLE)

    uid = bench.send("Configure").text
    bench.timers.advance(1000)

    assert bench.states() == ["CONFIGURING"]
    assert bench.result(uid)[0] == 3
    assert bench.result(uid)[1].endswith("mid-tmc/subarray/01: stuck")


def test_not_allowed_after_queuing():
    bench = Bench()
    bench.break_(fault_type=6, error_message="not allowed after all")

    answer = bench.send("AssignResources")
    bench.timers.advance(0)

    assert answer.accepted
    assert bench.result(answer.text) == [6, "not allowed after all"]
    assert '"status":"REJECTED"' in bench.publisher.values["lrcFinished"][-1].replace(" ", "")
    assert bench.states() == []


def test_a_defect_may_be_of_some_commands_only():
    bench = Bench()
    bench.break_(fault_type=1, commands=["Configure"])

    assert bench.send("AssignResources").accepted
    bench.timers.advance(1)
    with pytest.raises(NotAllowed):
        bench.send("Configure")


def test_abort_is_only_defective_if_that_is_said():
    bench = Bench()
    bench.bring_to(ObsState.IDLE)
    bench.break_(fault_type=4, commands=["Abort"])

    bench.send("Abort")
    bench.timers.advance(1000)

    assert bench.states() == ["ABORTING"]


def test_it_dies_on_entering_a_state():
    bench = Bench()
    bench.break_(die_at="IDLE")
    bench.send("AssignResources")

    with pytest.raises(Died):
        bench.timers.advance(1)

    assert bench.states() == ["RESOURCING"]


@pytest.mark.parametrize(("fault", "states"), [(2, []), (3, []), (6, []), (5, ["RESOURCING"])])
def test_the_silent_kind_raises_what_it_cannot_return(fault, states):
    bench = Bench()
    bench.break_(fault_type=fault, error_message="no")

    with pytest.raises(NotAllowed, match="no"):
        bench.subarray.perform_at_once("AssignResources", ARGUMENTS["AssignResources"])

    assert bench.states() == states


def test_the_silent_kind_gets_stuck_without_a_word():
    bench = Bench()
    bench.break_(fault_type=4)

    bench.subarray.perform_at_once("AssignResources", ARGUMENTS["AssignResources"])

    assert bench.states() == ["RESOURCING"]


def test_one_command_at_a_time():
    bench = Bench()
    bench.bring_to(ObsState.READY)
    end = bench.send("End").text

    with pytest.raises(WrongState, match="End is still under way"):
        bench.send("Configure")
    bench.timers.advance(1)

    assert bench.result(end) == [0, "Command Completed"]
    assert bench.states() == ["IDLE"]


def test_a_command_that_got_stuck_where_it_began_may_be_sent_again():
    bench = Bench()
    bench.break_(fault_type=4, intermediate_state="EMPTY")
    stuck = bench.send("AssignResources").text
    bench.break_(fault_type=0)

    again = bench.send("AssignResources").text
    bench.timers.advance(1)

    assert bench.result(stuck) == [
        3,
        "AssignResources on mid-tmc/subarray/01: Command has been aborted",
    ]
    assert bench.result(again) == [0, "Command Completed"]


def test_an_end_scan_that_fails_leaves_the_scan_to_its_end():
    bench = Bench()
    observed(bench, 1.0)
    bench.break_(fault_type=3, commands=["EndScan"])

    ended = bench.send("EndScan").text
    bench.timers.advance(1)
    before = bench.states()[-1]
    bench.timers.advance(8)

    assert bench.result(ended)[0] == 3
    assert (before, bench.states()[-1]) == ("SCANNING", "READY")


def test_a_scan_whose_command_is_aborted_still_comes_to_its_end():
    bench = Bench()
    scan = observed(bench, 0.5)

    bench.subarray.abort_commands()
    before = bench.states()[-1]
    bench.timers.advance(10)

    assert bench.result(scan)[0] == 3
    assert (before, bench.states()[-1]) == ("SCANNING", "READY")
    assert bench.subarray.scan_id == 0


def test_a_scan_that_ends_while_its_subarray_leaves_says_no_more():
    bench = Bench()
    observed(bench, 1.0)
    rings = [call for _, _, call in bench.timers.waiting]
    bench.subarray.leave()
    said = list(bench.story)

    for ring in rings:  # timers that were about to ring, and are not cancelled in time
        ring()

    assert rings
    assert bench.story == said


def test_a_state_that_is_set_ends_what_is_under_way():
    bench = Bench()
    uid = bench.send("AssignResources").text

    bench.subarray.set_obs_state(ObsState.FAULT)
    bench.timers.advance(100)

    assert bench.states() == ["RESOURCING", "FAULT"]
    assert bench.result(uid)[0] == 3


def test_a_subarray_that_leaves_ends_what_is_under_way():
    bench = Bench()
    uid = bench.send("AssignResources").text

    bench.subarray.leave()
    bench.timers.advance(100)

    assert bench.result(uid)[0] == 3
    assert bench.states() == ["RESOURCING"]
