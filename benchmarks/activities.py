"""Activities through both devices: how long each step takes, how many fit into a second."""

import json
import os
import queue
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.client import PATIENCE, Client, Refused, Run
from benchmarks.floor import timed
from benchmarks.report import Figure

BETWEEN = 0.02
"""Seconds between two activities whose steps are timed: the first one's aftermath is not theirs."""
WARM_UP = 3


def steps(client: Client, sbd_id: str, n: int) -> list[Figure]:
    """One activity at a time, from the request to the event of its end."""
    runs = []
    for number in range(WARM_UP + n):
        run = client.succeed(sbd_id)
        if number >= WARM_UP:
            runs.append(run)
        time.sleep(BETWEEN)

    def figure(name: str, start: Callable[[Run], int], end: Callable[[Run], int]) -> Figure:
        return Figure(name, [(end(run) - start(run)) / 1e6 for run in runs])

    def sent(run: Run) -> int:
        return run.sent

    figures = [
        figure("RunActivity to its answer", sent, lambda run: run.answered),
        figure("RunActivity to READY event", sent, lambda run: run.told["READY"]),
        figure(
            "RunActivity to first line of main", sent, lambda run: run.summary["result"]["entered"]
        ),
        figure("RunActivity to RUNNING event", sent, lambda run: run.told["RUNNING"]),
        figure(
            "end of main to SUCCEEDED event",
            lambda run: run.summary["result"]["left"],
            lambda run: run.told["SUCCEEDED"],
        ),
        figure("RunActivity to SUCCEEDED event", sent, lambda run: run.told["SUCCEEDED"]),
    ]
    if "answered" in runs[0].summary["result"]:
        proxy = figure(
            "in main: first proxy and command",
            lambda run: run.summary["result"]["entered"],
            lambda run: run.summary["result"]["answered"],
        )
        figures.insert(4, proxy)
    return figures


def prepared(client: Client, sbd_id: str, n: int) -> list[Figure]:
    """The same from READY on: what our devices take when the process is there already."""
    first_lines, running = [], []
    for _ in range(n):
        command_id = client.send(sbd_id, prepare_only=True)
        activity_id = client.wait(command_id, "READY")["activity_id"]
        time.sleep(BETWEEN)
        sent = time.monotonic_ns()
        client.device.command_inout("StartActivity", json.dumps({"activity_id": activity_id}))
        run = client.finish(command_id)
        first_lines.append((run.summary["result"]["entered"] - sent) / 1e6)
        running.append((run.told["RUNNING"] - sent) / 1e6)
    return [
        Figure("StartActivity to first line of main", first_lines),
        Figure("StartActivity to RUNNING event", running),
    ]


def deaths(client: Client, exits: str, waits: str, n: int) -> list[Figure]:
    """From a script's death to the client's FAILED event."""
    exited, killed = [], []
    for _ in range(n):
        run = client.run(exits)
        died = int(run.summary["output_tail"][0]["text"])
        exited.append((run.told["FAILED"] - died) / 1e6)
    for _ in range(n):
        command_id = client.send(waits)
        procedure_id = client.wait(command_id, "RUNNING")["procedure_id"]
        procedure = json.loads(client.executor.command_inout("GetProcess", procedure_id))
        killed_at = time.monotonic_ns()
        os.kill(procedure["pid"], signal.SIGKILL)
        killed.append((client.finish(command_id).told["FAILED"] - killed_at) / 1e6)
    return [
        Figure("script calls os._exit, to FAILED event", exited),
        Figure("script gets SIGKILL, to FAILED event", killed),
    ]


@dataclass
class Crowd:
    """Many activities, as many at once as there are subarrays.

    Attributes:
        seconds: from the first request to the last end.
        refused: requests that were refused although the subarray's activity had ended.
        failed: activities that did not succeed.
        each: milliseconds from a request to its SUCCEEDED event.
    """

    count: int
    seconds: float = 0.0
    refused: int = 0
    failed: int = 0
    each: list[float] = field(default_factory=list)


def crowd(client: Client, sbd_id: str, count: int, subarrays: int) -> Crowd:
    """Run so many activities; a subarray gets its next one when its last one has ended."""
    result = Crowd(count)
    free = deque(range(1, subarrays + 1))
    running: dict[str, tuple[int, int]] = {}
    _forget_ends(client)
    started = time.monotonic()
    left = count
    while left or running:
        while left and free:
            sent = time.monotonic_ns()
            try:
                command_id = client.send(sbd_id, subarray_id=free[0])
            except Refused:
                result.refused += 1
                if result.refused > count:
                    raise
                break
            running[command_id] = free.popleft(), sent
            left -= 1
        if not running:
            continue
        command_id, state = client.ends.get(timeout=PATIENCE)
        subarray, sent = running.pop(command_id)
        free.append(subarray)
        if state == "SUCCEEDED":
            result.each.append((time.monotonic_ns() - sent) / 1e6)
        else:
            result.failed += 1
    result.seconds = time.monotonic() - started
    return result


def _forget_ends(client: Client) -> None:
    while True:
        try:
            client.ends.get_nowait()
        except queue.Empty:
            return


def reads_under_load(client: Client, sbd_ids: list[str], seconds: float) -> list[Figure]:
    """State reads of both devices while scripts burn CPU and flood their output."""
    command_ids = [client.send(sbd_id) for sbd_id in sbd_ids]
    activity_ids = [client.wait(each, "RUNNING")["activity_id"] for each in command_ids]
    samples: dict[str, list[float]] = {"ActivityDevice": [], "ScriptExecution": []}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        samples["ActivityDevice"] += timed(client.device.state, 1)
        samples["ScriptExecution"] += timed(client.executor.state, 1)
        time.sleep(0.005)
    for activity_id in activity_ids:
        client.stop(activity_id)
    for command_id in command_ids:
        client.finish(command_id)
    return [Figure(f"state() of {name}", each) for name, each in samples.items()]
