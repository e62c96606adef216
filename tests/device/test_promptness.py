"""Commands and reads stay prompt whatever the archive and the scripts do."""

import json
import os
import statistics
import time
import uuid

from tests.device.client import Client
from tests.device.stack import Stack

ROUNDS = 60
SLOWER = 0.05
"""Seconds by which a median may grow on two busy cores; a held-up device takes whole ones."""


def medians(client: Client) -> dict[str, float]:
    calls = {
        "read": lambda: client.device.activityState,
        "command": lambda: client.device.ListActivities('{"limit": 1}'),
        "state": client.device.state,
        "procedure": lambda: client.executor.procedureState,
        "refusal": lambda: client.device.RunActivity("{}"),
    }
    return {
        name: statistics.median(timed(call) for _ in range(ROUNDS)) for name, call in calls.items()
    }


def timed(call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def assert_prompt(calm: dict[str, float], busy: dict[str, float]) -> None:
    slow = {name: (calm[name], busy[name]) for name in calm if busy[name] > calm[name] + SLOWER}
    assert slow == {}


def test_while_scripts_burn_the_processor_and_flood_their_output(stack: Stack, client: Client):
    gate = stack.directory / f"gate-{uuid.uuid4().hex}"
    calm = medians(client)
    burning = stack.block_of("burns.py", main={"args": [str(gate)]})
    events = [client.start(burning) for _ in range(4)]
    flooding = client.start(stack.block_of("floods.py", main={"args": [100]}))

    busy = medians(client)

    gate.touch()
    for event in [*events, flooding]:
        assert client.finish(event["command_id"], 90).states[-1] == "SUCCEEDED"
    assert_prompt(calm, busy)


def test_while_the_archive_hangs(stack: Stack, client: Client):
    calm = medians(client)
    huge, pipe = (f"sbd-{word}-{uuid.uuid4().hex}" for word in ("huge", "pipe"))
    block = {
        "sbd_id": huge,
        "telescope": "ska_mid",
        "activities": {"observe": stack.activity("echo.py")},
    }
    block["rows"] = [{"n": number, "text": "x" * 40} for number in range(120_000)]
    large = stack.write_block(huge, json.dumps(block).encode())
    (stack.oda / "sbd" / pipe).mkdir()
    os.mkfifo(stack.oda / "sbd" / pipe / "1.json")
    try:
        accepted = [
            timed(lambda sbd_id=sbd_id: client.send("RunActivity", client.request(sbd_id)))
            for sbd_id in [huge, pipe] * 5
        ]
        sent = [a["command_id"] for a in client.list(limit=10)]
        busy = medians(client)
        ends = [client.finish(command_id, 60) for command_id in sent]
    finally:
        large.unlink()
        (stack.oda / "sbd" / pipe / "1.json").unlink()

    assert_prompt(calm, busy)
    assert statistics.median(accepted) < calm["refusal"] + SLOWER
    assert all(run.states[-1] in ("SUCCEEDED", "FAILED") for run in ends)


def test_runactivity_returns_before_anything_is_done(stack: Stack, client: Client):
    sbd_id = stack.block_of("sleeps_at_load.py")
    begin = time.perf_counter()

    sent = [client.send("RunActivity", client.request(sbd_id)) for _ in range(5)]

    took = time.perf_counter() - begin
    client.device.Abort()
    for command_id in sent:
        client.finish(command_id)
    assert took < 2.0
