"""The plan of the fault suite."""

import pytest

from faults import plan
from faults.kinds import KINDS
from faults.plan import plan_round

ROUNDS = [plan_round(7, number) for number in range(400)]


def test_the_same_seed_makes_the_same_plan():
    again = [plan_round(7, number) for number in range(400)]

    assert again == ROUNDS
    assert plan_round(8, 0) != plan_round(7, 0)


def test_every_fault_comes_in_every_state_that_it_can_meet():
    planned = {
        (fault.name, fault.when.state)
        for number in range(20_000)
        for fault in plan_round(7, number).faults
    }

    names = {f"{what} {target}" for what, targets in plan.FAULTS.items() for target in targets}
    assert planned >= {(name, state) for name in names for state in plan.MOMENTS}


def test_what_never_ends_by_itself_is_stopped():
    assert all(
        activity.stop is not None
        for each in ROUNDS
        for activity in each.activities
        if not KINDS[activity.kind].ends
    )


def test_two_activities_of_a_round_share_no_lane():
    for each in ROUNDS:
        lanes = [activity.lane for activity in each.activities if activity.lane is not None]
        assert len(set(lanes)) == len(lanes)


@pytest.mark.parametrize("number", [0, 18, 19, 39])
def test_the_last_round_of_a_stack_damages_files(number):
    assert plan_round(7, number).damages == (number in {19, 39})


def test_a_disk_is_filled_only_where_there_is_a_small_one():
    full = [
        each.number for each in ROUNDS if any(fault.target == plan.DISK for fault in each.faults)
    ]

    assert full
    assert all(plan.has_small_disk(number) for number in full)
