"""Both state machines are what the contract writes, from every state to every other."""

import itertools

import pytest

from ska_oso_activity.domain import activity as activities
from ska_oso_activity.domain import procedure as procedures
from ska_oso_activity.domain.activity import Activity, ActivityState
from ska_oso_activity.domain.errors import ActivityError, Reason, StateMachineError
from ska_oso_activity.domain.procedure import Procedure, ProcedureState, abort_request_id

# Typed in from the Tango interface, section 2.2: not to be made from the code.
ACTIVITY_VALUES = {
    "NONE": 0,
    "REQUESTED": 1,
    "PREPARING": 2,
    "READY": 3,
    "RUNNING": 4,
    "STOPPING": 5,
    "SUCCEEDED": 6,
    "FAILED": 7,
    "STOPPED": 8,
    "UNKNOWN": 9,
}
ACTIVITY_TABLE = {
    "NONE": "REQUESTED",
    "REQUESTED": "PREPARING STOPPING FAILED UNKNOWN",
    "PREPARING": "READY STOPPING FAILED UNKNOWN",
    "READY": "RUNNING STOPPING FAILED UNKNOWN",
    "RUNNING": "SUCCEEDED STOPPING FAILED UNKNOWN",
    "STOPPING": "STOPPED SUCCEEDED FAILED UNKNOWN",
    "UNKNOWN": "PREPARING READY RUNNING STOPPING SUCCEEDED FAILED STOPPED",
    "SUCCEEDED": "",
    "FAILED": "",
    "STOPPED": "",
}
# Section 3.2.
PROCEDURE_VALUES = {
    "UNKNOWN": 0,
    "CREATING": 1,
    "PREP_ENV": 2,
    "IDLE": 3,
    "LOADING": 4,
    "INITIALISING": 5,
    "READY": 6,
    "RUNNING": 7,
    "COMPLETE": 8,
    "STOPPED": 9,
    "FAILED": 10,
}
PROCEDURE_TABLE = {
    "UNKNOWN": "CREATING",
    "CREATING": "PREP_ENV IDLE STOPPED FAILED",
    "PREP_ENV": "IDLE STOPPED FAILED",
    "IDLE": "LOADING STOPPED FAILED",
    "LOADING": "INITIALISING READY STOPPED FAILED",
    "INITIALISING": "READY STOPPED FAILED",
    "READY": "RUNNING STOPPED FAILED",
    "RUNNING": "COMPLETE STOPPED FAILED",
    "COMPLETE": "",
    "STOPPED": "",
    "FAILED": "",
}


def pairs(states):
    return [
        pytest.param(before, after, id=f"{before.name}-{after.name}")
        for before, after in itertools.product(states, states)
    ]


def activity(state):
    return Activity(7, "1_2_RunActivity", "observe", state=state)


def change(it, state, **facts):
    return it.change_state(state, epoch="e", seq=41, time="2026-11-24T22:10:03.123456Z", **facts)


def test_activity_states_have_the_values_of_the_contract():
    assert {state.name: state.value for state in ActivityState} == ACTIVITY_VALUES


def test_procedure_states_have_the_values_of_the_contract():
    assert {state.name: state.value for state in ProcedureState} == PROCEDURE_VALUES


@pytest.mark.parametrize(("before", "after"), pairs(ActivityState))
def test_an_activity_goes_where_the_contract_lets_it_and_nowhere_else(before, after):
    it = activity(before)
    allowed = after.name in ACTIVITY_TABLE[before.name].split()

    if allowed:
        event = change(it, after)
    else:
        with pytest.raises(StateMachineError) as refusal:
            change(it, after)

    assert (after in activities.TRANSITIONS[before]) == allowed
    if allowed:
        assert (event.previous_state, event.state, it.state) == (before.name, after.name, after)
    else:
        assert it == activity(before)
        assert before.name in str(refusal.value)
        assert after.name in str(refusal.value)


@pytest.mark.parametrize(("before", "after"), pairs(ProcedureState))
def test_a_procedure_goes_where_the_contract_lets_it_and_nowhere_else(before, after):
    it = Procedure(7, "r", {}, state=before)
    allowed = after.name in PROCEDURE_TABLE[before.name].split()

    if allowed:
        event = change(it, after)
    else:
        with pytest.raises(StateMachineError) as refusal:
            change(it, after)

    assert (after in procedures.TRANSITIONS[before]) == allowed
    if allowed:
        assert (event.previous_state, event.state, it.state) == (before.name, after.name, after)
    else:
        assert it == Procedure(7, "r", {}, state=before)
        assert before.name in str(refusal.value)


