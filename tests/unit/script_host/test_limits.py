"""Limits: how they travel, how time is counted, and how a lack of memory is noticed."""

from __future__ import annotations

import os
import subprocess

import pytest

from ska_oso_activity.domain.limits import Limits
from ska_oso_activity.script_host import death, memory
from ska_oso_activity.script_host.loop import Loop, Timer
from ska_oso_activity.script_host.memory import OutOfMemory
from ska_oso_activity.script_host.outcome import Outcome
from ska_oso_activity.script_host.pool import own_modules
from ska_oso_activity.script_host.verdict import Evidence, judge
from ska_oso_activity.script_host.wall_clock import WallClock


def test_limits_are_read_as_they_were_sent():
    limits = Limits(address_space=5, cpu_seconds=1.5, wall_seconds=2, user="nobody")

    assert Limits.from_json(limits.to_json()) == limits


def test_limits_of_another_release_are_read():
    assert Limits.from_json(None) == Limits()
    assert Limits.from_json({"cpu_seconds": 3, "colour": "blue"}) == Limits(cpu_seconds=3.0)


@pytest.mark.parametrize("value", [[1], {"cpu_seconds": "much"}, {"open_files": None}])
def test_what_is_no_limit_is_refused(value):
    with pytest.raises((TypeError, ValueError)):
        Limits.from_json(value)


# --- Time


class FakeTime:
    """Stands for the loop, and for the module `time` with which it agrees."""

    def __init__(self):
        self.now = 100.0
        self.timers = []

    def monotonic(self):
        return self.now

    def call_later(self, delay, callback):
        self.timers.append(Timer(self.now + delay, callback))
        return self.timers[-1]

    def pass_by(self, seconds):
        self.now += seconds
        for timer in self.timers:
            if timer.callback and timer.when <= self.now:
                callback, timer.callback = timer.callback, None
                callback()


@pytest.fixture
def fake_time(monkeypatch):
    fake = FakeTime()
    monkeypatch.setattr("ska_oso_activity.script_host.wall_clock.time", fake)
    return fake


def test_the_clock_counts_only_while_it_runs(fake_time):
    over = []
    clock = WallClock(fake_time, 10.0, lambda: over.append(fake_time.now))

    fake_time.pass_by(50)  # it stands
    clock.run()
    fake_time.pass_by(6)
    clock.pause()
    fake_time.pass_by(50)
    clock.run()
    clock.run()
    fake_time.pass_by(3.9)
    assert over == []
    fake_time.pass_by(0.2)
    fake_time.pass_by(50)
    clock.run()
    fake_time.pass_by(50)

    assert len(over) == 1


def test_a_clock_without_a_limit_never_calls(fake_time):
    clock = WallClock(fake_time, 0, pytest.fail)

    clock.run()
    fake_time.pass_by(1e9)


# --- What is told


def died(code, limits=None, **more):
    return judge(Evidence("RUNNING", None, code, limits=limits or Limits(), **more))


@pytest.mark.parametrize(
    ("code", "more", "text"),
    [
        (-24, {}, "(SIGXCPU) in main: it had used up its 2 s of processor time"),
        (-9, {"cpu_seconds": 4.01}, "(SIGKILL) in main: it had used up its 2 s of processor time"),
        (-9, {"cpu_seconds": 1.0}, "(SIGKILL) in main"),
        (-9, {"out_of_memory": True}, "in main: by the kernel, it seems, which was out of memory"),
        (-11, {"out_of_memory": True}, "(SIGSEGV) in main"),
    ],
)
def test_the_cause_of_a_death_is_told_where_it_is_known(code, more, text):
    assert died(code, Limits(cpu_seconds=2.0), **more)["error"].endswith(text)


def test_without_a_limit_processor_time_is_no_cause():
    assert died(-24)["error"] == "killed by signal 24 (SIGXCPU) in main"


@pytest.mark.parametrize(
    ("outcome", "code", "state", "reason"),
    [
        (None, -9, "FAILED", "TIMEOUT"),
        ({"outcome": Outcome.RAISED, "interrupted": True}, 1, "FAILED", "TIMEOUT"),
        ({"outcome": Outcome.EXITED}, 1, "FAILED", "TIMEOUT"),
        ({"outcome": Outcome.RETURNED}, 0, "COMPLETE", None),
        ({"outcome": Outcome.RETURNED}, -15, "COMPLETE", None),
        ({"outcome": Outcome.RAISED, "error": "x"}, 1, "FAILED", "SCRIPT_ERROR"),
    ],
)
def test_a_script_that_ran_out_of_wall_time_has_a_name(outcome, code, state, reason):
    end = judge(Evidence("RUNNING", outcome, code, limits=Limits(wall_seconds=5), overtime=True))

    assert (end["state"], end["reason"]) == (state, reason)
    if reason == "TIMEOUT":
        assert "5 s of wall time" in end["error"]


def test_a_script_that_could_not_be_confined_is_an_environment_error():
    outcome = {"outcome": Outcome.UNCONFINED, "error": "there is no user x"}

    end = judge(Evidence("CREATING", outcome, 1))

    assert (end["reason"], end["error"]) == ("ENVIRONMENT_ERROR", "there is no user x")


# --- Memory


def test_a_kill_for_want_of_memory_is_noticed_once(tmp_path):
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 1\noom_group_kill 9\n")
    watch = OutOfMemory(lambda: events)
    assert not watch.struck()

    events.write_text("low 0\noom 4\noom_kill 2\noom_group_kill 9\n")

    assert watch.struck()
    assert not watch.struck()
    events.unlink()
    assert not watch.struck()


def test_without_a_counter_nothing_is_noticed():
    assert not OutOfMemory(lambda: None).struck()


def test_this_machine_counts():
    path = memory.find_counter()

    assert path is None or memory.read_count(path) is not None


# --- Others


def test_modules_in_a_folder_are_found_by_the_names_that_import_them(tmp_path):
    for name in ("one.py", "two.cpython-311-x86_64-linux-gnu.so", "three.txt", "four.json", ".py"):
        (tmp_path / name).write_text("")
    for name in ("package", "folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")

    assert own_modules(tmp_path) == {"one", "two", "package"}
    assert own_modules(tmp_path / "nowhere") == set()


@pytest.mark.parametrize("has_pidfd", [True, False])
def test_a_death_is_told_once(monkeypatch, has_pidfd):
    if not has_pidfd:
        monkeypatch.delattr(os, "pidfd_open")
    loop = Loop()
    told = []

    def on_death():
        told.append(process.wait())
        loop.stop()

    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        watch = death.DeathWatch(loop, process.pid, on_death)
        loop.call_later(0.02, process.kill)
        loop.run()
        watch.cancel()

    assert told == [-9]
