"""The client library against the real devices: what it promises to schedulers and TMC nodes."""

import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tango

from ska_oso_activity.client import (
    ActivityClient,
    ActivityRequest,
    ActivityState,
    CommandFailed,
    DeviceAway,
    InvalidRequest,
    OutOfTime,
    Reason,
    Refused,
    SubarrayBusy,
    UnknownActivity,
    WrongState,
)
from tests.device.stack import ACTIVITY_DEVICE, SCRIPT_EXECUTION, Stack

LIMIT = 60.0
STATES = ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]


@pytest.fixture
def caller(stack: Stack) -> ActivityClient:
    return ActivityClient(ACTIVITY_DEVICE)


def states(events) -> list[str]:
    return [event.state.name for event in events]


def test_a_run_is_told_to_its_end(stack: Stack, caller: ActivityClient):
    run = caller.run(sbd_id=stack.block_of("talks.py"), activity_name="observe", subarray_id=2)

    events = list(run.events(timeout=LIMIT))
    summary = run.wait(LIMIT)

    assert states(events) == STATES
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    assert {event.command_id for event in events} == {run.command_id}
    assert summary.succeeded
    assert summary.subarray_id == 2
    assert summary.request_id


def test_output_comes_whole_during_a_run_and_after_it(
    stack: Stack, caller: ActivityClient, gate: Path
):
    run = caller.run(sbd_id=stack.gated(gate), activity_name="observe")

    following = run.output(timeout=LIMIT)
    live = [next(following)]
    gate.touch()
    live += following

    assert [line.text for line in live] == ["init entered", "main entered", "through"]
    assert [line.n for line in live] == [0, 1, 2]
    assert list(run.output(offset=1, timeout=LIMIT)) == live[1:]


def test_the_same_request_id_starts_nothing_twice(stack: Stack, caller: ActivityClient):
    request = ActivityRequest(
        "observe", sbd_id=stack.block_of("echo.py"), request_id=str(uuid.uuid4())
    )

    first, second = caller.run(request), caller.run(request)

    assert (first.activity_id, first.command_id) == (second.activity_id, second.command_id)
    first.wait(LIMIT)


def test_a_prepared_activity_is_started(stack: Stack, caller: ActivityClient):
    run = caller.run(sbd_id=stack.block_of("echo.py"), activity_name="observe", prepare_only=True)
    ready = run.wait(LIMIT)

    started = run.start({"main": {"args": [1]}})

    assert ready.state is ActivityState.READY
    assert started.activity_id == run.activity_id
    assert started.wait(LIMIT).succeeded
    with pytest.raises(WrongState):
        run.start()


def test_refusals_have_their_classes(stack: Stack, caller: ActivityClient, gate: Path):
    run = caller.run(sbd_id=stack.gated(gate), activity_name="observe", subarray_id=5)

    with pytest.raises(SubarrayBusy) as busy:
        caller.run(sbd_id="sbd-other", activity_name="observe", subarray_id=5)
    with pytest.raises(InvalidRequest):
        caller.run(sbd_id="sbd-other", activity_name="observe", subarray_id=17)
    with pytest.raises(UnknownActivity):
        caller.get(10**9)
    with pytest.raises(UnknownActivity):
        caller.stop(subarray_id=16)
    with pytest.raises(InvalidRequest):
        caller.list(colour="red")
    with pytest.raises(TypeError, match="no such keys"):
        caller.run(activity_name="observe", sbd="sbd-other")

    assert busy.value.reason is Reason.SUBARRAY_BUSY
    assert str(run.activity_id) in str(busy.value)
    gate.touch()
    run.wait(LIMIT)


def test_a_subarray_is_stopped(stack: Stack, caller: ActivityClient, gate: Path):
    run = caller.run(sbd_id=stack.gated(gate), activity_name="observe", subarray_id=6)
    following = run.events(timeout=LIMIT)
    while next(following).state is not ActivityState.RUNNING:
        pass

    result = caller.stop(subarray_id=6, timeout=LIMIT)

    assert result.ok
    assert f"Activity {run.activity_id} STOPPED" in result.text
    assert states(following) == ["STOPPING", "STOPPED"]
    assert run.stop().text == f"Activity {run.activity_id} was STOPPED"


def test_what_runs_longer_than_one_waits_goes_on(stack: Stack, caller: ActivityClient, gate: Path):
    run = caller.run(sbd_id=stack.gated(gate), activity_name="observe")

    with pytest.raises(OutOfTime):
        run.wait(0.1)
    with pytest.raises(TimeoutError):
        list(run.events(timeout=0.1))

    gate.touch()
    assert run.wait(LIMIT).succeeded


