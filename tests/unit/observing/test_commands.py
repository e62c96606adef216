"""A command is waited for until it is over, however its end is told; failures have TMC's words."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time

import pytest

from ska_oso_activity.observing import (
    CommandError,
    CommandFailed,
    ConnectionLost,
    ObsState,
    Refused,
    Subarray,
    SubarrayAstray,
    TimedOut,
    WrongState,
)
from ska_oso_activity.observing.device import DeviceError, ResultSeen, StateSeen
from tests.unit.observing.telescope import (
    CENTRAL_NODE,
    COMPLETED,
    NAMES,
    SUBARRAY,
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
SHORT = 0.3


# --- Ends well


def test_an_observation_goes_through_all_its_commands() -> None:
    telescope = FakeTelescope()

    with subarray_of(telescope) as subarray:
        subarray.assign({"interface": "a"})
        subarray.configure({"interface": "b"})
        subarray.scan({"scan_id": 1}, duration=0.01)
        subarray.end()
        subarray.release({"release_all": True})

    assert telescope.state is S.EMPTY
    assert [(device, name) for device, name, _ in telescope.sent] == [
        (CENTRAL_NODE, "AssignResources"),
        (SUBARRAY, "Configure"),
        (SUBARRAY, "Scan"),
        (SUBARRAY, "End"),
        (CENTRAL_NODE, "ReleaseResources"),
    ]
    assert json.loads(telescope.sent[0][2] or "") == {"interface": "a", "subarray_id": 1}
    assert all(device.closed for device in telescope.devices.values())


def test_every_obs_state_is_told_to_people_who_follow_the_script(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    with subarray_of(FakeTelescope()) as subarray:
        subarray.assign({"interface": "a"})
        subarray.configure({"interface": "b"})

    assert [record.getMessage() for record in caplog.records] == [
        f"{CENTRAL_NODE}: AssignResources",
        f"{SUBARRAY} is RESOURCING",
        f"{SUBARRAY} is IDLE",
        f"{SUBARRAY}: Configure",
        f"{SUBARRAY} is CONFIGURING",
        f"{SUBARRAY} is READY",
    ]


def result_first(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
    telescope.finish(device, id_of(name))
    telescope.to(S.CONFIGURING, S.READY)
    return accepted(name)


def misses_the_state_on_the_way(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
    telescope.to(S.READY)
    telescope.finish(device, id_of(name))
    return accepted(name)


def returns_nothing_and_says_nothing(
    telescope: FakeTelescope, _device: FakeDevice, _name: str
) -> object:
    telescope.to(S.CONFIGURING, S.READY, quietly=True)
    return None


def is_done_at_once(telescope: FakeTelescope, _device: FakeDevice, _name: str) -> object:
    telescope.to(S.READY)
    return [[0], ["Configured"]]


def speaks_plainly(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
    telescope.to(S.READY)
    telescope.finish(device, id_of(name), '"Configure completed"')
    return accepted(name)


def loses_events_and_goes_on(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
    telescope.to(S.CONFIGURING, S.READY, quietly=True)
    device.result = (id_of(name), COMPLETED)
    telescope.lose_events()
    return accepted(name)


def answers_too_late(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
    telescope.to(S.CONFIGURING, S.READY)
    telescope.finish(device, id_of(name))
    raise DeviceError("no answer within 3 s", no_reply=True)


@pytest.mark.parametrize("start", [S.IDLE, S.READY])
@pytest.mark.parametrize(
    "act",
    [
        well,
        result_first,
        misses_the_state_on_the_way,
        returns_nothing_and_says_nothing,
        is_done_at_once,
        speaks_plainly,
        loses_events_and_goes_on,
        answers_too_late,
    ],
)
def test_a_command_is_over_however_that_is_told(act: Act, start: ObsState) -> None:
    telescope = FakeTelescope(start, Configure=act)

    with subarray_of(telescope) as subarray:
        subarray.configure({})

        assert subarray.obs_state is S.READY


def test_what_is_heard_of_other_commands_does_not_count() -> None:
    def another(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.finish(device, id_of("Scan"), '[3, "of yesterday"]')
        return well(telescope, device, name)

    telescope = FakeTelescope(S.IDLE, Configure=another)

    with subarray_of(telescope) as subarray:
        subarray.configure({})

    assert telescope.state is S.READY


def test_a_device_that_tells_no_results_is_believed_by_its_obs_state() -> None:
    def silent(telescope: FakeTelescope, _device: FakeDevice, name: str) -> object:
        telescope.to(S.CONFIGURING, S.READY)
        return accepted(name)

    telescope = FakeTelescope(S.IDLE, Configure=silent)
    telescope.tells_results = False

    with subarray_of(telescope) as subarray:
        subarray.configure({})

    assert telescope.state is S.READY


@pytest.mark.parametrize("result", ["while it scans", "at its end", "never"])
def test_a_scan_is_over_when_the_subarray_is_ready_again(result: str) -> None:
    ended = threading.Event()

    def scan(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.to(S.SCANNING)
        if result == "while it scans":
            telescope.finish(device, id_of(name))

        def end() -> None:
            ended.set()
            telescope.to(S.READY)
            if result == "at its end":
                telescope.finish(device, id_of(name))

        later(0.0, end)
        return accepted(name)

    telescope = FakeTelescope(S.READY, Scan=scan)

    with subarray_of(telescope) as subarray:
        subarray.scan({}, duration=0.05)

    assert ended.is_set()


def test_a_scan_that_nobody_saw_takes_at_least_its_duration() -> None:
    def unseen(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.finish(device, id_of(name))
        return accepted(name)

    telescope = FakeTelescope(S.READY, Scan=unseen)
    began = time.monotonic()

    with subarray_of(telescope) as subarray:
        subarray.scan({}, duration=0.2)

    assert time.monotonic() - began >= 0.2


# --- Ends badly


def failed(text: str, *states: ObsState) -> Act:
    def act(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.to(*states)
        telescope.finish(device, id_of(name), text)
        return accepted(name)

    return act


def raising(error: DeviceError) -> Act:
    def act(_telescope: FakeTelescope, _device: FakeDevice, _name: str) -> object:
        raise error

    return act


def refusing(text: str) -> Act:
    return lambda *_: [[5], [text]]


def test_a_state_that_does_not_allow_the_command_is_told_and_nothing_is_sent() -> None:
    telescope = FakeTelescope(S.FAULT)

    with subarray_of(telescope) as subarray, pytest.raises(WrongState) as caught:
        subarray.assign({})

    assert telescope.sent == []
    assert str(caught.value) == (
        f"AssignResources needs {SUBARRAY} to be EMPTY or IDLE, and it is FAULT; Restart makes it "
        "EMPTY (the abort script does, with restart=True)"
    )


@pytest.mark.parametrize(
    ("act", "kind", "words"),
    [
        (refusing("JSON: no interface"), Refused, "refused Configure: JSON: no interface"),
        (raising(DeviceError("not allowed now")), Refused, "refused Configure: not allowed now"),
        (
            raising(DeviceError("is not exported", lost=True)),
            ConnectionLost,
            "could not be reached for Configure: is not exported",
        ),
        (
            failed('[3, "dish SKA001 does not point"]', S.CONFIGURING),
            CommandFailed,
            "accepted Configure, which then failed: FAILED: dish SKA001 does not point",
        ),
        (
            failed('[7, "Command has been aborted"]', S.CONFIGURING, S.ABORTING),
            CommandFailed,
            "ABORTED: Command has been aborted",
        ),
        (
            failed('[3, "the correlator is on fire"]', S.CONFIGURING, S.FAULT),
            CommandFailed,
            "the correlator is on fire",
        ),
    ],
)
def test_a_failure_is_told_with_the_words_of_the_telescope(
    act: Act, kind: type[CommandError], words: str
) -> None:
    telescope = FakeTelescope(S.IDLE, Configure=act)

    with subarray_of(telescope) as subarray, pytest.raises(kind) as caught:
        subarray.configure({})

    assert words in str(caught.value)
    assert str(caught.value).endswith(f" {telescope.state.name}")
    assert caught.value.obs_state is telescope.state
    assert (caught.value.command, caught.value.device) == ("Configure", SUBARRAY)


@pytest.mark.parametrize("state", [S.FAULT, S.ABORTED, S.EMPTY])
def test_a_subarray_that_leaves_the_way_ends_the_wait(state: ObsState) -> None:
    def stray(telescope: FakeTelescope, _device: FakeDevice, name: str) -> object:
        telescope.to(S.SCANNING, state)
        return accepted(name)

    telescope = FakeTelescope(S.READY, Scan=stray)

    with subarray_of(telescope) as subarray, pytest.raises(SubarrayAstray) as caught:
        subarray.scan({}, duration=100)

    assert f"was doing Scan when {SUBARRAY} became {state.name}" in str(caught.value)
    assert ("restarted" in str(caught.value)) is (state is S.EMPTY)


def test_words_that_come_after_the_fault_are_told() -> None:
    def stray(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.to(S.SCANNING, S.FAULT)
        telescope.tell(ResultSeen(CENTRAL_NODE, "1_2_Other", '[3, "a dish is lost"]'))
        return accepted(name)

    telescope = FakeTelescope(S.READY, Scan=stray)

    with subarray_of(telescope) as subarray, pytest.raises(SubarrayAstray, match="a dish is lost"):
        subarray.scan({}, duration=100)


def test_a_late_event_of_before_does_no_harm() -> None:
    def late(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.tell(StateSeen(S.ABORTED))
        telescope.tell(StateSeen(S.EMPTY))
        return well(telescope, device, name)

    telescope = FakeTelescope(S.EMPTY, AssignResources=late)

    with subarray_of(telescope) as subarray:
        subarray.assign({})

    assert telescope.state is S.IDLE


def test_resources_that_are_gone_again_end_the_wait() -> None:
    def undone(telescope: FakeTelescope, _device: FakeDevice, name: str) -> object:
        telescope.to(S.RESOURCING, S.EMPTY)
        return accepted(name)

    telescope = FakeTelescope(S.EMPTY, AssignResources=undone)

    with subarray_of(telescope) as subarray, pytest.raises(SubarrayAstray, match="became EMPTY"):
        subarray.assign({})


def test_a_device_that_is_gone_in_mid_scan_is_told() -> None:
    def gone(telescope: FakeTelescope, _device: FakeDevice, name: str) -> object:
        telescope.to(S.SCANNING)
        telescope.unreachable = True
        telescope.lose_events()
        return accepted(name)

    telescope = FakeTelescope(S.READY, Scan=gone)

    with subarray_of(telescope) as subarray, pytest.raises(ConnectionLost) as caught:
        subarray.scan({}, duration=100)

    assert f"{SUBARRAY} does not answer any more, during Scan: no connection" in str(caught.value)


def test_a_result_of_yesterday_is_not_that_of_a_command_without_an_answer() -> None:
    def hangs(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        device.result = ("1700000000.1_1_Configure", '[3, "of yesterday"]')
        telescope.to(S.CONFIGURING)
        telescope.lose_events()
        later(0.0, telescope.to, S.READY)
        raise DeviceError("no answer within 3 s", no_reply=True)

    telescope = FakeTelescope(S.IDLE, Configure=hangs)

    with subarray_of(telescope) as subarray:
        subarray.configure({})

    assert telescope.state is S.READY


def test_a_central_node_that_is_gone_is_told_though_the_subarray_is_there() -> None:
    def gone(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.to(S.RESOURCING)
        device.dead = True
        telescope.lose_events()
        return accepted(name)

    telescope = FakeTelescope(S.EMPTY, AssignResources=gone)

    with subarray_of(telescope) as subarray, pytest.raises(ConnectionLost) as caught:
        subarray.assign({})

    assert str(caught.value) == (
        f"{CENTRAL_NODE} does not answer any more, during AssignResources: no connection. "
        f"{SUBARRAY} is RESOURCING"
    )


def stuck(telescope: FakeTelescope, _device: FakeDevice, name: str) -> object:
    telescope.to(S.CONFIGURING)
    telescope.tell(ResultSeen(CENTRAL_NODE, "1_2_Other", '[3, "no clock"]'))
    return accepted(name)


def without_result(telescope: FakeTelescope, _device: FakeDevice, name: str) -> object:
    telescope.to(S.CONFIGURING, S.READY)
    return accepted(name)


def without_state(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
    telescope.to(S.CONFIGURING)
    telescope.finish(device, id_of(name))
    return accepted(name)


@pytest.mark.parametrize(
    ("act", "awaited"),
    [
        (stuck, f"obsState READY and the result of {id_of('Configure')}; last message: FAILED: no"),
        (without_result, f"awaited the result of {id_of('Configure')}. {SUBARRAY} is READY"),
        (without_state, f"awaited obsState READY. {SUBARRAY} is CONFIGURING"),
    ],
)
def test_a_time_out_says_what_was_awaited_and_what_is(act: Act, awaited: str) -> None:
    telescope = FakeTelescope(S.IDLE, Configure=act)

    with subarray_of(telescope, Configure=SHORT) as subarray, pytest.raises(TimedOut) as caught:
        subarray.configure({})

    assert f"Configure was not over after {SHORT:g} s" in str(caught.value)
    assert awaited in str(caught.value)


def test_what_was_missed_until_the_time_is_up_is_read_then() -> None:
    def missed(telescope: FakeTelescope, device: FakeDevice, name: str) -> object:
        telescope.to(S.CONFIGURING)
        telescope.to(S.READY, quietly=True)
        device.result = (id_of(name), COMPLETED)
        return accepted(name)

    telescope = FakeTelescope(S.IDLE, Configure=missed)

    with subarray_of(telescope, Configure=SHORT) as subarray:
        subarray.configure({})

    assert telescope.state is S.READY


def test_an_interrupt_ends_a_wait_at_once_even_of_a_command_that_hangs() -> None:
    hanging = threading.Event()
    released = threading.Event()

    def hang(_telescope: FakeTelescope, _device: FakeDevice, name: str) -> object:
        hanging.set()
        released.wait(60)
        return accepted(name)

    telescope = FakeTelescope(S.IDLE, Configure=hang)
    subarray = subarray_of(telescope)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        hanging.wait(60)
        signal.pthread_kill(main, signal.SIGINT)

    later(0.0, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), subarray:
            subarray.configure({})
        assert not released.is_set()
        assert not telescope.devices[SUBARRAY].closed
    finally:
        released.set()


def test_time_outs_are_checked() -> None:
    with pytest.raises(ValueError, match="commands are AssignResources, "):
        subarray_of(FakeTelescope(), Configur=1.0)
    with pytest.raises(ValueError, match="above 0"):
        subarray_of(FakeTelescope(), Configure=0.0)


def test_a_device_that_cannot_be_reached_is_named() -> None:
    def nobody(_: str) -> FakeDevice:
        raise DeviceError("not in the database", lost=True)

    with pytest.raises(ConnectionLost, match=f"{SUBARRAY} cannot be reached: not in the database"):
        Subarray(1, names=NAMES, connect=nobody)
