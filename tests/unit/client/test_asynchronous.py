"""Whatever ends in a thread of the asyncio client is told to the task that waits."""

import asyncio
import threading
from contextlib import suppress

import pytest

from ska_oso_activity.client import AsyncActivityClient, DeviceAway
from tests.unit.client.fakes import FakeActivityDevice

LIMIT = 20.0


class Silent(FakeActivityDevice):
    """Does not answer a request; tells when it got one."""

    def __init__(self):
        super().__init__()
        self.asked = threading.Event()
        self.request_ids = []

    def submit(self, command, argument):
        self.request_ids.append(argument["request_id"])
        self.asked.set()
        raise DeviceAway("device does not answer")


@pytest.mark.parametrize(
    ("kind", "told"), [(StopIteration, RuntimeError), (SystemExit, SystemExit)]
)
def test_whatever_a_job_raises_ends_the_waiting(kind, told):
    ended = []

    def fail(_):
        raise kind

    async def scenario():
        try:
            await AsyncActivityClient(FakeActivityDevice()).call(fail)
        except BaseException as error:
            ended.append(type(error))

    def attempt():
        with suppress(BaseException):  # whatever it is: it has ended
            asyncio.run(scenario())

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(LIMIT)

    assert not thread.is_alive()
    assert ended == [told]


def test_a_run_that_is_cancelled_tells_the_request_id_that_was_sent():
    device = Silent()
    told = []

    async def ask():
        try:
            await AsyncActivityClient(device).run(sbd_id="sbd-1", activity_name="observe")
        except asyncio.CancelledError as cancelled:
            told.append(cancelled.request_id)
            raise

    async def scenario():
        task = asyncio.create_task(ask())
        await asyncio.to_thread(device.asked.wait, LIMIT)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())

    assert told == device.request_ids[:1]
