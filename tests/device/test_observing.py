"""The library for observing scripts, against the TMC simulators with all their faults."""

import contextlib
import json
import os
import signal
import threading
import time

import pytest
import tango

from ska_oso_activity.observing import (
    CommandFailed,
    ConnectionLost,
    Names,
    Observation,
    ObsState,
    Refused,
    Subarray,
    SubarrayAstray,
    TimedOut,
    WrongState,
    release,
)
from tests.device.tmc_server import TmcServer
from tests.unit.observing.blocks import OURS

pytestmark = pytest.mark.forked

S = ObsState
BLOCKS = {telescope: json.loads(path.read_text("utf-8")) for telescope, path in OURS.items()}
PROMPTLY = 20.0
"""Seconds, far below any time-out: an error that comes later was waited for in vain."""


@pytest.fixture
def tmc():
    with TmcServer() as server:
        yield server


def names_of(tmc, telescope="mid"):
    return Names(
        telescope,
        tmc.trl(f"{telescope}-tmc/central-node/0"),
        tmc.trl(f"{telescope}-tmc/subarray"),
    )


def connect(tmc, telescope="mid", **timeouts):
    return Subarray(1, names=names_of(tmc, telescope), timeouts=timeouts)


def observation_of(telescope="mid", seconds=0.1):
    return Observation(BLOCKS[telescope], seconds_per_scan=seconds)


def spoil(tmc, device="mid-tmc/subarray/01", **fault):
    tmc.device(device).SetDefective(json.dumps({"enabled": True, **fault}))


def mend(tmc, device="mid-tmc/subarray/01"):
    tmc.device(device).SetDefective(json.dumps({"enabled": False, "fault_type": 0}))


def works_after_an_abort(tmc, telescope="mid"):
    """An observation on the subarray, once it was put in order."""
    with connect(tmc, telescope) as subarray:
        subarray.abort(restart=True)
        observation = observation_of(telescope, 0.02)
        observation.allocate(subarray)
        observation.observe(subarray)
        release(subarray)
        return subarray.obs_state is S.EMPTY


@pytest.mark.parametrize("telescope", ["mid", "low"])
@pytest.mark.parametrize("order", ["state-first", "result-first", "random"])
def test_a_block_is_observed_from_empty_to_empty(telescope, order):
    observation = observation_of(telescope)

    with TmcServer(properties={"EventOrder": order}) as tmc, connect(tmc, telescope) as subarray:
        observation.allocate(subarray)
        observed = observation.observe(subarray)
        release(subarray)

        history = [
            each["command"]
            for each in json.loads(tmc.device(f"{telescope}-tmc/subarray/01").History)
        ]
        assert subarray.obs_state is S.EMPTY
    pointings = len(observation.steps)
    assert observed["scans"] == len({step.scan for step in observation.steps})
    assert [history.count(name) for name in ("Configure", "Scan", "End")] == [
        pointings,
        pointings,
        1,
    ]


@pytest.mark.parametrize("telescope", ["mid", "low"])
def test_a_simulator_that_returns_nothing_and_moves_at_once_is_enough(telescope):
    classes = {
        f"{telescope}-tmc/central-node/0": f"SilentCentralNode{telescope.title()}",
        f"{telescope}-tmc/subarray/01": f"SilentSubarrayNode{telescope.title()}",
    }

    with TmcServer(classes) as tmc, connect(tmc, telescope) as subarray:
        observation = observation_of(telescope, 0.05)
        observation.allocate(subarray)
        observation.observe(subarray)
        release(subarray)

        assert subarray.obs_state is S.EMPTY


def test_an_observation_needs_its_resources(tmc):
    with connect(tmc) as subarray, pytest.raises(WrongState, match="EMPTY"):
        observation_of().observe(subarray)


@pytest.mark.parametrize("raises", [True, False])
def test_wrong_json_is_refused_with_the_words_of_tmc(raises):
    with (
        TmcServer(properties={"WrongStateRaises": str(raises).lower()}) as tmc,
        connect(tmc) as subarray,
    ):
        with pytest.raises(Refused) as caught:
            subarray.assign({"interface": "https://schema.skao.int/of-nobody/1.0"})
        assert subarray.obs_state is S.EMPTY
        assert "refused AssignResources: " in str(caught.value)
        assert "of-nobody" in str(caught.value)
        assert works_after_an_abort(tmc)


