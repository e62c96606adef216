"""What /proc says, and who descends from whom."""

from __future__ import annotations

import os
import subprocess
from subprocess import PIPE

import pytest

from ska_oso_activity.script_host import procfs
from ska_oso_activity.script_host.procfs import Process, descendants, parse_stat

REST = "1 2 3 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 {} 1000 100 18446744073709551615"


@pytest.mark.parametrize("name", ["cat", "a b", "a) S 9 9 9 (b", ")", "a\nb"])
def test_a_stat_line_is_read_whatever_the_name_holds(name):
    found = parse_stat(f"42 ({name}) S {REST.format(777)}\n")

    assert found == Process(pid=42, state="S", parent=1, group=2, session=3, started=777)
    assert found.alive


@pytest.mark.parametrize("state", ["Z", "X"])
def test_a_zombie_is_not_alive(state):
    assert not parse_stat(f"42 (cat) {state} {REST.format(1)}").alive


def test_our_own_entries_are_read():
    own = procfs.process(os.getpid())

    assert own is not None
    assert own.parent == os.getppid()
    assert own.session == os.getsid(0)
    assert own.pid in procfs.snapshot()
    assert own.pid in descendants([own.parent], procfs.snapshot())


def test_there_is_nothing_to_say_of_a_process_that_is_not_there():
    with subprocess.Popen(["true"]) as ended:
        ended.wait()

    assert procfs.process(ended.pid) is None
    assert procfs.environment_value(ended.pid, "PATH") is None


def test_a_variable_of_a_process_is_found():
    environment = {"MARKED": "no", "MARK": "a=b:7"}
    with subprocess.Popen(["cat"], env=environment, stdin=PIPE, stdout=PIPE) as process:
        # It may not show its environment before it runs.
        assert process.stdin
        assert process.stdout
        os.write(process.stdin.fileno(), b"x")
        os.read(process.stdout.fileno(), 1)
        value = procfs.environment_value(process.pid, "MARK")
        missing = procfs.environment_value(process.pid, "MAR")
        process.kill()

    assert (value, missing) == ("a=b:7", None)


def test_children_are_listed_with_and_without_the_kernels_list(monkeypatch):
    with subprocess.Popen(["sleep", "100"]) as process:
        quick = procfs.own_children()
        monkeypatch.setattr(procfs, "Path", lambda _: procfs.PROC / "nothing")
        slow = procfs.own_children()
        process.kill()

    assert process.pid in quick
    assert process.pid in slow


def test_descendants_are_found_at_any_depth():
    def at(pid, parent):
        return Process(pid, "S", parent, 0, 0, 0)

    processes = {each.pid: each for each in (at(2, 1), at(3, 2), at(4, 3), at(5, 1), at(6, 5))}

    assert descendants([2], processes) == {3, 4}
    assert descendants([2, 5], processes) == {3, 4, 6}
    assert descendants([9], processes) == set()
