"""The verdict: what a script's end is called, for every way to end."""

from __future__ import annotations

import pytest

from ska_oso_activity.script_host.outcome import Outcome
from ska_oso_activity.script_host.verdict import Evidence, judge

RETURNED = {"outcome": Outcome.RETURNED, "result": 5}
RAISED = {"outcome": Outcome.RAISED, "error": "ValueError: no"}
EXITED = {"outcome": Outcome.EXITED, "error": "the script called sys.exit(0)"}
UNLOADABLE = {"outcome": Outcome.UNLOADABLE, "error": "SyntaxError: no"}


def interrupted(outcome):
    return outcome | {"interrupted": True}


COMPLETE = ("COMPLETE", None)
ERROR = ("FAILED", "SCRIPT_ERROR")
DIED = ("FAILED", "SCRIPT_DIED")
LOAD_ERROR = ("FAILED", "SCRIPT_LOAD_ERROR")
STOPPED = ("STOPPED", "STOPPED_BY_REQUEST")


@pytest.mark.parametrize(
    ("outcome", "returncode", "left_alone", "stopped"),
    [
        # what it said, how it ended; what that is called if left alone, and if it was to stop
        (RETURNED, 0, COMPLETE, COMPLETE),
        (RETURNED, -15, DIED, COMPLETE),  # stopped: that was us, in its threads
        (RETURNED, 3, DIED, COMPLETE),
        (RAISED, 1, ERROR, ERROR),
        (RAISED, -11, ERROR, ERROR),
        (EXITED, 0, DIED, STOPPED),
        (UNLOADABLE, 1, LOAD_ERROR, LOAD_ERROR),
        (None, 0, DIED, STOPPED),
        (None, -2, DIED, STOPPED),
        (None, -9, DIED, STOPPED),
        # a SIGINT reached it
        (interrupted(RETURNED), 0, COMPLETE, STOPPED),
        (interrupted(RAISED), 1, ERROR, STOPPED),
        (interrupted(EXITED), 0, DIED, STOPPED),
        (interrupted(UNLOADABLE), 1, LOAD_ERROR, STOPPED),
    ],
)
def test_every_end_has_its_name(outcome, returncode, left_alone, stopped):
    def name(**more):
        end = judge(Evidence("RUNNING", outcome, returncode, **more))
        return end["state"], end["reason"]

    assert name() == left_alone
    assert name(stopped=True) == stopped


@pytest.mark.parametrize("host_ends", [True, False])
def test_a_stop_that_no_client_asked_for_says_who_did(host_ends):
    end = judge(Evidence("RUNNING", None, -2, stopped=True, host_ends=host_ends))

    assert end["message"] == ("the script host was asked to end" if host_ends else "")


def test_a_script_that_we_ended_after_main_is_complete_and_says_so():
    end = judge(Evidence("RUNNING", RETURNED, -15, hurried=True))

    assert (end["state"], end["result"], end["signal"]) == ("COMPLETE", 5, 15)
    assert "threads" in end["message"]


@pytest.mark.parametrize(
    ("returncode", "exit_code", "signal", "text"),
    [
        (0, 0, None, "exited with code 0 in main, without returning from it (os._exit?)"),
        (7, 7, None, "exited with code 7 in main, without returning from it (os._exit?)"),
        (-11, None, 11, "killed by signal 11 (SIGSEGV) in main"),
        (-9, None, 9, "killed by signal 9 (SIGKILL) in main"),
        (-40, None, 40, "killed by signal 40 (real-time) in main"),
    ],
)
def test_a_death_is_described(returncode, exit_code, signal, text):
    end = judge(Evidence("RUNNING", None, returncode))

    assert (end["exit_code"], end["signal"], end["error"]) == (exit_code, signal, text)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("CREATING", "before it was loaded"),
        ("LOADING", "while it was loaded"),
        ("INITIALISING", "in init"),
        ("READY", "while it waited to be started"),
    ],
)
def test_a_death_before_main_is_placed(state, text):
    assert text in judge(Evidence(state, None, -9))["error"]


def test_a_process_that_never_came_up_is_not_blamed_on_the_script():
    end = judge(Evidence("CREATING", None, 1))

    assert end["error"] == "exited with code 1 before it was loaded"