@pytest.mark.parametrize(
    ("fault_type", "kinds"),
    [
        (1, (Refused,)),  # not allowed before queuing
        (2, (Refused, CommandFailed)),  # failed at once
        (3, (CommandFailed,)),  # the long-running command fails
        (5, (CommandFailed,)),  # so it does, and obsState stays in between
        (6, (CommandFailed,)),  # not allowed after queuing
    ],
)
def test_a_fault_is_told_at_once_and_an_abort_mends_it(tmc, fault_type, kinds):
    observation = observation_of()
    spoil(tmc, fault_type=fault_type, error_message="dish SKA001 is stuck", commands=["Configure"])

    with connect(tmc) as subarray:
        observation.allocate(subarray)
        began = time.monotonic()
        with pytest.raises(kinds) as caught:
            observation.observe(subarray)

    assert time.monotonic() - began < PROMPTLY
    assert "SKA001 is stuck" in str(caught.value)
    assert "mid-tmc/subarray/01" in str(caught.value)
    mend(tmc)
    assert works_after_an_abort(tmc)


def test_a_failure_of_the_central_node_is_told(tmc):
    spoil(
        tmc,
        "mid-tmc/central-node/0",
        fault_type=3,
        error_message="no clock",
        commands=["AssignResources"],
    )

    with connect(tmc) as subarray, pytest.raises(CommandFailed, match="no clock") as caught:
        observation_of().allocate(subarray)

    assert caught.value.device.startswith(tmc.trl("mid-tmc/central-node/0").split("#")[0])
    mend(tmc, "mid-tmc/central-node/0")
    assert works_after_an_abort(tmc)


def test_a_command_that_is_stuck_is_given_up_in_time(tmc):
    spoil(tmc, fault_type=4, intermediate_state=S.CONFIGURING, commands=["Configure"])
    observation = observation_of()

    with connect(tmc, Configure=0.5) as subarray:
        observation.allocate(subarray)
        with pytest.raises(TimedOut) as caught:
            observation.observe(subarray)

    assert "Configure was not over after 0.5 s: awaited obsState READY" in str(caught.value)
    assert "is CONFIGURING" in str(caught.value)
    mend(tmc)
    assert works_after_an_abort(tmc)


def test_an_answer_that_takes_longer_than_the_client_waits_is_no_failure(tmc):
    spoil(tmc, fault_type=0, hang=4.0, commands=["Configure"])
    observation = observation_of()

    with connect(tmc) as subarray:
        observation.allocate(subarray)
        subarray.configure(observation.steps[0].configure)

        assert subarray.obs_state is S.READY


