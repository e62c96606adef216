"""An abort leads out of every obsState."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ska_oso_activity.observing import (
    CommandFailed,
    ObsState,
    Refused,
    Subarray,
    SubarrayAstray,
    TimedOut,
    WrongState,
)
from ska_oso_activity.observing.device import DeviceError
from tests.unit.observing.telescope import (
    CENTRAL_NODE,
    NAMES,
    SOON,
    Act,
    FakeDevice,
    FakeTelescope,
    accepted,
    id_of,
    later,
    subarray_of,
    well,
)

S = ObsState
MOVES_SOME_TIME = replace(SOON, moves_within=30.0)
TIMED_OUT = '[3, "Timeout has occurred, command failed"]'
BUSY = [S.RESOURCING, S.IDLE, S.CONFIGURING, S.READY, S.SCANNING]


def commands(telescope: FakeTelescope) -> list[str]:
    return [name for _, name, _ in telescope.sent]


@pytest.mark.parametrize("state", BUSY)
def test_whatever_it_does_it_is_aborted(state: ObsState) -> None:
    telescope = FakeTelescope(state)

    with subarray_of(telescope) as subarray:
        assert subarray.abort() is S.ABORTED
        assert subarray.abort() is S.ABORTED

    assert commands(telescope) == ["Abort"]


@pytest.mark.parametrize(
    ("state", "sent"),
    [
        (S.EMPTY, []),
        *((state, ["Abort", "Restart"]) for state in BUSY),
        (S.ABORTED, ["Restart"]),
        (S.FAULT, ["Restart"]),
    ],
)
def test_with_restart_it_ends_empty(state: ObsState, sent: list[str]) -> None:
    telescope = FakeTelescope(state)

    with subarray_of(telescope) as subarray:
        assert subarray.abort(restart=True) is S.EMPTY

    assert commands(telescope) == sent


def test_where_nothing_is_assigned_nothing_is_aborted() -> None:
    telescope = FakeTelescope(S.EMPTY)

    with subarray_of(telescope) as subarray:
        assert subarray.abort() is S.EMPTY

    assert telescope.sent == []


def test_a_fault_can_only_be_restarted() -> None:
    telescope = FakeTelescope(S.FAULT)

    with subarray_of(telescope) as subarray, pytest.raises(WrongState, match="restart=True"):
        subarray.abort()

    assert telescope.sent == []


@pytest.mark.parametrize(
    ("under_way", "then"),
    [(S.ABORTING, S.ABORTED), (S.RESTARTING, S.EMPTY), (S.RESETTING, S.ABORTED)],
)
def test_what_is_under_way_is_waited_for(under_way: ObsState, then: ObsState) -> None:
    telescope = FakeTelescope(under_way)

    with subarray_of(telescope) as subarray:
        later(0.05, telescope.to, then)
        assert subarray.abort() is then

    assert telescope.sent == []


def test_an_abort_that_ends_in_a_fault_is_told_and_a_restart_mends_it() -> None:
    def faulty(telescope: FakeTelescope, _device: FakeDevice, name: str) -> object:
        telescope.to(S.ABORTING, S.FAULT)
        return accepted(name)

    telescope = FakeTelescope(S.SCANNING, Abort=faulty)
    with subarray_of(telescope) as subarray, pytest.raises(WrongState, match="it is FAULT"):
        subarray.abort()

    again = FakeTelescope(S.SCANNING, Abort=faulty)
    with subarray_of(again) as subarray:
        assert subarray.abort(restart=True) is S.EMPTY


def test_a_subarray_that_was_released_meanwhile_needs_no_abort() -> None:
    def too_late(telescope: FakeTelescope, _device: FakeDevice, _name: str) -> object:
        telescope.to(S.EMPTY)
        return [[5], ["Abort is not allowed in EMPTY"]]

    telescope = FakeTelescope(S.RESOURCING, Abort=too_late)

    with subarray_of(telescope) as subarray:
        assert subarray.abort() is S.EMPTY


def test_a_restart_needs_an_abort_or_a_fault() -> None:
    telescope = FakeTelescope(S.IDLE)

    with subarray_of(telescope) as subarray:
        with pytest.raises(WrongState, match=r"needs .* to be ABORTED or FAULT, and it is IDLE"):
            subarray.restart()
        subarray.abort()
        subarray.restart()

    assert telescope.state is S.EMPTY


def test_a_refused_abort_is_told() -> None:
    telescope = FakeTelescope(S.SCANNING, Abort=lambda *_: [[5], ["no"]])

    with subarray_of(telescope) as subarray, pytest.raises(Refused, match="refused Abort: no"):
        subarray.abort()


def test_a_subarray_that_never_settles_is_given_up() -> None:
    def back(telescope: FakeTelescope, _device: FakeDevice, name: str) -> object:
        telescope.to(S.IDLE if telescope.state is S.READY else S.READY)
        return [[5], ["no"]]

    telescope = FakeTelescope(S.READY, Abort=back)

    with subarray_of(telescope) as subarray, pytest.raises(SubarrayAstray, match="5 rounds"):
        subarray.abort()


# --- An abort is judged by where the subarray is


def ending(*states: ObsState, result: str | None = None, answered: bool = True) -> Act:
    """An Abort that passes through states, with or without a result and an answer."""

    def act(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.to(*states)
        if result is not None:
            telescope.finish(device, id_of(name), result)
        if not answered:
            raise DeviceError("Timeout (3000 mS) exceeded", no_reply=True)
        return accepted(name)

    return act


@pytest.mark.parametrize(
    "act",
    [
        ending(S.ABORTING, S.ABORTED, result=TIMED_OUT),
        ending(S.ABORTING, S.ABORTED),
        ending(S.ABORTING, S.ABORTED, answered=False),
        ending(S.ABORTED, result=TIMED_OUT, answered=False),
    ],
)
def test_what_is_aborted_is_aborted_whatever_the_result_says(act: Act) -> None:
    telescope = FakeTelescope(S.SCANNING, Abort=act)

    with subarray_of(telescope) as subarray:
        assert subarray.abort() is S.ABORTED

    assert commands(telescope) == ["Abort"]


def test_an_abort_that_fails_before_it_is_over_is_waited_for() -> None:
    def fails_first(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        later(0.1, telescope.to, S.ABORTED)
        return ending(S.ABORTING, result=TIMED_OUT)(telescope, device, name)

    telescope = FakeTelescope(S.SCANNING, Abort=fails_first)

    with subarray_of(telescope) as subarray:
        assert subarray.abort() is S.ABORTED


@pytest.mark.parametrize("result", [TIMED_OUT, None])
def test_an_abort_that_fails_into_a_fault_is_restarted(result: str | None) -> None:
    telescope = FakeTelescope(S.SCANNING, Abort=ending(S.ABORTING, S.FAULT, result=result))

    with subarray_of(telescope) as subarray:
        assert subarray.abort(restart=True) is S.EMPTY


def test_an_abort_that_fails_and_changes_nothing_is_told() -> None:
    telescope = FakeTelescope(S.SCANNING, Abort=ending(result=TIMED_OUT))

    with subarray_of(telescope) as subarray, pytest.raises(CommandFailed, match="Timeout has"):
        subarray.abort()

    assert commands(telescope) == ["Abort"]


def test_an_abort_that_gets_stuck_is_given_up_once() -> None:
    telescope = FakeTelescope(S.SCANNING, Abort=ending(S.ABORTING))

    with (
        subarray_of(telescope, Abort=0.3) as subarray,
        pytest.raises(TimedOut, match="was not over after"),
    ):
        subarray.abort()


def test_a_restart_that_is_refused_because_another_is_on_its_way_is_waited_for() -> None:
    def refused(telescope: FakeTelescope, _: FakeDevice, __: str) -> object:
        later(0.03, telescope.to, S.RESTARTING)
        later(0.2, telescope.to, S.EMPTY)
        return [[5], ["Restart is still under way"]]

    telescope = FakeTelescope(S.ABORTED, Restart=refused)

    with subarray_of(telescope, MOVES_SOME_TIME) as subarray:
        assert subarray.abort(restart=True) is S.EMPTY

    assert commands(telescope) == ["Restart"]


def test_resources_that_are_still_on_their_way_are_aborted() -> None:
    telescope = FakeTelescope(S.EMPTY)

    with subarray_of(telescope, MOVES_SOME_TIME) as subarray:
        later(0.03, telescope.to, S.RESOURCING)
        assert subarray.abort() is S.ABORTED


def test_what_was_heard_before_an_abort_does_not_use_up_its_rounds() -> None:
    telescope = FakeTelescope(S.IDLE)

    with subarray_of(telescope) as subarray:
        telescope.to(S.IDLE, S.CONFIGURING, S.READY, S.SCANNING, S.READY, S.IDLE, S.ABORTING)
        later(0.1, telescope.to, S.ABORTED)
        assert subarray.abort() is S.ABORTED


def test_a_configure_that_ends_while_an_abort_is_asked_for_does_not_lead_it_astray() -> None:
    def after_ready(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.to(S.READY)
        later(0.3, telescope.to, S.ABORTING, S.ABORTED)
        later(0.3, telescope.finish, device, id_of(name))
        return accepted(name)

    telescope = FakeTelescope(S.CONFIGURING, Abort=after_ready)

    with subarray_of(telescope) as subarray:
        assert subarray.abort() is S.ABORTED

    assert commands(telescope) == ["Abort"]


def test_a_subarray_is_aborted_without_the_central_node() -> None:
    telescope = FakeTelescope(S.SCANNING)

    def connect(name: str) -> FakeDevice:
        if name == CENTRAL_NODE:
            raise DeviceError("not exported", lost=True)
        return telescope.connect(name)

    with Subarray(1, names=NAMES, connect=connect, patience=SOON) as subarray:
        assert subarray.abort() is S.ABORTED


def test_an_abort_outlasts_a_subarray_that_is_too_busy_to_be_read() -> None:
    telescope = FakeTelescope(S.SCANNING)

    with subarray_of(telescope) as subarray:
        device = telescope.devices[subarray.name]
        read = device.obs_state
        busy = [DeviceError("Timeout (3000 mS) exceeded", no_reply=True)] * 3

        def busy_first() -> ObsState:
            if busy:
                raise busy.pop()
            return read()

        device.obs_state = busy_first  # type: ignore[method-assign]
        assert subarray.abort() is S.ABORTED


def test_the_helper_of_these_tests_is_a_good_telescope() -> None:
    telescope = FakeTelescope(S.READY, Abort=well)

    with subarray_of(telescope) as subarray:
        subarray.abort()

        assert subarray.obs_state is S.ABORTED
