"""The host's directory: private, locked, reachable over any path."""

from __future__ import annotations

import os
import socket

import pytest

from ska_oso_activity.script_host.directory import HostDirectory, HostIdentity, UnsafeDirectory
from ska_oso_activity.script_host.environment import MARK, mark_of, script_environment


@pytest.mark.parametrize("name", ["host", "long" * 40])
def test_a_socket_is_reached_over_any_path(tmp_path, name):
    directory = HostDirectory(tmp_path / name / "host")
    directory.create()

    with directory.listen() as listener, directory.connect(1.0) as client:
        server, _ = listener.accept()
        server.sendall(b"x")
        assert client.recv(1) == b"x"
        server.close()


def test_a_socket_without_a_host_is_an_error(tmp_path):
    directory = HostDirectory(tmp_path / "host")
    directory.create()
    with pytest.raises(FileNotFoundError):
        directory.connect(1.0)
    directory.listen().close()

    with pytest.raises(ConnectionRefusedError):
        directory.connect(1.0)


def test_the_lock_is_held_once_and_goes_with_its_descriptor(tmp_path):
    directory = HostDirectory(tmp_path)
    lock = directory.try_lock()
    assert lock is not None
    assert not os.get_inheritable(lock)

    assert directory.try_lock() is None
    os.close(lock)
    again = directory.try_lock()

    assert again is not None
    os.close(again)


def test_a_link_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(UnsafeDirectory):
        HostDirectory(tmp_path / "link").create()


def test_an_identity_is_read_as_it_was_written(tmp_path):
    directory = HostDirectory(tmp_path)
    identity = HostIdentity("abc", 17, "machine")
    assert directory.read_identity() is None

    directory.write_identity(identity)
    assert directory.read_identity() == identity
    (tmp_path / "host.json").write_text('{"host": "abc"')
    assert directory.read_identity() is None
    directory.write_identity(None)
    assert directory.read_identity() is None


def test_a_peer_of_another_user_is_refused(tmp_path, monkeypatch):
    directory = HostDirectory(tmp_path)
    with directory.listen():
        monkeypatch.setattr(
            socket.socket, "getsockopt", lambda *_: (4711).to_bytes(4, "little") * 3
        )

        with pytest.raises(UnsafeDirectory, match="4711"):
            directory.connect(1.0)


def test_a_scripts_environment_is_the_hosts_with_what_was_asked_for_and_the_mark():
    host = {"PATH": "/bin", "HOME": "/root", "SKA_OSO_ACTIVITY_LIFELINE": "7", MARK: "old:1"}

    environment = script_environment(host, {"HOME": "/elsewhere"}, mark_of("abc", 7))

    assert environment == {
        "PATH": "/bin",
        "HOME": "/elsewhere",
        "PYTHONUNBUFFERED": "1",
        MARK: "abc:7",
    }
