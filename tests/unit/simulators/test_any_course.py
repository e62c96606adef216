"""Whatever is sent, and whenever: states follow the table, and each accepted command ends once."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from ska_oso_activity.simulators.answers import NotAllowed
from ska_oso_activity.simulators.obs_state import RULES, ObsState
from ska_oso_activity.simulators.simulation import Order
from tests.unit.simulators.bench import ARGUMENTS, CONFIGURE, Bench

LONGEST = 3.0
# From a state to those that may follow, by the commands' rules.
STEPS = {
    (state, after)
    for rule in RULES.values()
    for before in rule.allowed
    for state, after in ((before, rule.through or rule.to), (rule.through or before, rule.to))
} | {(ObsState.RESOURCING, ObsState.IDLE), (ObsState.RESOURCING, ObsState.EMPTY)}
COURSES = st.lists(
    st.tuples(
        st.sampled_from(["central", "subarray"]),
        st.sampled_from(sorted(RULES)),
        st.floats(0.0, LONGEST),
    ),
    max_size=40,
)


def send(bench, device, command):
    """A command; the id of the one that was accepted, else None."""
    if command == "Configure":
        argument = json.dumps({**CONFIGURE, "tmc": {"scan_duration": 1.5}})
    else:
        argument = ARGUMENTS.get(command, "")
    of = bench.central if device == "central" and "Resources" in command else bench.subarray
    if of is bench.central and command == "ReleaseAllResources":
        command, argument = "ReleaseResources", ARGUMENTS["ReleaseResources"]
    try:
        answer = of.perform(command, argument)
    except NotAllowed:
        return None
    assert answer.accepted
    return answer.text


@given(course=COURSES, order=st.sampled_from(Order))
def test_states_follow_the_table_and_each_command_ends_once(course, order):
    bench = Bench(order)
    accepted = []
    for device, command, seconds in course:
        accepted.append(send(bench, device, command))
        bench.timers.advance(seconds)
    bench.timers.advance(1000)

    states = [ObsState.EMPTY, *(ObsState[name] for name in bench.states())]
    told = [value[0] for _, name, value in bench.story if name == "longRunningCommandResult"]
    assert set(itertools.pairwise(states)) <= STEPS
    assert len(told) == len(set(told))
    assert {uid for uid in accepted if uid is not None} <= set(told)
    assert bench.timers.waiting == []
