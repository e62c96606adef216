"""A subscription that comes while a device server starts does not end the events of that server.

cppTango's admin device is exported a moment before it can be used; a database that is slow to
confirm the export makes that moment long enough to be met each time.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tango

from ska_oso_activity.adapters.tango_executor import RESUBSCRIBE_PAUSE, SILENCE, TangoExecutor
from tests.device.client import Recorder, preparation, until
from tests.device.slow_database import SlowDatabase
from tests.device.stack import SCRIPTS, Stack

MODULES = {
    "ScriptExecution": "ska_oso_activity.devices.script_execution",
    "ActivityDevice": "ska_oso_activity.devices.activity_device",
}
HASTY = "tests.device.hasty_server"
ATTRIBUTES = {"ScriptExecution": "procedureEvent", "ActivityDevice": "activityEvent"}


@contextmanager
def registered(device_class: str, directory: Path) -> Iterator[str]:
    """One more device, of a server of its own; its name."""
    instance = uuid.uuid4().hex[:8]
    name = f"test/{device_class.lower()}/{instance}"
    info = tango.DbDevInfo()
    info.server, info._class, info.name = f"{device_class}/{instance}", device_class, name
    database = tango.Database()
    database.add_device(info)
    properties = {
        "StateDirectory": [str(directory / "state")],
        "SchedulingBlockDirectory": [str(directory / "blocks")],
        "ScriptRoots": [str(SCRIPTS)],
        "ScriptExecutionDevices": [],
        "WarmScripts": ["-1"],
    }
    database.put_device_property(name, properties)
    try:
        yield name
    finally:
        database.delete_server(info.server)


@contextmanager
def server_of(
    name: str, module: str, log: Path, stack: Stack, *words: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The server of a device, started; killed in the end."""
    with SlowDatabase(stack.tango_host) as slow, log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, name.rsplit("/", 1)[1], *words],
            env=os.environ | {"TANGO_HOST": slow.tango_host},
            stdout=output,
            stderr=output,
            cwd=Path(__file__).parents[2],
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


def subscribe_while_it_starts(process: subprocess.Popen[bytes], name: str, of: str) -> None:
    """Ask for the events of a device until that is accepted, or its server has ended."""
    admin = f"dserver/{of}/{name.rsplit('/', 1)[1]}"
    words = [name, ATTRIBUTES[of], "subscribe", "change", "5"]

    def accepted() -> bool:
        try:
            tango.DeviceProxy(admin).command_inout("ZmqEventSubscriptionChange", words)
        except tango.DevFailed:
            return process.poll() is not None
        return True

    until(accepted, "a subscription", 20)


@pytest.mark.parametrize("of", MODULES)
def test_a_subscription_waits_until_the_server_is_complete(stack: Stack, tmp_path: Path, of: str):
    log = tmp_path / "log"
    with registered(of, tmp_path) as name, server_of(name, MODULES[of], log, stack) as process:
        subscribe_while_it_starts(process, name, of)
        proxy = tango.DeviceProxy(name)
        with Recorder(proxy, ATTRIBUTES[of], "adminMode") as recorder:
            proxy.adminMode = "OFFLINE"
            recorder.wait(lambda: recorder.values("adminMode") == [1], "an event", 5)

        assert process.poll() is None
    assert "Class DServer is not initialised" not in log.read_text()


def test_a_server_that_can_never_deliver_an_event_ends(stack: Stack, tmp_path: Path):
    log = tmp_path / "log"
    with (
        registered("ScriptExecution", tmp_path) as name,
        server_of(name, HASTY, log, stack) as process,
    ):
        subscribe_while_it_starts(process, name, "ScriptExecution")
        code = process.wait(10)

    assert code == 1
    assert "no event would ever be delivered" in log.read_text()


class Listener:
    """Notes what there is to tell of an executor."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda _, *news: self.told.append((name.removeprefix("on_"), *news))

    def count(self, name: str) -> int:
        return sum(news[0] == name for news in self.told)

    def ready(self) -> list[int]:
        """The procedures that were told to be READY, once for each time."""
        events = [news[1] for news in self.told if news[0] == "procedure_event"]
        return [event["procedure_id"] for event in events if event["state"] == "READY"]


def test_an_executor_without_events_is_followed_until_another_server_takes_its_place(
    stack: Stack, tmp_path: Path
):
    listener, log = Listener(), tmp_path / "log"

    def prepare() -> int:
        text = json.dumps(preparation(stack.script("takes_nothing.py")))
        return int(json.loads(tango.DeviceProxy(name).PrepareProcess(text))["procedure_id"])

    with registered("ScriptExecution", tmp_path) as name:
        executor = TangoExecutor(name, listener)  # type: ignore[arg-type]
        try:
            with server_of(name, HASTY, log, stack, "--lasting") as process:
                subscribe_while_it_starts(process, name, "ScriptExecution")
                executor.begin()
                until(lambda: listener.count("executor_back"), "contact", 10)
                first = prepare()
                until(lambda: listener.ready() == [first], "its event", 10)
                # However often it is tried to subscribe again: it is there, and so it counts.
                time.sleep(RESUBSCRIBE_PAUSE + SILENCE)
                counts = listener.count("executor_back"), listener.count("executor_lost")
            with server_of(name, MODULES["ScriptExecution"], tmp_path / "again", stack):
                until(lambda: listener.count("executor_back") == 2, "contact again", 20)
                second = prepare()
                until(lambda: listener.ready() == [first, second], "its event", 10)
                hears = executor._hears
        finally:
            executor.close()
            for identity in tmp_path.rglob("host.json"):  # it would keep the prepared scripts
                os.kill(json.loads(identity.read_text())["pid"], signal.SIGTERM)

    assert "Class DServer is not initialised" in log.read_text()
    assert counts == (1, 0)
    assert hears
