"""The disk of the state directory is full, or cannot be written, while activities run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tango

from tests.device.client import Client, Refused, until
from tests.device.stack import ACTIVITY_DEVICE, SCRIPT_EXECUTION, Stack
from tests.device.test_restarts import again, kill_server, story
from tests.small_disk import MIB, Glutton, SmallDisk, make_read_only

pytestmark = pytest.mark.forked

GATED = """
import time, pathlib
def main(gate, size=0, **kwargs):
    while not pathlib.Path(gate).exists():
        time.sleep(0.01)
    return "r" * size
"""


class SmallStack(Stack):
    """A stack whose state is on a disk of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = SmallDisk(self.directory / "state", 96 * MIB)

    def gated(self, gate: Path, **more: object) -> str:
        """A block whose script waits for a file, and then returns so many characters."""
        return self.block_of(self.write_script(GATED), main={"kwargs": {"gate": str(gate), **more}})


@pytest.fixture
def small() -> Iterator[SmallStack]:
    stack = SmallStack()
    try:
        stack.start()
        yield stack
    finally:
        stack.disk.make_room()
        stack.stop()


@pytest.fixture
def client(small: SmallStack, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("TANGO_HOST", small.tango_host)
    return Client()


def health(name: str) -> str:
    return str(tango.DeviceProxy(name).healthState.name)


def is_accepted(client: Client, block: str) -> str | None:
    try:
        return client.send("RunActivity", client.request(block))
    except Refused:
        return None


def test_on_a_full_disk_activities_end_and_none_begins(
    small: SmallStack, client: Client, tmp_path: Path
):
    block = small.gated(tmp_path / "gate")
    stopped = client.start(block)
    ending = client.start(small.gated(tmp_path / "gate", size=1000))
    with Glutton(small.disk):
        for name in (ACTIVITY_DEVICE, SCRIPT_EXECUTION):
            until(lambda name=name: health(name) == "FAILED", f"{name} to notice", 5)
        status = client.device.Status()
        refusal = client.refusal("RunActivity", client.request(block))
        answer = client.stop(activity_id=stopped["activity_id"], run_abort=False)
        (tmp_path / "gate").touch()
        run = client.finish(ending["command_id"])
        refused_still = client.refusal("RunActivity", client.request(block))
    small.disk.make_room()
    command_id = until(lambda: is_accepted(client, block), "to be accepted", 5)
    assert client.finish(command_id).activity["state"] == "SUCCEEDED"
    for name in (ACTIVITY_DEVICE, SCRIPT_EXECUTION):
        until(lambda name=name: health(name) == "OK", f"{name} to be well", 5)
    told = client.story()
    for name in (ACTIVITY_DEVICE, SCRIPT_EXECUTION):
        kill_server(name)
    client = again(client)

    assert "is full" in status
    assert refusal.startswith("NO_SPACE: ")
    assert refused_still.startswith("NO_SPACE: ")
    assert answer == (0, f"Activity {stopped['activity_id']} STOPPED")
    assert run.activity["result"] == "r" * 1000
    assert json.loads(client.device.EventsSince(0)) == told
    assert [event["state"] for event in story(client, 0, stopped["command_id"])][-1] == "STOPPED"


def test_a_result_that_the_full_disk_has_no_room_for_is_left_out(
    small: SmallStack, client: Client, tmp_path: Path
):
    event = client.start(small.gated(tmp_path / "gate", size=900_000))
    small.disk.fill()
    (tmp_path / "gate").touch()
    run = client.finish(event["command_id"])
    small.disk.make_room()

    assert run.result[0] == 0
    assert run.activity["state"] == "SUCCEEDED"
    assert run.activity["result"] is None
    assert run.activity["message"] == "not kept, as the disk is full: result"


@pytest.mark.parametrize("folder", ["activity", "script-execution"])
def test_a_state_directory_that_cannot_be_written_is_told_and_refused(
    monkeypatch: pytest.MonkeyPatch, folder: str
):
    stack = Stack()
    (stack.directory / "state" / folder).mkdir(parents=True)
    make_read_only(stack.directory / "state" / folder)
    try:
        stack.start()
        monkeypatch.setenv("TANGO_HOST", stack.tango_host)
        name = ACTIVITY_DEVICE if folder == "activity" else SCRIPT_EXECUTION
        device = tango.DeviceProxy(name)
        code, text = 0, ""
        if folder == "activity":
            (code,), (text,) = device.RunActivity('{"sbd_id": "sbd-1", "activity_name": "observe"}')

        assert health(name) == "FAILED"
        assert "Read-only file system" in device.Status()
        assert folder != "activity" or (code == 5 and "Read-only file system" in text)
    finally:
        stack.stop()


def test_a_device_that_could_not_be_set_up_is_set_up_as_soon_as_it_can_be(
    monkeypatch: pytest.MonkeyPatch,
):
    stack = Stack()
    in_the_way = stack.directory / "state" / "activity" / "activities.db"
    in_the_way.mkdir(parents=True)
    try:
        stack.start()
        monkeypatch.setenv("TANGO_HOST", stack.tango_host)
        client = Client()
        block = stack.block_of(stack.write_script("def main(): return 1"))
        with pytest.raises(Refused, match="NO_SPACE: the device is not set up"):
            client.send("RunActivity", client.request(block))
        assert health(ACTIVITY_DEVICE) == "FAILED"

        in_the_way.rmdir()
        until(lambda: health(ACTIVITY_DEVICE) == "OK", "the device to be set up")

        run = client.finish(client.send("RunActivity", client.request(block)))
        assert run.activity["result"] == 1
    finally:
        stack.stop()
