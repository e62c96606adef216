"""The client library under asyncio: it tells the same, and a cancelled task leaves nothing."""

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path

import pytest

from ska_oso_activity.client import (
    ActivityState,
    AsyncActivityClient,
    Finished,
    Interrupted,
    OutOfTime,
    OutputWritten,
    SubarrayBusy,
    asynchronous,
)
from tests.device.open_subscriptions import watched
from tests.device.stack import ACTIVITY_DEVICE, Stack

LIMIT = 60.0


@pytest.fixture
def subscriptions(monkeypatch: pytest.MonkeyPatch) -> set[tuple[int, int]]:
    return watched(monkeypatch.setattr)


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "activity-client"]


def test_a_run_is_told_to_its_end(stack: Stack):
    async def scenario():
        async with AsyncActivityClient(ACTIVITY_DEVICE) as client:
            run = await client.run(
                sbd_id=stack.block_of("talks.py"), activity_name="observe", subarray_id=7
            )
            states = [event.state.name async for event in run.events(timeout=LIMIT)]
            lines = [line.text async for line in run.output(timeout=LIMIT)]
            return states, lines, await run.wait(LIMIT), await client.get(run.activity_id)

    states, lines, waited, got = asyncio.run(scenario())

    assert states == ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]
    assert lines[0] == "init on stdout"
    assert lines[-1] == "half a line"
    assert waited == got
    assert threads() == []


def test_many_runs_are_followed_side_by_side(stack: Stack):
    async def scenario():
        client = AsyncActivityClient(ACTIVITY_DEVICE)
        block = stack.block_of("echo.py")
        runs = [await client.run(sbd_id=block, activity_name="observe") for _ in range(6)]
        return await asyncio.gather(*(run.wait(LIMIT) for run in runs))

    summaries = asyncio.run(scenario())

    assert [each.state for each in summaries] == [ActivityState.SUCCEEDED] * 6


def test_a_cancelled_task_leaves_no_thread_and_no_subscription(
    stack: Stack, gate: Path, subscriptions
):
    async def scenario():
        client = AsyncActivityClient(ACTIVITY_DEVICE)
        run = await client.run(sbd_id=stack.gated(gate), activity_name="observe")
        running, written = asyncio.Event(), asyncio.Event()

        async def follow_events():
            async for event in run.events():
                if event.state is ActivityState.RUNNING:
                    running.set()

        async def follow_all():
            async for happening in client.follow(run.activity_id):
                if isinstance(happening, OutputWritten):
                    written.set()

        tasks = [asyncio.create_task(each) for each in (follow_events(), follow_all(), run.wait())]
        await asyncio.wait_for(asyncio.gather(running.wait(), written.wait()), LIMIT)
        before = len(subscriptions), len(threads())
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        return before, ended, len(subscriptions), threads(), await client.get(run.activity_id)

    before, ended, subscribed, left, summary = asyncio.run(scenario())

    assert before[0] >= 5  # the third may be about to subscribe
    assert before[1] == 3
    assert [type(each) for each in ended] == [asyncio.CancelledError] * 3
    assert (subscribed, left) == (0, [])
    assert summary.state is ActivityState.RUNNING


def test_an_iteration_that_is_left_is_closed(stack: Stack, gate: Path, subscriptions):
    async def scenario():
        client = AsyncActivityClient(ACTIVITY_DEVICE)
        run = await client.run(sbd_id=stack.gated(gate), activity_name="observe")
        async with aclosing(run.events()) as events:
            async for event in events:
                if event.state is ActivityState.RUNNING:
                    break

    asyncio.run(scenario())

    assert (subscriptions, threads()) == (set(), [])


def test_closing_the_client_ends_what_waits(stack: Stack, gate: Path):
    async def scenario():
        client = AsyncActivityClient(ACTIVITY_DEVICE)
        run = await client.run(sbd_id=stack.gated(gate), activity_name="observe")
        waiting = asyncio.create_task(run.wait())
        async for event in run.events(timeout=LIMIT):
            if event.state is ActivityState.RUNNING:
                client.close()
                break
        return (await asyncio.gather(waiting, return_exceptions=True))[0]

    assert isinstance(asyncio.run(scenario()), Interrupted)
    assert threads() == []


def test_errors_and_stops_are_those_of_the_client_that_waits(stack: Stack, gate: Path):
    async def scenario():
        async with AsyncActivityClient(ACTIVITY_DEVICE) as client:
            block = stack.gated(gate)
            run = await client.run(sbd_id=block, activity_name="observe", subarray_id=8)
            with pytest.raises(SubarrayBusy):
                await client.run(sbd_id=block, activity_name="observe", subarray_id=8)
            with pytest.raises(OutOfTime):
                await run.wait(0.1)
            stopped = await client.stop(subarray_id=8, timeout=LIMIT)
            last = [each async for each in client.follow(run.activity_id, timeout=LIMIT)][-1]
            return stopped, last

    stopped, last = asyncio.run(scenario())

    assert stopped.ok
    assert isinstance(last, Finished)
    assert last.summary["state"] == "STOPPED"


def test_a_task_that_is_slow_to_take_lines_gets_all_of_them(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(asynchronous, "AHEAD", 3)

    async def scenario():
        client = AsyncActivityClient(ACTIVITY_DEVICE)
        block = stack.block_of("talks.py", main={"kwargs": {"rounds": 50}})
        run = await client.run(sbd_id=block, activity_name="observe")
        await run.wait(LIMIT)
        numbers = []
        async for line in run.output(timeout=LIMIT):
            await asyncio.sleep(0)
            numbers.append(line.n)
        async with aclosing(run.output(timeout=LIMIT)) as lines:
            first = await anext(lines)
        return numbers, first.n

    numbers, first = asyncio.run(scenario())

    assert numbers == list(range(152))
    assert first == 0
    assert threads() == []