def test_a_client_that_was_restarted_goes_on_where_it_was(
    stack: Stack, caller: ActivityClient, gate: Path
):
    run = caller.run(sbd_id=stack.gated(gate), activity_name="observe")
    following = run.events(timeout=LIMIT)
    while (last := next(following)).state is not ActivityState.READY:
        pass
    following.close()

    again = ActivityClient().activity(run.command_id)
    gate.touch()
    rest = list(again.events(after_seq=last.seq, epoch=last.epoch, timeout=LIMIT))

    assert states(rest) == ["RUNNING", "SUCCEEDED"]
    assert states(again.events(after_seq=rest[-1].seq, epoch=last.epoch, timeout=LIMIT)) == []


def test_blocks_are_described_and_requests_checked(stack: Stack, caller: ActivityClient):
    block = stack.block_of("echo.py")

    described = caller.describe(block, timeout=LIMIT)
    good = caller.validate(sbd_id=block, activity_name="observe", timeout=LIMIT)
    bad = caller.validate(sbd_id=block, activity_name="dance", timeout=LIMIT)

    assert (described.sbd_id, list(described.activities)) == (block, ["observe"])
    assert (good.valid, good.findings) == (True, ())
    assert [each.code for each in bad.findings] == ["ACTIVITY_NOT_FOUND"]
    with pytest.raises(CommandFailed) as failed:
        caller.describe("sbd-none", timeout=LIMIT)
    assert failed.value.reason is Reason.SB_NOT_FOUND


def test_activities_are_listed(stack: Stack, caller: ActivityClient):
    block = stack.block_of("echo.py")
    run = caller.run(sbd_id=block, activity_name="observe")
    run.wait(LIMIT)

    (listed,) = caller.list(sbd_id=block)

    assert (listed.activity_id, listed.state) == (run.activity_id, ActivityState.SUCCEEDED)


def test_a_device_that_never_was_is_away(stack: Stack):
    with pytest.raises(DeviceAway):
        ActivityClient("mid-oso/activity/99", patience=0.5).run(activity_name="a", sbd_id="sbd-1")


@pytest.mark.parametrize("ask", [ActivityClient.get, ActivityClient.describe])
@pytest.mark.parametrize("text", ["caf\u00e9", "telescope \U0001f52d"])
def test_words_that_tango_cannot_send_are_refused(caller: ActivityClient, ask, text: str):
    with pytest.raises(InvalidRequest, match="takes ASCII"):
        ask(caller, text)


def test_a_state_is_a_filter(stack: Stack, caller: ActivityClient):
    block = stack.block_of("echo.py")
    run = caller.run(sbd_id=block, activity_name="observe")
    run.wait(LIMIT)

    (found,) = caller.list(sbd_id=block, state=ActivityState.SUCCEEDED)

    assert found.activity_id == run.activity_id
    assert caller.list(sbd_id=block, state=ActivityState.READY) == []


def test_a_device_of_another_kind_is_named(stack: Stack):
    with pytest.raises(Refused, match=f"{SCRIPT_EXECUTION} .*is another kind of device"):
        ActivityClient(SCRIPT_EXECUTION).get(1)


_FORGETFUL = """
import atexit, os
atexit.register(lambda: os._exit(len(open_now)))  # runs last of all
from tests.device.open_subscriptions import watched
open_now = watched()
from ska_oso_activity.client import ActivityClient
from ska_oso_activity.client.lrc import LongRunningCommands
commands = LongRunningCommands(ActivityClient("mid-oso/activity/01").device.device)
"""


def test_what_was_not_closed_is_closed_when_python_ends(stack: Stack):
    environment = os.environ | {"TANGO_HOST": stack.tango_host}

    left = subprocess.run(
        [sys.executable, "-c", _FORGETFUL],
        cwd=Path(__file__).parents[2],  # imports `tests`
        env=environment,
        timeout=LIMIT,
        check=False,
    )

    assert left.returncode == 0


def test_many_threads_listen_at_once(stack: Stack, caller: ActivityClient):
    run = caller.run(sbd_id=stack.block_of("echo.py"), activity_name="observe")
    run.wait(LIMIT)

    def follow(_: int) -> str:
        with tango.EnsureOmniThread():
            client = ActivityClient(ACTIVITY_DEVICE)
            return client.activity(run.command_id).wait(LIMIT).state.name

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(follow, range(40))) == {"SUCCEEDED"}
