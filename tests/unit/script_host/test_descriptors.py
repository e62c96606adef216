"""Descriptors and processes are given back once, and nobody waits for what cannot come."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from ska_oso_activity.script_host import fork_server, orders
from ska_oso_activity.script_host.channels import open_channels
from ska_oso_activity.script_host.death import DeathWatch
from ska_oso_activity.script_host.fork_server import Birth, ForkServer, discard
from ska_oso_activity.script_host.frames import hung_up
from ska_oso_activity.script_host.leader import Leader
from ska_oso_activity.script_host.loop import Loop
from ska_oso_activity.script_host.pool import NO_FORK_SERVER, Pool
from ska_oso_activity.script_host.sweep import Family


class Newborn:
    """A process as the fork server makes them, that says nothing by itself."""

    def __init__(self):
        ours, self.theirs = open_channels()
        self.process = subprocess.Popen(["sleep", "60"])
        self.leader = Leader(self.process.pid, ours, self.process.wait)
        self.calls = []

    def watch(self, loop):
        return Birth(
            loop,
            self.leader,
            on_born=lambda _: self.calls.append("born"),
            on_death=lambda *_: self.calls.append("dead"),
        )

    def say_born(self):
        os.write(self.theirs.control, orders.BORN)

    def close(self):
        self.theirs.close()
        self.leader.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def newborn():
    made = Newborn()
    yield made
    made.close()


@pytest.fixture
def loop():
    return Loop()


def turn(loop, seconds=0.1):
    """Let the loop run for a while."""
    loop.call_later(seconds, loop.stop)
    loop.run()


def test_a_descriptor_that_is_closed_is_not_watched_any_more(loop):
    ours, theirs = socket.socketpair()
    loop.watch(ours.fileno(), lambda: None)
    loop.unwatch(ours.fileno())
    ours.close()
    theirs.close()

    loop.unwatch(ours.fileno())

    turn(loop, 0)


def test_a_watch_that_is_cancelled_twice_leaves_the_descriptors_of_others_alone(loop):
    with subprocess.Popen(["sleep", "60"]) as process:
        watch = DeathWatch(loop, process.pid, lambda: None)
        watch.cancel()
        others = os.pipe()  # takes the numbers that were given back
        watch.cancel()
        process.kill()

    os.write(others[1], b"still open")
    assert os.read(others[0], 20) == b"still open"
    for fd in others:
        os.close(fd)


def test_a_death_is_told_even_if_the_process_is_gone_by_then(loop):
    with subprocess.Popen(["true"]) as process:
        process.wait()
    told = []

    DeathWatch(loop, process.pid, lambda: told.append("dead"))
    assert told == [], "not while whoever asked is still being made"
    turn(loop)

    assert told == ["dead"]


def test_a_birth_is_told_once(loop, newborn):
    newborn.watch(loop)
    newborn.say_born()
    turn(loop)
    newborn.process.kill()
    turn(loop)

    assert newborn.calls == ["born"]


def test_of_a_birth_that_was_abandoned_nothing_is_told(loop, newborn):
    birth = newborn.watch(loop)
    birth.abandon()
    newborn.say_born()
    newborn.process.kill()
    turn(loop)

    assert newborn.calls == []


def test_a_process_that_never_says_that_it_is_there_is_killed(loop, newborn, monkeypatch):
    monkeypatch.setattr(fork_server, "BIRTH_SECONDS", 0.05)
    os.kill(newborn.process.pid, signal.SIGSTOP)
    newborn.watch(loop)
    turn(loop, 0.5)

    assert newborn.calls == ["dead"]


def test_a_process_that_is_discarded_is_collected_even_if_it_is_suspended(loop, newborn):
    os.kill(newborn.process.pid, signal.SIGSTOP)
    family = Family()
    family.add_helper(newborn.process.pid)

    discard(loop, family, newborn.leader)
    turn(loop, 0.5)

    assert not Path(f"/proc/{newborn.process.pid}").exists()


class Owner:
    """Writes down what it is told of a fork server."""

    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda *_: self.told.append(name)


@pytest.fixture
def server(loop, monkeypatch):
    """A fork server that does nothing by itself; its socket is played by the test."""
    monkeypatch.setattr(fork_server, "CHILD", Path(__file__).with_name("does_nothing.py"))
    made = ForkServer(loop, Family(), Owner(), dict(os.environ), 0o022)
    yield made
    made.close()


def play(server, message):
    server._take_in(orders.json.dumps(message).encode())


def test_a_fork_server_that_is_closed_takes_those_along_that_it_was_bearing(loop, server, newborn):
    server._ordered[1] = newborn.leader.ends
    play(server, {"order": 1, "pid": newborn.process.pid})
    assert server.coming == 1

    newborn.say_born()
    server.close()
    turn(loop, 0.5)

    assert server.coming == 0
    assert server._owner.told == []
    assert not Path(f"/proc/{newborn.process.pid}").exists()


def test_a_fork_server_that_is_closed_says_nothing_any_more(loop, server):
    play(server, {"ready": ["numpy"]})
    play(server, {"refused": "it has threads"})
    server.close()
    server.close()
    turn(loop)

    assert server._owner.told == []


def test_a_fork_server_that_dies_is_told_once_and_takes_its_orders_along(loop, server):
    server.order()
    os.kill(server.pid, signal.SIGKILL)
    turn(loop, 0.3)
    server.close()

    assert server._owner.told == ["on_gone"]
    assert server.coming == 0


@pytest.mark.parametrize("harm", [{"python": "no\0thing"}, {"environment": {"A": "no\0thing"}}])
def test_a_script_whose_process_cannot_even_be_described_gets_an_answer(loop, harm):
    pool = Pool(loop, Family(), "host", umask=0o022, size=NO_FORK_SERVER)
    answers = []
    wish = {"python": None, "environment": dict(os.environ), **harm}

    pool.take("/x.py", wish["python"], wish["environment"], answers.append, answers.append)

    assert [type(each) for each in answers] == [ValueError]


def test_an_empty_packet_is_not_the_end_while_others_follow():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        theirs.send(b"")
        theirs.send(b"the honest end")
        theirs.close()

        assert (ours.recv(99), hung_up(ours)) == (b"", False)
        assert (ours.recv(99), ours.recv(99), hung_up(ours)) == (b"the honest end", b"", True)