def test_the_groups_of_states_follow_from_the_table():
    ends = {state for state in ActivityState if not ACTIVITY_TABLE[state.name]}

    assert ends == activities.TERMINAL
    assert set(ActivityState) - ends - {ActivityState.NONE} == activities.STOPPABLE
    assert {s for s in ProcedureState if not PROCEDURE_TABLE[s.name]} == procedures.TERMINAL


def test_every_unfinished_activity_can_be_lost_and_found_again():
    for state in activities.STOPPABLE - {ActivityState.UNKNOWN, ActivityState.REQUESTED}:
        assert ActivityState.UNKNOWN in activities.TRANSITIONS[state]
        assert state in activities.TRANSITIONS[ActivityState.UNKNOWN]


def test_an_event_is_a_fact_that_later_changes_leave_alone():
    it = activity(ActivityState.PREPARING)
    event = change(it, ActivityState.READY)
    it.subarray_id = 3

    change(it, ActivityState.FAILED, reason=Reason.SCRIPT_ERROR, message="no")

    assert (event.state, event.subarray_id, event.reason) == ("READY", None, None)
    assert it.activity_states == [
        ("READY", "2026-11-24T22:10:03.123456Z"),
        ("FAILED", "2026-11-24T22:10:03.123456Z"),
    ]
    assert it.was_ready
    with pytest.raises(AttributeError):
        event.state = "RUNNING"


def test_a_lane_is_held_from_the_start_to_the_end_of_the_abort_script():
    it = activity(ActivityState.READY)
    it.subarray_id = 3
    held = [it.holds_lane]
    it.start_requested = True
    held.append(it.holds_lane)
    it.state, it.abort = ActivityState.STOPPED, {"state": "CREATING"}
    held.append(it.holds_lane)
    it.abort = {"state": "COMPLETE"}
    held.append(it.holds_lane)

    assert held == [False, True, True, False]


def test_without_a_subarray_there_is_no_lane():
    it = activity(ActivityState.RUNNING)
    it.start_requested = True

    assert not it.holds_lane


def test_both_devices_work_out_the_same_id_for_an_abort_script():
    assert abort_request_id("a") == abort_request_id("a")
    assert len({"a", "b", abort_request_id("a"), abort_request_id("b")}) == 4


# Section 5 of the contract.
CODES = [
    "SB_NOT_FOUND",
    "SB_INVALID",
    "ODA_UNAVAILABLE",
    "ACTIVITY_NOT_FOUND",
    "SCRIPT_NOT_ALLOWED",
    "SCRIPT_NOT_FOUND",
    "SCRIPT_LOAD_ERROR",
    "ENVIRONMENT_ERROR",
    "SCRIPT_ERROR",
    "SCRIPT_DIED",
    "SUBARRAY_BUSY",
    "EXECUTOR_UNAVAILABLE",
    "EXECUTOR_LOST",
    "TIMEOUT",
    "INTERNAL_ERROR",
    "STOPPED_BY_REQUEST",
    "INVALID_REQUEST",
    "NO_CAPACITY",
    "NO_SPACE",
    "NOT_ONLINE",
    "UNKNOWN_ACTIVITY",
    "WRONG_STATE",
]


def test_the_reason_codes_are_those_of_the_contract():
    assert [reason.value for reason in Reason] == CODES
    assert all(reason.name == reason.value == str(reason) for reason in Reason)


def errors(base=ActivityError):
    """The errors of the domain; adapters may have some of their own."""
    ours = [each for each in base.__subclasses__() if each.__module__ == base.__module__]
    return [base, *itertools.chain.from_iterable(errors(each) for each in ours)]


@pytest.mark.parametrize("error", errors()[1:], ids=lambda error: error.__name__)
def test_every_error_says_what_it_is_in_one_sentence(error):
    text = str(error())

    assert text.endswith(".")
    assert "\n" not in text
    assert isinstance(error().reason, Reason)
