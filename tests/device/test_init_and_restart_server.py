"""Init without a Tango database, and two RestartServer at once: the device is there afterwards."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import tango

from tests.device.client import Client, until
from tests.device.stack import ACTIVITY_DEVICE, SCRIPT_EXECUTION, Stack

IN_ORDER = "The device is in ON state."


IN_ORDER = "The device is in ON state."


def database_of(stack: Stack) -> psutil.Process:
    return next(each for each in stack.family() if "databaseds" in " ".join(each.cmdline()).lower())


@pytest.mark.parametrize("name", [ACTIVITY_DEVICE, SCRIPT_EXECUTION])
def test_init_needs_no_tango_database(fragile_stack: Stack, name: str):
    client = Client()
    device = tango.DeviceProxy(name)
    device.set_timeout_millis(20_000)
    block = fragile_stack.block_of("echo.py")
    before = client.run(block)
    database_of(fragile_stack).kill()  # it is started again, which takes longer than Init
    device.command_inout("Init")
    status = device.status()

    assert "properties: they could not be read at Init, so those read before hold: " in status
    until(lambda: device.status() == IN_ORDER, "the end of the trouble", 30)
    assert client.get(before.command_id) == before.activity
    assert client.run(block).status == "COMPLETED"


@contextmanager
def no_property(device: tango.DeviceProxy, name: str, value: str) -> Iterator[None]:
    """The device with a property that it cannot read; afterwards without, and initialised."""
    database = tango.Database()
    database.put_device_property(device.dev_name(), {name: [value]})
    try:
        yield
    finally:
        database.delete_device_property(device.dev_name(), {name: []})
        device.Init()


@pytest.mark.parametrize("name", [ACTIVITY_DEVICE, SCRIPT_EXECUTION])
def test_init_with_a_property_that_is_no_number_says_so(fragile_stack: Stack, name: str):
    device = tango.DeviceProxy(name)
    with no_property(device, "SkaLevel", "four"):
        with suppress(tango.DevFailed):
            device.Init()
        until(lambda: int(device.healthState) != 0, "healthState", 5)

        assert "propert" in device.status()


def test_restarts_of_a_server_leave_no_threads_behind(fragile_stack: Stack):
    device = tango.DeviceProxy(ACTIVITY_DEVICE)
    admin = tango.DeviceProxy(device.adm_name())
    server = next(
        each for each in fragile_stack.family() if "activity_device" in " ".join(each.cmdline())
    )

    def restart() -> None:
        before = device.serverStartedAt
        admin.RestartServer()
        until(lambda: started() not in (before, ""), "the restart")

    def started() -> str:
        try:
            return str(device.serverStartedAt)
        except tango.DevFailed:
            return ""

    def threads() -> int:
        return len(list(Path(f"/proc/{server.pid}/task").iterdir()))

    at_first = threads()
    for _ in range(10):
        restart()
    few = at_first + 5
    until(lambda: threads() < few, "the end of threads of former lives", 15)


@pytest.mark.parametrize("name", [ACTIVITY_DEVICE, SCRIPT_EXECUTION])
def test_init_forgets_the_commanded_state(fragile_stack: Stack, name: str):
    device = tango.DeviceProxy(name)
    device.Off()
    until(lambda: device.commandedState == "OFF", "OFF")
    device.Init()

    assert (str(device.state()), device.commandedState) == ("ON", "None")


@pytest.mark.parametrize("name", [ACTIVITY_DEVICE, SCRIPT_EXECUTION])
@pytest.mark.parametrize("pause", [0.0, 0.02, 0.03, 0.04])
def test_two_restarts_of_a_server_at_once_leave_it_in_order(
    fragile_stack: Stack, name: str, pause: float
):
    client = Client()
    block = fragile_stack.block_of("echo.py")
    before = client.run(block)
    device = tango.DeviceProxy(name)
    admins = [tango.DeviceProxy(device.adm_name()) for _ in range(2)]
    for admin in admins:
        admin.ping()

    def restart(admin: tango.DeviceProxy, after: float) -> None:
        with suppress(tango.DevFailed):  # the server may be gone just then
            time.sleep(after)
            admin.command_inout("RestartServer")

    pauses = zip(admins, (0.0, pause), strict=True)
    threads = [threading.Thread(target=restart, args=each) for each in pauses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def in_order() -> bool:
        try:
            return Client().device.status() == Client().executor.status() == IN_ORDER
        except tango.DevFailed:
            return False

    until(in_order, "the end of both restarts", 30)
    client = Client()
    assert client.get(before.command_id) == before.activity
    assert client.run(block).status == "COMPLETED"