def in_mid_scan(tmc, what):
    """Do something as soon as the subarray scans."""
    device = tmc.device("mid-tmc/subarray/01")

    def when_it_scans():
        deadline = time.monotonic() + 30
        while device.read_attribute("obsState").value != S.SCANNING:
            assert time.monotonic() < deadline
            time.sleep(0.01)  # another client's eye: this one tells no event to the test
        what(device)

    thread = threading.Thread(target=when_it_scans, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("state", [S.FAULT, S.ABORTED, S.EMPTY])
def test_a_subarray_that_goes_astray_in_mid_scan_is_told_at_once(tmc, state):
    observation = observation_of(seconds=100)

    with connect(tmc) as subarray:
        observation.allocate(subarray)
        thread = in_mid_scan(tmc, lambda device: device.SetDirectObsState(int(state)))
        began = time.monotonic()
        with pytest.raises((SubarrayAstray, CommandFailed), match=state.name) as caught:
            observation.observe(subarray)
        thread.join()

    assert caught.value.obs_state is state
    assert time.monotonic() - began < PROMPTLY
    assert works_after_an_abort(tmc)


def test_an_abort_by_somebody_else_ends_the_scan(tmc):
    observation = observation_of(seconds=100)

    with connect(tmc) as subarray:
        observation.allocate(subarray)
        thread = in_mid_scan(tmc, lambda device: device.Abort())
        with pytest.raises((SubarrayAstray, CommandFailed), match=r"ABORT|bort"):
            observation.observe(subarray)
        thread.join()

    assert works_after_an_abort(tmc)


@pytest.mark.parametrize(
    ("ends_it", "words"), [("EndScan", "100 s were asked for"), ("SetDirectObsState", "IDLE")]
)
def test_a_scan_that_somebody_else_ends_has_failed(tmc, ends_it, words):
    observation = observation_of(seconds=100)
    argument = [int(S.IDLE)] if ends_it == "SetDirectObsState" else []

    with connect(tmc) as subarray:
        observation.allocate(subarray)
        thread = in_mid_scan(tmc, lambda device: device.command_inout(ends_it, *argument))
        began = time.monotonic()
        with pytest.raises((SubarrayAstray, CommandFailed), match=words):
            observation.observe(subarray)
        thread.join()

    assert time.monotonic() - began < PROMPTLY
    assert works_after_an_abort(tmc)


def test_an_abort_outlasts_a_subarray_that_answers_nobody_for_a_while(tmc):
    observation = observation_of()
    hangs = threading.Event()

    with connect(tmc) as subarray:
        observation.allocate(subarray)
        spoil(tmc, fault_type=0, hang=7.0, commands=["Configure"])
        device = tmc.device("mid-tmc/subarray/01")

        def configure():
            hangs.set()
            with contextlib.suppress(tango.DevFailed):  # it answers after the client's 3 s
                device.Configure(json.dumps(observation.steps[0].configure))

        thread = threading.Thread(target=configure, daemon=True)
        thread.start()
        hangs.wait(30)
        assert subarray.abort() is S.ABORTED
        thread.join()


def test_a_device_that_dies_in_mid_scan_is_told(tmc):
    observation = observation_of(seconds=100)

    with connect(tmc) as subarray:
        observation.allocate(subarray)
        thread = in_mid_scan(tmc, lambda _: tmc.process.kill())
        began = time.monotonic()
        with pytest.raises(ConnectionLost, match="during Scan"):
            observation.observe(subarray)
        thread.join()

    assert time.monotonic() - began < 60


def test_an_interrupt_ends_a_scan_at_once_and_the_abort_clears_up(tmc):
    observation = observation_of(seconds=100)
    subarray = connect(tmc)
    observation.allocate(subarray)
    thread = in_mid_scan(tmc, lambda _: os.kill(os.getpid(), signal.SIGINT))

    with pytest.raises(KeyboardInterrupt), subarray:
        observation.observe(subarray)

    thread.join()
    with connect(tmc) as another:
        assert another.obs_state is S.SCANNING
        assert another.abort() is S.ABORTED
        assert another.abort(restart=True) is S.EMPTY
    assert works_after_an_abort(tmc)


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("state", list(S))
def test_an_abort_leads_out_of_every_state(tmc, state, restart):
    tmc.device("mid-tmc/subarray/01").SetDirectObsState(int(state))
    short = {"Abort": 1.0}

    with connect(tmc, **short) as subarray:
        if state is S.FAULT and not restart:
            with pytest.raises(WrongState, match="restart=True"):
                subarray.abort()
            return
        if state in (S.ABORTING, S.RESTARTING, S.RESETTING):
            with pytest.raises(TimedOut, match=f"still {state.name}"):  # nothing moves it here
                subarray.abort(restart=restart)
            return
        after = subarray.abort(restart=restart)

    assert after is (S.EMPTY if restart or state is S.EMPTY else S.ABORTED)


def test_an_abort_that_takes_too_long_ends_in_a_fault_that_a_restart_mends():
    with TmcServer(properties={"AbortTimeout": 0.2}) as tmc:
        with connect(tmc) as subarray:
            observation_of().allocate(subarray)
            tmc.device("mid-tmc/subarray/01").SetDelayInfo('{"Abort": 5}')
            with pytest.raises((WrongState, CommandFailed, SubarrayAstray), match="FAULT"):
                subarray.abort()
            assert subarray.abort(restart=True) is S.EMPTY
        tmc.device("mid-tmc/subarray/01").ResetDelayInfo()
        assert works_after_an_abort(tmc)
