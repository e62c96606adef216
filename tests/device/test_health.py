"""Trouble with what scripts need shows in healthState and Status within 5 s, and clears (P9)."""

import contextlib
import json
import os
import signal
from pathlib import Path

import psutil
import pytest
import tango

from tests.device.client import Client, until
from tests.device.stack import SCRIPT_EXECUTION, Stack

OK, DEGRADED, FAILED = 0, 1, 2
SOON = 5.0


def status_once(executor: tango.DeviceProxy, health: int) -> str:
    until(lambda: executor.healthState == health, f"health {health}", SOON)
    return str(executor.status())


def test_a_script_host_that_hangs_shows_in_the_health(fragile_stack: Stack):
    executor = Client().executor
    (identity,) = until(
        lambda: list(fragile_stack.directory.glob("state/**/host.json")), "the script host", 20
    )
    until(lambda: executor.healthState == OK, "a good beginning", 20)
    pid = json.loads(identity.read_text())["pid"]

    os.kill(pid, signal.SIGSTOP)
    try:
        status = status_once(executor, FAILED)
        of_all = status_once(Client().device, FAILED)  # which has no other executor
    finally:
        os.kill(pid, signal.SIGCONT)
    after = status_once(executor, OK)

    assert f"{SCRIPT_EXECUTION}: its healthState is FAILED: script host: " in of_all
    assert status_once(Client().device, OK) == "The device is in ON state."
    # Which of the two depends on whether it had been attached to when it froze.
    assert "script host: it has not answered" in status or "it was not attached to yet" in status
    assert after == "The device is in ON state."


def test_scripts_that_cannot_start_at_full_speed_show_in_the_health(fragile_stack: Stack):
    client = Client()
    until(lambda: client.executor.healthState == OK, "a good beginning", 20)

    def kill_fork_server() -> bool:
        for process in fragile_stack.family():
            with contextlib.suppress(psutil.Error):
                if process.name() == "fork server":
                    process.kill()
        return client.executor.healthState == DEGRADED

    until(kill_fork_server, "DEGRADED", 60)  # each time the next one waits longer
    status = str(client.executor.status())
    ran = client.run(fragile_stack.block_of("echo.py"))

    assert "start of scripts: scripts start as fresh interpreters, which takes longer" in status
    assert ran.status == "COMPLETED"
    until(lambda: client.executor.healthState == OK, "the end of the trouble", 30)


def test_a_block_directory_that_others_may_use_shows_in_the_health(fragile_stack: Stack):
    executor = Client().executor
    (value,) = tango.Database().get_device_property(SCRIPT_EXECUTION, "SchedulingBlockDirectory")[
        "SchedulingBlockDirectory"
    ]
    directory = Path(value)
    until(directory.exists, "the directory", 20)
    until(lambda: executor.healthState == OK, "a good beginning", 20)

    directory.chmod(0o777)
    try:
        status = status_once(executor, FAILED)
    finally:
        directory.chmod(0o700)
    after = status_once(executor, OK)

    assert "Scheduling Blocks: the directory" in status
    assert str(directory) in status
    assert after == "The device is in ON state."


@pytest.mark.parametrize("name", ["activity", "executor"])
def test_a_stack_that_was_just_started_is_well(own_stack: Stack, name: str):
    client = Client()
    device = client.executor if name == "executor" else client.device

    assert device.healthState == OK
    assert own_stack.ready["ready"] is True
