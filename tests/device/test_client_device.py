"""A Tango device calls ours as a TMC node would: the sample in a server of its own."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tango
from tango.test_context import DeviceTestContext

from ska_oso_activity.client import ActivityClient
from ska_oso_activity.client.sample_device import SampleScheduler
from tests.device.client import Recorder
from tests.device.stack import ACTIVITY_DEVICE, Stack

STATES = ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]
ENDED_WELL = ["STAGING", "IN_PROGRESS", "COMPLETED"]
LIMIT = 60.0


@pytest.fixture
def scheduler(stack: Stack) -> Iterator[tango.DeviceProxy]:
    properties = {"ActivityDevice": ACTIVITY_DEVICE, "CallTimeout": 0.5}
    with DeviceTestContext(SampleScheduler, process=True, properties=properties) as proxy:
        yield proxy


def observe(scheduler: tango.DeviceProxy, sbd_id: str, **more: Any) -> str:
    return scheduler.Observe(json.dumps({"sbd_id": sbd_id, "activity_name": "observe", **more}))


def wait_for(recorder: Recorder, attribute: str, value: str) -> None:
    recorder.wait(lambda: value in recorder.values(attribute), f"{attribute} {value}", LIMIT)


def outcome(recorder: Recorder, attribute: str = "outcome") -> str:
    return recorder.wait(
        lambda: next(filter(None, reversed(recorder.values(attribute))), None), attribute, LIMIT
    )


def test_it_sees_a_run_by_events_and_by_both_lrc_protocols(
    stack: Stack, scheduler: tango.DeviceProxy
):
    with Recorder(scheduler, "outcome") as recorder:
        observe(scheduler, stack.block_of("echo.py"), subarray_id=9)
        came = outcome(recorder)

    number = scheduler.activityId
    events = [json.loads(each) for each in scheduler.activityEvents]
    assert came == "SUCCEEDED"
    assert [each["state"] for each in events] == STATES
    assert {each["activity_id"] for each in events} == {number}
    *v1, result = scheduler.lrcV1
    assert (v1[-2:], result) == (ENDED_WELL[-2:], f"Activity {number} SUCCEEDED")
    *v2, result = scheduler.lrcV2
    assert (v2[0], v2[-2:]) == (ENDED_WELL[0], ENDED_WELL[-2:])
    assert result == f"Activity {number} SUCCEEDED"


def test_it_stops_by_subarray(stack: Stack, scheduler: tango.DeviceProxy, gate: Path):
    with Recorder(scheduler, "activityState", "outcome", "stopOutcome") as recorder:
        observe(scheduler, stack.gated(gate), subarray_id=10)
        wait_for(recorder, "activityState", "RUNNING")
        with pytest.raises(tango.DevFailed, match="BUSY"):
            observe(scheduler, stack.gated(gate), subarray_id=11)

        scheduler.StopSubarray(10)
        stopped, came = outcome(recorder, "stopOutcome"), outcome(recorder)

    assert f"Activity {scheduler.activityId} STOPPED" in stopped
    assert came == "STOPPED: STOPPED_BY_REQUEST"
    assert scheduler.lrcV2[-2:] == ("ABORTED", f"Activity {scheduler.activityId} STOPPED")


def test_it_tells_why_it_was_refused(stack: Stack, scheduler: tango.DeviceProxy):
    with Recorder(scheduler, "outcome") as recorder:
        observe(scheduler, "sbd-none", subarray_id=17)
        came = outcome(recorder)

    assert came.startswith("InvalidRequest: INVALID_REQUEST: ")


def test_a_time_out_is_retried_and_starts_nothing_twice(stack: Stack, scheduler: tango.DeviceProxy):
    block, request_id = stack.block_of("echo.py"), str(uuid.uuid4())
    with Recorder(scheduler, "outcome") as recorder:
        observe(scheduler, stack.block_of("echo.py"))
        outcome(recorder)
    pid = int(tango.Database().get_device_info(ACTIVITY_DEVICE).pid)

    os.kill(pid, signal.SIGSTOP)
    try:
        with Recorder(scheduler, "outcome", "trouble") as recorder:
            observe(scheduler, block, request_id=request_id)
            # The first try is given up, and is read by the device all the same once it goes on.
            trouble = outcome(recorder, "trouble")
            os.kill(pid, signal.SIGCONT)
            came = outcome(recorder)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert "does not answer" in trouble
    assert came == "SUCCEEDED"
    (only,) = ActivityClient(ACTIVITY_DEVICE).list(sbd_id=block)
    assert only.activity_id == scheduler.activityId
    assert ActivityClient(ACTIVITY_DEVICE).get(only.activity_id).request_id == request_id


def test_an_init_in_mid_run_ends_nothing_and_the_same_request_goes_on(
    stack: Stack, scheduler: tango.DeviceProxy, gate: Path
):
    block = stack.gated(gate)
    with Recorder(scheduler, "activityState") as recorder:
        request_id = observe(scheduler, block)
        wait_for(recorder, "activityState", "RUNNING")
    number = scheduler.activityId

    scheduler.Init()  # within the time for a call: it waits for no thread that waits for it
    after = scheduler.activityId, scheduler.activityState, scheduler.outcome
    with Recorder(scheduler, "outcome") as recorder:
        observe(scheduler, block, request_id=request_id)
        gate.touch()
        came = outcome(recorder)

    assert after == (0, "", "")
    assert (came, scheduler.activityId) == ("SUCCEEDED", number)


def test_a_refusal_shows_nothing_of_the_run_before(stack: Stack, scheduler: tango.DeviceProxy):
    with Recorder(scheduler, "outcome") as recorder:
        observe(scheduler, stack.block_of("echo.py"))
        outcome(recorder)

    with Recorder(scheduler, "outcome") as recorder:
        observe(scheduler, "sbd-none", subarray_id=17)
        recorder.wait(
            lambda: any("INVALID_REQUEST" in each for each in recorder.values("outcome")),
            "the refusal",
            LIMIT,
        )

    assert (scheduler.activityId, scheduler.activityState) == (0, "")
    assert (scheduler.activityEvents, scheduler.lrcV2) in [((), ()), (None, None)]


@pytest.mark.parametrize("request_text", ["nonsense", "[1]", "null", '{"script_args": NaN}'])
def test_what_is_no_request_is_refused_at_once(
    stack: Stack, scheduler: tango.DeviceProxy, request_text: str
):
    with pytest.raises(tango.DevFailed) as refused:
        scheduler.Observe(request_text)

    assert refused.value.args[0].reason == "INVALID_REQUEST"
    assert refused.value.args[0].desc.startswith("Observe takes a request of RunActivity")


def test_a_request_id_of_null_is_none(stack: Stack, scheduler: tango.DeviceProxy):
    with Recorder(scheduler, "outcome") as recorder:
        request_id = observe(scheduler, stack.block_of("echo.py"), request_id=None)
        outcome(recorder)

    assert uuid.UUID(request_id)
    assert ActivityClient(ACTIVITY_DEVICE).get(scheduler.activityId).request_id == request_id


def test_a_device_that_is_away_at_first_is_waited_for(stack: Stack):
    """Nowhere to connect to, with a patience that ends."""
    properties = {"ActivityDevice": "mid-oso/activity/99", "Patience": 0.5}
    with (
        DeviceTestContext(SampleScheduler, process=True, properties=properties) as scheduler,
        Recorder(scheduler, "outcome", "trouble") as recorder,
    ):
        observe(scheduler, "sbd-none")
        came = outcome(recorder)

    assert came.startswith("DeviceAway: mid-oso/activity/99 ")
    assert any("does not answer" in each for each in recorder.values("trouble"))
