"""An abort leads out of every obsState."""

from __future__ import annotations

import threading

import pytest

from ska_oso_activity.observing import ObsState, Refused, Subarray, SubarrayAstray, WrongState
from tests.unit.observing.telescope import NAMES, SOON, FakeDevice, FakeTelescope, accepted, well

S = ObsState
BUSY = [S.RESOURCING, S.IDLE, S.CONFIGURING, S.READY, S.SCANNING]


def subarray_of(telescope: FakeTelescope) -> Subarray:
    return Subarray(1, names=NAMES, connect=telescope.connect, patience=SOON)


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
        threading.Timer(0.05, telescope.to, [then]).start()
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


def test_the_helper_of_these_tests_is_a_good_telescope() -> None:
    telescope = FakeTelescope(S.READY, Abort=well)

    with subarray_of(telescope) as subarray:
        subarray.abort()

        assert subarray.obs_state is S.ABORTED
