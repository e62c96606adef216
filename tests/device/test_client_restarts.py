"""Device servers are killed and frozen while the client library follows: it misses nothing."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import tango

from ska_oso_activity.client import (
    ActivityClient,
    ActivityRun,
    ActivityState,
    DeviceAway,
    OutputWritten,
    Refused,
    UnknownActivity,
)
from tests.device.client import until
from tests.device.stack import ACTIVITY_DEVICE, SCRIPT_EXECUTION, Stack

LIMIT = 80.0


@pytest.fixture
def caller(own_stack: Stack) -> ActivityClient:
    return ActivityClient(ACTIVITY_DEVICE)


def pid_of(device: str) -> int:
    return int(tango.Database().get_device_info(device).pid)


def kill(device: str) -> Callable[[], bool]:
    """Kill a device's server outright; whether another one is in its place can be asked."""
    pid = pid_of(device)
    os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        with suppress(tango.DevFailed):
            return pid_of(device) != pid and bool(tango.DeviceProxy(device).ping())
        return False

    return back


@contextmanager
def frozen(device: str) -> Iterator[None]:
    pid = pid_of(device)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def without_unknown(states: list[str]) -> list[str]:
    """The states, without a passing loss of contact (UNKNOWN, and the same state again)."""
    found: list[str] = []
    for state in states:
        if state != "UNKNOWN" and state not in found[-1:]:
            found.append(state)
    return found


@pytest.mark.parametrize("ends", ["before it is back", "after it is back"])
def test_events_go_on_after_the_activity_device_was_killed(
    own_stack: Stack, caller: ActivityClient, gate: Path, ends: str
):
    run = caller.run(sbd_id=own_stack.gated(gate), activity_name="observe", subarray_id=1)
    following = run.events(timeout=LIMIT)
    told = [next(following)]
    while told[-1].state is not ActivityState.RUNNING:
        told.append(next(following))

    back = kill(ACTIVITY_DEVICE)
    if ends == "after it is back":
        until(back, f"{ACTIVITY_DEVICE} to be back", 40)
    gate.touch()
    told += following

    states = [event.state.name for event in told]
    assert without_unknown(states) == ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]
    positions = [(event.epoch, event.seq) for event in told]
    assert len(positions) == len(set(positions))
    assert positions == sorted(positions)


def test_output_goes_on_after_script_execution_was_killed(
    own_stack: Stack, caller: ActivityClient, tmp_path: Path
):
    script = own_stack.write_script(
        "import pathlib, time\n"
        "def main(gate):\n"
        "    number = 0\n"
        "    while not pathlib.Path(gate).exists():\n"
        "        print(number, flush=True)\n"
        "        number += 1\n"
        "        time.sleep(0.05)\n"
        "    print('end', flush=True)\n"
    )
    gate = tmp_path / "gate"
    run = caller.run(
        sbd_id=own_stack.block_of(script, main={"kwargs": {"gate": str(gate)}}),
        activity_name="observe",
    )
    following = run.output(timeout=LIMIT)
    told = [next(following), next(following)]

    back = kill(SCRIPT_EXECUTION)
    until(back, f"{SCRIPT_EXECUTION} to be back", 40)
    told.append(next(following))
    gate.touch()
    told += following

    assert [line.n for line in told] == list(range(len(told)))
    assert [line.text for line in told] == [*map(str, range(len(told) - 1)), "end"]
    assert run.wait(LIMIT).succeeded


def test_a_stop_is_waited_for_through_a_restart(
    own_stack: Stack, caller: ActivityClient, gate: Path
):
    run = caller.run(
        sbd_id=own_stack.block_of("ignores_signals.py"), activity_name="observe", subarray_id=4
    )
    following = run.events(timeout=LIMIT)
    while next(following).state is not ActivityState.RUNNING:
        pass
    accepted = threading.Event()
    killing = threading.Thread(target=lambda: accepted.wait(LIMIT) and kill(ACTIVITY_DEVICE))
    killing.start()

    result = caller.stop(subarray_id=4, timeout=LIMIT, waiting=accepted.set)

    killing.join()
    assert result.ok
    assert result.text.startswith(f"Activity {run.activity_id} ")
    assert "STOPPED" in result.text
    assert run.wait(LIMIT).state is ActivityState.STOPPED


def test_a_request_is_retried_after_a_time_out_and_starts_nothing_twice(
    own_stack: Stack, gate: Path
):
    pid = pid_of(ACTIVITY_DEVICE)
    tries: list[DeviceAway] = []

    def thaw(away: DeviceAway) -> None:
        tries.append(away)
        os.kill(pid, signal.SIGCONT)

    hasty = ActivityClient(ACTIVITY_DEVICE, call_timeout=0.5, on_away=thaw)
    block = own_stack.gated(gate)
    os.kill(pid, signal.SIGSTOP)

    # The first try was sent, and will be read once the server goes on.
    run = hasty.run(sbd_id=block, activity_name="observe")

    assert len(tries) >= 1
    assert [each.activity_id for each in hasty.list(sbd_id=block)] == [run.activity_id]
    gate.touch()
    assert run.wait(LIMIT).succeeded


def test_a_device_that_stays_away_is_given_up(own_stack: Stack, gate: Path):
    caller = ActivityClient(ACTIVITY_DEVICE, patience=1.0, call_timeout=0.5)
    run = caller.run(sbd_id=own_stack.gated(gate), activity_name="observe")
    following = run.events(timeout=LIMIT)
    while next(following).state is not ActivityState.RUNNING:
        pass

    with frozen(ACTIVITY_DEVICE), pytest.raises(DeviceAway):
        list(following)

    gate.touch()
    assert run.wait(LIMIT).succeeded


def test_a_run_of_a_history_that_was_lost_is_not_taken_for_another(
    own_stack: Stack, caller: ActivityClient, gate: Path
):
    block = own_stack.gated(gate)
    run = caller.run(sbd_id=block, activity_name="observe", subarray_id=1)
    following = caller.follow(run.activity_id, timeout=LIMIT)
    while not isinstance(next(following), OutputWritten):
        pass

    launcher = own_stack.family()[0]
    launcher.suspend()  # it would start the server again before there is nothing to be found
    try:
        back = kill(ACTIVITY_DEVICE)
        for path in (own_stack.directory / "state" / "activity").iterdir():
            path.unlink()
    finally:
        launcher.resume()
    until(back, f"{ACTIVITY_DEVICE} to be back", 40)
    other = again(caller, block)

    assert other.activity_id == run.activity_id
    for ask in (run.summary, run.stop, run.wait, run.start, lambda: list(following)):
        with pytest.raises(UnknownActivity):
            ask()
    assert not other.summary().finished
    gate.touch()
    assert other.wait(LIMIT).succeeded


def again(caller: ActivityClient, block: str) -> ActivityRun:
    """A run, once the device accepts one: after a start it looks around first."""
    runs: list[ActivityRun] = []

    def accepted() -> bool:
        with suppress(Refused):
            runs.append(caller.run(sbd_id=block, activity_name="observe", subarray_id=2))
        return bool(runs)

    until(accepted, "a run to be accepted", 40)
    return runs[0]
