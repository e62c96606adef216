"""What others do, say too late, or do not say at all, is not taken for the end of a command."""

from __future__ import annotations

import threading

import pytest

from ska_oso_activity.observing import (
    CommandFailed,
    ConnectionLost,
    ObsState,
    Refused,
    Subarray,
    SubarrayAstray,
    TimedOut,
)
from ska_oso_activity.observing.device import DeviceError, EventsLost
from tests.unit.observing.telescope import (
    CENTRAL_NODE,
    COMPLETED,
    NAMES,
    SOON,
    SUBARRAY,
    Act,
    FakeDevice,
    FakeTelescope,
    accepted,
    id_of,
    later,
    subarray_of,
)

S = ObsState
BUSY = DeviceError("Timeout (3000 mS) exceeded", no_reply=True)
GONE = DeviceError("no connection", lost=True)


def reads_badly(telescope: FakeTelescope, *errors: DeviceError) -> None:
    """Let the next reads of obsState fail."""
    device, left = telescope.devices[SUBARRAY], list(errors)
    read = device.obs_state

    def fail_first() -> ObsState:
        if left:
            raise left.pop(0)
        return read()

    device.obs_state = fail_first  # type: ignore[method-assign]


# --- Whose answer, whose result


def test_a_late_answer_is_not_that_of_the_next_command() -> None:
    restarting = threading.Event()
    calls: list[threading.Thread] = []

    def slow(telescope: FakeTelescope, _: FakeDevice, __: str) -> object:
        calls.append(threading.current_thread())
        telescope.to(S.CONFIGURING, S.FAULT)
        restarting.wait(10)
        return [[5], ["Configure is not allowed"]]

    def restart(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        def over() -> None:
            calls[0].join(10)
            telescope.to(S.EMPTY)
            telescope.finish(device, id_of(name))

        telescope.to(S.RESTARTING)
        restarting.set()
        later(0.0, over)
        return accepted(name)

    telescope = FakeTelescope(S.IDLE, Configure=slow, Restart=restart)

    with subarray_of(telescope) as subarray:
        with pytest.raises(SubarrayAstray):
            subarray.configure({})
        subarray.restart()

    assert telescope.state is S.EMPTY


def without_answer(foreign: str, *states: ObsState) -> Act:
    """An AssignResources whose id nobody learns, while the CentralNode ends that of another."""

    def act(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.to(S.RESOURCING)
        telescope.finish(device, f"1764060000.9_999_{name}", foreign)
        later(0.1, telescope.to, *states)
        raise BUSY

    return act


def test_another_subarrays_failure_is_not_ours() -> None:
    act = without_answer('[3, "subarray 2 has no dishes"]', S.IDLE)
    telescope = FakeTelescope(S.EMPTY, AssignResources=act)

    with subarray_of(telescope) as subarray:
        subarray.assign({})

    assert telescope.state is S.IDLE


def test_another_subarrays_success_is_not_ours_but_its_words_may_help() -> None:
    telescope = FakeTelescope(S.EMPTY, AssignResources=without_answer('[3, "no dishes"]'))

    with (
        subarray_of(telescope, AssignResources=0.4) as subarray,
        pytest.raises(TimedOut, match="last message: FAILED: no dishes; no answer"),
    ):
        subarray.assign({})

    telescope = FakeTelescope(S.EMPTY, AssignResources=without_answer(COMPLETED, S.FAULT))
    with subarray_of(telescope) as subarray, pytest.raises(SubarrayAstray):
        subarray.assign({})


def test_events_that_another_device_lost_do_not_make_a_failure_a_success() -> None:
    def fails(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.tell(EventsLost(CENTRAL_NODE, "events do not come any more"))
        telescope.to(S.CONFIGURING, S.READY)
        later(0.3, telescope.finish, device, id_of(name), '[3, "SDP has no room"]')
        return accepted(name)

    telescope = FakeTelescope(S.IDLE, Configure=fails)

    with subarray_of(telescope) as subarray, pytest.raises(CommandFailed, match="SDP has no room"):
        subarray.configure({})


def test_a_result_that_no_event_tells_is_looked_for_before_obs_state_has_to_do() -> None:
    def fails_unheard(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.to(S.SCANNING, S.READY)
        device.result = (id_of(name), '[3, "no data were taken"]')
        return accepted(name)

    telescope = FakeTelescope(S.READY, Scan=fails_unheard)

    with subarray_of(telescope) as subarray, pytest.raises(CommandFailed, match="no data"):
        subarray.scan({}, 0.0)


# --- What somebody else did to the subarray


def ends_in(*states: ObsState) -> Act:
    def act(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.to(*states)
        telescope.finish(device, id_of(name))
        return accepted(name)

    return act


def test_a_scan_that_ends_long_before_its_time_did_not_do_its_work() -> None:
    telescope = FakeTelescope(S.READY, Scan=ends_in(S.SCANNING, S.READY))

    with (
        subarray_of(telescope) as subarray,
        pytest.raises(
            SubarrayAstray, match=r"0\.\d s, and 60 s were asked for .*EndScan"
        ) as caught,
    ):
        subarray.scan({}, 60.0)

    assert caught.value.obs_state is S.READY


def test_a_scan_that_is_over_without_having_been_seen_did_not_do_its_work() -> None:
    telescope = FakeTelescope(S.READY, Scan=ends_in())

    with subarray_of(telescope) as subarray, pytest.raises(SubarrayAstray, match="not seen"):
        subarray.scan({}, 60.0)


def test_a_scan_whose_beginning_was_not_heard_is_read_and_waited_for() -> None:
    def unheard(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.to(S.SCANNING, quietly=True)
        telescope.finish(device, id_of(name))
        later(1.0, telescope.to, S.READY)
        return accepted(name)

    telescope = FakeTelescope(S.READY, Scan=unheard)

    with subarray_of(telescope) as subarray:
        subarray.scan({}, 1.5)

    assert telescope.state is S.READY


def test_a_device_that_answers_when_all_is_done_counts_no_time_down() -> None:
    def at_once(telescope: FakeTelescope, _: FakeDevice, __: str) -> object:
        telescope.to(S.SCANNING, S.READY)
        return None

    telescope = FakeTelescope(S.READY, Scan=at_once)

    with subarray_of(telescope) as subarray:
        subarray.scan({}, 60.0)

    assert telescope.state is S.READY


@pytest.mark.parametrize("elsewhere", [S.IDLE, S.CONFIGURING, S.RESOURCING])
def test_a_subarray_that_went_somewhere_else_is_not_waited_for(elsewhere: ObsState) -> None:
    telescope = FakeTelescope(S.READY, Scan=ends_in(S.SCANNING, elsewhere))

    with subarray_of(telescope) as subarray, pytest.raises(SubarrayAstray, match=elsewhere.name):
        subarray.scan({}, 600.0)


# --- Devices that do not answer


def test_a_command_that_python_cannot_send_is_told_at_once() -> None:
    def wrong(*_: object) -> object:
        raise TypeError("'x' cannot be converted to type DevVoid")

    telescope = FakeTelescope(S.IDLE, Configure=wrong)

    with subarray_of(telescope) as subarray, pytest.raises(Refused, match=r"TypeError: .*DevVoid"):
        subarray.configure({})


def test_a_device_that_is_lost_during_a_command_may_have_begun_it() -> None:
    def lost(*_: object) -> object:
        raise GONE

    telescope = FakeTelescope(S.IDLE, Configure=lost)

    with subarray_of(telescope) as subarray, pytest.raises(ConnectionLost, match="all the same"):
        subarray.configure({})


def test_a_subarray_that_is_too_busy_to_be_read_is_read_again() -> None:
    def hiccup(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.to(S.CONFIGURING)
        reads_badly(telescope, BUSY, BUSY, GONE)
        telescope.lose_events()
        later(0.1, telescope.to, S.READY)
        later(0.1, telescope.finish, device, id_of(name))
        return accepted(name)

    telescope = FakeTelescope(S.IDLE, Configure=hiccup)

    with subarray_of(telescope) as subarray:
        reads_badly(telescope, BUSY, BUSY)
        subarray.configure({})
        reads_badly(telescope, BUSY)

        assert subarray.obs_state is S.READY


def test_a_subarray_that_stays_too_busy_is_given_up_when_time_is_up() -> None:
    telescope = FakeTelescope(S.IDLE)

    with subarray_of(telescope, Configure=0.3) as subarray:
        reads_badly(telescope, *[BUSY] * 1000)
        with pytest.raises(ConnectionLost, match="could not read obsState: Timeout"):
            subarray.configure({})


def test_the_central_node_is_needed_where_it_is_commanded_and_nowhere_else() -> None:
    telescope = FakeTelescope(S.IDLE)

    def connect(name: str) -> FakeDevice:
        if name == CENTRAL_NODE:
            raise GONE
        return telescope.connect(name)

    with Subarray(1, names=NAMES, connect=connect, patience=SOON) as subarray:
        subarray.configure({})
        subarray.end()
        with pytest.raises(ConnectionLost, match=f"{CENTRAL_NODE} cannot be reached"):
            subarray.release({})
        assert subarray.abort() is S.ABORTED


def test_a_device_that_cannot_be_heard_is_let_go() -> None:
    telescope = FakeTelescope()

    def connect(name: str) -> FakeDevice:
        device = telescope.connect(name)
        if name == CENTRAL_NODE:

            def deaf(*_: object, **__: object) -> bool:
                raise GONE

            device.listen = deaf  # type: ignore[method-assign]
        return device

    with Subarray(1, names=NAMES, connect=connect, patience=SOON) as subarray:
        with pytest.raises(ConnectionLost, match=f"{CENTRAL_NODE} does not answer: could not list"):
            subarray.assign({})
        assert telescope.devices[CENTRAL_NODE].closed
        assert not telescope.devices[SUBARRAY].closed

    assert telescope.devices[SUBARRAY].closed
    assert telescope.sent == []


# --- What cannot be asked for


@pytest.mark.parametrize(
    "timeouts",
    [
        *({"Scan": "3"}, {"Scan": True}, {"Scan": float("inf")}, {"Scan": 10**400}, {"Scan": -1}),
        *({3: 3}, [1]),
    ],
)
def test_time_outs_are_seconds_by_command(timeouts: object) -> None:
    telescope = FakeTelescope()

    with pytest.raises((ValueError, TypeError), match="time-outs are"):
        Subarray(1, names=NAMES, connect=telescope.connect, timeouts=timeouts)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", ["1", 2.0, True, 17])
def test_subarrays_have_whole_numbers(number: object) -> None:
    with pytest.raises(ValueError, match="1 to 16"):
        Subarray(number, names=NAMES, connect=FakeTelescope().connect)  # type: ignore[arg-type]


@pytest.mark.parametrize("duration", ["5", -1.0, float("nan"), float("inf"), 10**400, True])
def test_a_scan_takes_seconds(duration: object) -> None:
    telescope = FakeTelescope(S.READY)

    with subarray_of(telescope) as subarray, pytest.raises(ValueError, match="seconds"):
        subarray.scan({}, duration)  # type: ignore[arg-type]

    assert telescope.sent == []


def test_what_is_no_json_is_not_sent() -> None:
    telescope = FakeTelescope(S.IDLE)

    with subarray_of(telescope) as subarray, pytest.raises(ValueError, match="Configure is to be"):
        subarray.configure({"frequency": float("nan")})

    assert telescope.sent == []
