"""Init without a Tango database, and two RestartServer at once: the device is there afterwards."""

import contextlib
import threading
import time

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
        with contextlib.suppress(tango.DevFailed):  # the server may be gone just then
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
