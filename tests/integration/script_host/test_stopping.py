"""Stopping scripts: asked, terminated, killed, and gone within the grace and 2 s (promise P7)."""

from __future__ import annotations

import time

import pytest

from ska_oso_activity.domain.errors import Reason
from tests.integration.script_host.house import MISBEHAVING, is_alive

GRACE = 0.6
"""Seconds; short, so that the tests are."""

SLACK = 2.0
"""Seconds that the promise allows on top."""

STUBBORN = [
    ("ignores_signals", "ignoring"),
    ("swallows_everything", "swallowing"),
    ("loops_in_c", "looping"),
    ("suspends_itself", "suspending"),
    ("fork_bomb", "bombing"),
]


def stop_and_time(house, procedure_id, grace=GRACE):
    """Stop and wait: the end, and the seconds it took."""
    began = time.monotonic()
    house.client.stop(procedure_id, grace)
    heard = house.heard.wait("end", procedure_id)
    return heard.value, heard.at - began


@pytest.mark.parametrize(
    ("name", "until"),
    [
        *STUBBORN,
        ("sleeps", "sleeping"),
        ("sleeps_in_init", "sleeping"),
        ("sleeps_at_load", "sleeping"),
        ("fails_when_interrupted", "sleeping"),
        ("returns_when_interrupted", "sleeping"),
    ],
)
def test_every_script_is_stopped_in_time(house, name, until):
    procedure_id = house.launch_misbehaving(name, until=until)

    end, seconds = stop_and_time(house, procedure_id)

    assert (end.state, end.reason) == ("STOPPED", Reason.STOPPED_BY_REQUEST)
    assert seconds < GRACE + SLACK
    assert house.marked() == []


def test_a_script_that_can_be_asked_cleans_up_and_is_stopped_at_once(house):
    procedure_id = house.launch_misbehaving("sleeps", until="sleeping")

    end, seconds = stop_and_time(house, procedure_id, grace=30.0)

    assert end.state == "STOPPED"
    assert house.texts(procedure_id) == ["sleeping", "cleaned up"]
    assert seconds < 10.0


def test_a_script_in_a_c_loop_is_terminated_before_it_is_killed(house, write_script):
    path = write_script(
        """
        import itertools
        def main():
            while True:
                try:
                    print("looping")
                    any(itertools.repeat(False))
                except KeyboardInterrupt:  # it came before the loop in C began
                    pass
        """
    )
    procedure_id = house.launch(path)
    house.wait_line(procedure_id, "looping")

    end, _ = stop_and_time(house, procedure_id)

    assert (end.state, end.signal) == ("STOPPED", 15)


def test_a_script_that_waits_to_be_started_is_stopped(house, write_script):
    procedure_id = house.launch(write_script("def main(): pass"), function=None)
    house.heard.wait_state(procedure_id, "READY")

    end, seconds = stop_and_time(house, procedure_id, grace=30.0)

    assert end.state == "STOPPED"
    assert seconds < 10.0


def test_a_stop_that_comes_with_the_launch_stops(house, write_script):
    procedure_id = house.launch(write_script("def main(): pass"), function=None)

    end, _ = stop_and_time(house, procedure_id)

    assert end.state == "STOPPED"


@pytest.mark.parametrize("forget_environment", [False, True])
def test_a_stop_ends_daemons_too(house, tmp_path, forget_environment):
    pid_file = tmp_path / "daemon.pid"
    kwargs = {"forget_environment": forget_environment, "then": "sleep"}
    procedure_id = house.launch(MISBEHAVING / "daemonises.py", args=[str(pid_file)], kwargs=kwargs)
    while not pid_file.exists() or not pid_file.read_text():
        time.sleep(0.01)

    end, seconds = stop_and_time(house, procedure_id)

    assert end.state == "STOPPED"
    assert seconds < GRACE + SLACK
    assert not is_alive(int(pid_file.read_text()))


def test_a_second_stop_joins_the_first(house):
    procedure_id = house.launch_misbehaving("ignores_signals", until="ignoring")
    began = time.monotonic()

    house.client.stop(procedure_id, GRACE)
    house.client.stop(procedure_id, 100.0)
    heard = house.heard.wait("end", procedure_id)

    assert heard.value.state == "STOPPED"
    assert heard.at - began < GRACE + SLACK


def test_a_script_that_has_finished_is_complete_though_its_threads_are_stopped(house):
    procedure_id = house.launch(MISBEHAVING / "leaves_thread.py", args=[1000], grace=100.0)
    house.heard.wait_state(procedure_id, "RUNNING")
    time.sleep(0.1)  # there is no event of main's return while the threads go on

    end, seconds = stop_and_time(house, procedure_id)

    assert (end.state, end.result) == ("COMPLETE", "main is done")
    assert seconds < GRACE + SLACK


def test_a_script_that_handles_the_interrupt_itself_and_finishes_is_complete(house, write_script):
    path = write_script(
        """
        import signal, time
        def main():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            print("ignoring")
            time.sleep(0.3)
            return "finished"
        """
    )
    procedure_id = house.launch(path)
    house.wait_line(procedure_id, "ignoring")

    end, _ = stop_and_time(house, procedure_id, grace=30.0)

    assert (end.state, end.result) == ("COMPLETE", "finished")


def test_a_stop_of_what_nobody_knows_is_ignored(house, write_script):
    house.client.stop(999_999, GRACE)

    assert house.run(write_script("def main(): pass")).state == "COMPLETE"


def test_racing_stops_and_ends_give_one_end_each(house, write_script):
    path = write_script("import time\ndef main(seconds): time.sleep(seconds)")
    ids = [house.launch(path, args=[0.002 * number]) for number in range(8)]
    for procedure_id in ids:
        house.heard.wait_state(procedure_id, "RUNNING")
        house.client.stop(procedure_id, GRACE)

    ends = {procedure_id: house.heard.wait_end(procedure_id) for procedure_id in ids}

    assert {end.state for end in ends.values()} <= {"COMPLETE", "STOPPED"}
    assert all(len(house.heard.of(procedure_id, "end")) == 1 for procedure_id in ids)


def test_an_asynchronous_script_cleans_up_and_is_stopped(house, write_script):
    path = write_script(
        """
        import asyncio
        async def observe():
            try:
                print("observing")
                await asyncio.sleep(1000)
            finally:
                print("cleaned up")
        def main():
            asyncio.run(observe())
        """
    )
    procedure_id = house.launch(path)
    house.wait_line(procedure_id, "observing")

    end, seconds = stop_and_time(house, procedure_id, grace=30.0)

    assert end.state == "STOPPED"
    assert house.texts(procedure_id) == ["observing", "cleaned up"]
    assert seconds < 10.0


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.02, 0.03, 0.05])
def test_a_stop_during_the_launch_leaves_no_trace_in_the_output(house, write_script, delay):
    procedure_id = house.launch(write_script("def main(): pass"), function=None)
    time.sleep(delay)

    # Python may just have looked for signals, before it waits for long: then it is terminated.
    end, _ = stop_and_time(house, procedure_id, grace=9.0)

    assert end.state == "STOPPED"
    assert house.texts(procedure_id) == []
