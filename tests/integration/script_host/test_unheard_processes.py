"""A process that is killed before it loads its script is replaced; afterwards none ever is."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time

import pytest

from ska_oso_activity.domain.errors import Reason
from ska_oso_activity.script_host.channels import open_channels
from ska_oso_activity.script_host.leader import Leader
from tests.integration.script_host.house import wait_until

COUNTS = """
    from pathlib import Path
    LOADED = Path(__file__).with_name("loaded").open("a").write("x")
    def main(value):
        Path(__file__).with_name("entered").open("a").write("x")
        return value
"""


@pytest.fixture
def deaf_house(make_house):
    """Makes a host with so many processes that wait, suspended, and a fork server that hangs."""

    def make(warm):
        house = make_house(warm=warm)
        house.wait_warm(warm)
        house.freeze_fork_server()
        return house

    return make


def processes(house, procedure_id):
    """The processes that a script was given, in order."""
    log = (house.directory / "host.log").read_text()
    return [int(pid) for pid in re.findall(rf"procedure {procedure_id}: .* in process (\d+)", log)]


def kill_nth(house, procedure_id, number):
    wait_until(lambda: len(processes(house, procedure_id)) >= number, "the next process")
    os.kill(processes(house, procedure_id)[number - 1], signal.SIGKILL)


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_script_whose_process_is_killed_before_it_looks_gets_another(
    deaf_house, write_script, deaths
):
    house = deaf_house(deaths)  # after them comes a fresh interpreter
    path = write_script(COUNTS)

    procedure_id = house.launch(path, args=["ran"])
    for number in range(deaths):
        kill_nth(house, procedure_id, number + 1)
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.result) == ("COMPLETE", "ran")
    assert len(processes(house, procedure_id)) == deaths + 1
    assert house.heard.states(procedure_id) == ["IDLE", "LOADING", "READY", "RUNNING"]
    assert path.with_name("loaded").read_text() == path.with_name("entered").read_text() == "x"
    assert list((house.directory / "leaders").iterdir()) == []


def test_after_three_processes_it_has_failed(deaf_house, write_script):
    house = deaf_house(3)
    path = write_script(COUNTS)

    procedure_id = house.launch(path, args=["ran"])
    for number in range(3):
        kill_nth(house, procedure_id, number + 1)
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.reason) == ("FAILED", Reason.SCRIPT_DIED)
    assert end.error == (
        "killed by signal 9 (SIGKILL) before it was loaded, as were 2 other processes"
    )
    assert not path.with_name("loaded").exists()


def test_a_stop_between_two_processes_is_not_lost(deaf_house, write_script):
    house = deaf_house(1)
    path = write_script(COUNTS)

    os.kill(house.pid, signal.SIGSTOP)  # it then finds all three at once
    procedure_id = house.launch(path, args=["ran"])
    os.kill(house.waiting()[0], signal.SIGKILL)
    house.client.stop(procedure_id, 3.0)
    os.kill(house.pid, signal.SIGCONT)
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.reason) == ("STOPPED", Reason.STOPPED_BY_REQUEST)
    assert not path.with_name("loaded").exists()


def test_a_stop_of_a_process_that_was_killed_unheard_needs_no_other(deaf_house, write_script):
    house = deaf_house(1)

    procedure_id = house.launch(write_script(COUNTS), args=["ran"])
    wait_until(lambda: processes(house, procedure_id), "its process")
    house.client.stop(procedure_id, 30.0)
    wait_until(lambda: "is asked to stop" in (house.directory / "host.log").read_text(), "the stop")
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.reason) == ("STOPPED", Reason.STOPPED_BY_REQUEST)
    assert len(processes(house, procedure_id)) == 1


@pytest.mark.parametrize("when", ["loading", "in main"])
def test_a_script_that_was_begun_is_never_begun_again(house, write_script, when):
    path = write_script(
        """
        import os, signal
        from pathlib import Path
        def die(): os.kill(os.getpid(), signal.SIGKILL)
        Path(__file__).with_name("loaded").open("a").write("x")
        def main(when):
            die()
        if Path(__file__).with_name("die").exists():
            die()
        """
    )
    if when == "loading":
        path.with_name("die").touch()

    end = house.run(path, args=[when])

    assert end.state == "FAILED"
    assert path.with_name("loaded").read_text() == "x"


def test_a_process_that_cannot_say_that_it_loads_a_script_does_not(house, write_script):
    # The host would take it for unheard, and have the script run a second time.
    from ska_oso_activity.script_host.child.channel import Channel
    from ska_oso_activity.script_host.child.interrupts import Interrupts
    from ska_oso_activity.script_host.child.run import run_script

    path = write_script(COUNTS)

    class Cut(Channel):
        def __init__(self):
            self._lock, self._token, self._socket = __import__("threading").RLock(), b"", self
            self._owner = os.getpid()

        def send(self, *_args, **_fields):
            raise OSError("nobody is there")

    child = os.fork()
    if child == 0:
        order = {"procedure_id": 1, "script_path": str(path), "joins_states": True}
        try:
            run_script(Cut(), order, Interrupts(), os.getppid())
        except OSError:
            os._exit(7)
        os._exit(0)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 7
    assert not path.with_name("loaded").exists()


# --- What else can go wrong on the way


@pytest.mark.parametrize("warm", [2, -1])
def test_a_script_that_cannot_be_launched_has_failed_and_the_host_can_end(
    make_house, write_script, warm
):
    house = make_house(warm=warm)
    path = write_script("def main(): return 'ran'")

    end = house.run(path, environment={"ANY": "a null: \0"})

    assert end.state == "FAILED"
    assert house.run(path).result == "ran"
    os.kill(house.pid, signal.SIGTERM)
    house.heard.wait("lost")
    house.wait_for_host(2)


def test_a_disk_that_takes_no_notes_costs_no_script(make_house, write_script):
    house = make_house()
    leaders = house.directory / "leaders"
    leaders.rmdir()
    path = write_script("def main(): return 'ran'")

    ends = [house.run(path) for _ in range(2)]

    assert [end.result for end in ends] == ["ran", "ran"]
    leaders.mkdir(mode=0o700)


def test_a_stop_that_comes_while_a_process_is_getting_ready_is_heard(write_script):
    # What it does ahead of its script may swallow the interrupt, as any Python code may.
    from ska_oso_activity.script_host.child import run

    path = write_script(COUNTS)
    ours, theirs = open_channels()

    def swallow():
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)

    child = os.fork()
    if child == 0:
        run.main(theirs.control, theirs.packets, os.getppid(), while_waiting=swallow)
    theirs.close()
    leader = Leader(child, ours, lambda: 0)
    leader.greet()
    _, status = os.waitpid(child, 0)
    leader.close()

    assert os.waitstatus_to_exitcode(status) == run.INTERRUPTED
    assert not path.with_name("loaded").exists()
