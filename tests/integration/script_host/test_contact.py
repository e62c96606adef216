"""Contact with the host: what is wrong with it is told, and nothing is lost with a connection."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from ska_oso_activity.adapters.host_client import HostClient
from ska_oso_activity.application.command_tracker import CommandTracker
from ska_oso_activity.application.ports import LocatedScript
from ska_oso_activity.application.procedure_register import ProcedureRegister
from ska_oso_activity.application.script_execution_service import (
    ExecutionSettings,
    ScriptExecutionService,
)
from ska_oso_activity.domain.errors import ExecutorUnavailable
from ska_oso_activity.domain.procedure import (
    PrepareProcessCommand,
    StartProcessCommand,
    StopProcessCommand,
)
from ska_oso_activity.domain.script import FileSystemScript
from ska_oso_activity.script_host import attaching
from ska_oso_activity.script_host.attaching import Attachment
from ska_oso_activity.script_host.directory import HostDirectory
from ska_oso_activity.script_host.messages import LineReader, encode
from tests.fakes import (
    FakeBlockFiles,
    FakeDoor,
    FakeInspector,
    InMemoryHistory,
    RecordingPublisher,
    eventually,
)
from tests.integration.script_host.house import wait_until
from tests.integration.script_host.recorder import Recorder

SOON = 5.0
"""Seconds within which trouble must be told (promise P9)."""


def trouble_of(client):
    try:
        client.check()
    except ExecutorUnavailable as error:
        return str(error)
    return None


def wait_trouble(client, text):
    began = time.monotonic()
    wait_until(lambda: text in (trouble_of(client) or ""), f"trouble with {text}")
    assert time.monotonic() - began < SOON


@contextmanager
def client_of(directory):
    client = HostClient(directory, Recorder())
    client.open()
    try:
        yield client
    finally:
        client.close()


# --- Trouble is told, and its end


def test_a_host_that_is_there_is_no_trouble(make_house):
    assert trouble_of(make_house().client) is None


def test_a_host_that_is_just_coming_is_no_trouble(tmp_path):
    with client_of(tmp_path / "host") as client:
        assert trouble_of(client) is None
        client.wait_for_contact()
        pid = HostDirectory(tmp_path / "host").read_identity().pid
    os.kill(pid, signal.SIGTERM)


def test_a_directory_that_others_may_use_is_told_until_it_is_mended(tmp_path):
    directory = tmp_path / "host"
    directory.mkdir(mode=0o755)
    with client_of(directory) as client:
        wait_trouble(client, "must be for its owner alone (mode 0700), not 0755")

        directory.chmod(0o700)
        client.wait_for_contact()

        assert trouble_of(client) is None
        pid = HostDirectory(directory).read_identity().pid
    os.kill(pid, signal.SIGTERM)


def test_an_interpreter_that_is_missing_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(attaching.sys, "executable", "/there/is/no/python")
    with client_of(tmp_path / "host") as client:
        wait_trouble(client, "/there/is/no/python")


def test_a_host_that_cannot_come_up_is_told_with_its_own_words(tmp_path):
    (tmp_path / "host").mkdir(mode=0o700)
    (tmp_path / "host" / "host.log").mkdir()  # so it cannot write it
    with client_of(tmp_path / "host") as client:
        wait_trouble(client, "Is a directory")


def test_a_host_that_hangs_is_told_until_it_goes_on(make_house):
    house = make_house()

    os.kill(house.pid, signal.SIGSTOP)
    try:
        wait_trouble(house.client, "has not answered")
    finally:
        os.kill(house.pid, signal.SIGCONT)

    wait_until(lambda: trouble_of(house.client) is None, "its recovery")


def test_another_server_in_our_place_is_told(make_house):
    house = make_house()
    first = house.client

    house.attach()

    wait_trouble(first, "another server has attached to it")
    assert trouble_of(house.client) is None
    first.close()


@contextmanager
def host_of_protocol(number, directory):
    """A host of another release, that has the directory."""
    directory.create()
    lock = directory.try_lock()
    listener = directory.listen()

    def greet():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                LineReader().feed(connection.recv(9999))
                connection.sendall(encode({"hello": number, "pid": 4711, "host": "x"}))

    thread = threading.Thread(target=greet)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()
        directory.remove_socket()
        os.close(lock)


def test_a_host_of_another_protocol_is_told_until_it_is_gone(tmp_path):
    directory = HostDirectory(tmp_path / "host")
    with host_of_protocol(2, directory):
        client = HostClient(directory.path, Recorder())
        client.open()
        wait_trouble(client, "its protocol is 2, and ours 1")
        assert "4711" in trouble_of(client)

    client.wait_for_contact()

    assert trouble_of(client) is None
    pid = directory.read_identity().pid
    client.close()
    os.kill(pid, signal.SIGTERM)


def test_a_connection_that_was_given_back_takes_nothing(make_house):
    house = make_house()
    attachment = house.client._attachment
    assert attachment.takes_at_once
    house.client.close()

    assert not house.client.takes_at_once
    assert not attachment.takes_at_once
    with pytest.raises(OSError, match="descriptor"):
        attachment.send({"kind": "ack"})


# --- Nothing is lost with a connection


class Door(FakeDoor):
    """Scripts are where their URI says."""

    def admit(self, script):
        return LocatedScript(Path(script.uri.removeprefix("file://")), script.to_json())

    def locate(self, script, **_):
        return self.admit(script)


@pytest.fixture
def service(make_house):
    """A service on a real host."""
    house = make_house()
    house.client.close()
    publisher = RecordingPublisher()
    register = ProcedureRegister(InMemoryHistory(), publisher)
    made = ScriptExecutionService(
        register,
        publisher,
        CommandTracker(publisher),
        Door(),
        FakeInspector(),
        FakeBlockFiles(),
        ExecutionSettings(grace=1.0),
    )
    made.begin(HostClient(house.directory, made.listener))
    made.host.wait_for_contact()
    yield made
    made.close()


@pytest.fixture
def lose_launch(monkeypatch):
    """Has the next launch lost with its connection, after it was sent."""
    left = [1]
    send = Attachment.send

    def send_or_lose(self, *messages):
        if left and any(message.get("kind") == "launch" for message in messages):
            left.pop()
            self.close()
            return
        send(self, *messages)

    monkeypatch.setattr(Attachment, "send", send_or_lose)
    return left


def state_of(service, procedure_id):
    return service.get_process(procedure_id)["state"]


def prepare(service, path):
    command = PrepareProcessCommand(f"r-{path}", FileSystemScript(path.as_uri()))
    return service.prepare_process(command)["procedure_id"]


def test_a_launch_that_is_lost_with_its_connection_is_made_again(
    service, write_script, lose_launch
):
    path = write_script(
        """
        from pathlib import Path
        def main():
            Path(__file__).with_name("entered").open("a").write("x")
            return "ran"
        """
    )

    procedure_id = prepare(service, path)
    service.start_process(StartProcessCommand(procedure_id, force_start=True))
    eventually(lambda: state_of(service, procedure_id) == "COMPLETE", 15)

    assert lose_launch == []
    assert path.with_name("entered").read_text() == "x"


def test_a_stop_of_a_launch_that_was_lost_stops_it(service, write_script, lose_launch):
    procedure_id = prepare(service, write_script("def main(): pass"))
    service.stop_process(StopProcessCommand(procedure_id))
    eventually(lambda: state_of(service, procedure_id) == "STOPPED", 15)

    assert lose_launch == []


def test_who_found_the_connection_broken_waits_for_the_next(make_house):
    house = make_house()
    client = house.client
    first = client._attachment
    with client._changed:  # the client's own thread does not get to notice it first
        first.close()
        with pytest.raises(ExecutorUnavailable):
            client.stop(1, 1.0)
        assert not client.takes_at_once
        assert not client._greeted

    client.wait_for_contact()

    assert client._attachment is not first


def test_a_connection_that_breaks_again_and_again_loses_no_script(service, write_script):
    path = write_script("import time\ndef main(): time.sleep(0.02); return 'ran'")
    ids = []
    for number in range(30):
        command = PrepareProcessCommand(f"r-{number}", FileSystemScript(path.as_uri()))
        ids.append(service.prepare_process(command)["procedure_id"])
        service.start_process(StartProcessCommand(ids[-1], force_start=True))
        attachment = service.host._attachment
        if number % 3 == 2 and attachment is not None:
            attachment.close()
        time.sleep(0.005)

    eventually(lambda: all(state_of(service, each) == "COMPLETE" for each in ids), 20)
