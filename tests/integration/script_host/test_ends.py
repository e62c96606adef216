"""How scripts end, and what is told of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from ska_oso_activity.domain.errors import Reason
from tests.integration.script_host.house import MISBEHAVING, is_alive

WAY = ["IDLE", "LOADING", "READY", "RUNNING"]


def test_a_script_that_returns_is_complete_with_its_result(house, write_script):
    path = write_script("def main(x, *, y): return {'sum': x + y}")

    procedure_id = house.launch(path, args=[1], kwargs={"y": 2})
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.result, end.exit_code) == ("COMPLETE", {"sum": 3}, 0)
    assert (end.reason, end.error, end.stacktrace, end.signal, end.message) == ((None,) * 4 + ("",))
    assert house.heard.states(procedure_id) == WAY


def test_a_result_that_is_not_json_is_null_and_the_message_says_so(house, write_script):
    end = house.run(write_script("def main(): return {1, 2}"))

    assert (end.state, end.result) == ("COMPLETE", None)
    assert "not JSON" in end.message
    assert "set is not JSON serializable" in end.message


def test_a_result_of_nan_is_not_json(house, write_script):
    end = house.run(write_script("def main(): return [float('nan')]"))

    assert (end.state, end.result) == ("COMPLETE", None)
    assert "not JSON" in end.message


def test_a_result_of_a_megabyte_arrives_and_a_larger_one_is_null(house, write_script):
    path = write_script("def main(size): return 'x' * (size - 2)")

    fits, too_large = house.run(path, args=[1024 * 1024]), house.run(path, args=[1024 * 1024 + 1])

    assert len(fits.result) == 1024 * 1024 - 2
    assert (too_large.state, too_large.result) == ("COMPLETE", None)
    assert "1048577 bytes" in too_large.message


def test_an_exception_is_told_with_the_scripts_frames_alone(house):
    end = house.misbehave("raises")

    assert (end.state, end.reason) == ("FAILED", Reason.SCRIPT_ERROR)
    assert (end.error, end.exit_code) == ("ValueError: the beam is gone", 1)
    lines = end.stacktrace.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{MISBEHAVING}/raises.py", line 5, in main')
    assert "raise ValueError" in end.stacktrace
    assert "script_host" not in end.stacktrace


def test_an_exception_in_init_is_told(house, write_script):
    end = house.run(write_script("def init(): 1 / 0\ndef main(): pass"))

    assert (end.reason, end.error) == (
        Reason.SCRIPT_ERROR,
        "ZeroDivisionError: division by zero",
    )


def test_an_exception_that_cannot_be_printed_is_told_by_name(house):
    end = house.misbehave("str_raises")

    assert (end.state, end.reason) == ("FAILED", Reason.SCRIPT_ERROR)
    assert end.error.startswith("Unspeakable: ")


def test_long_texts_are_cut_in_the_middle(house):
    end = house.misbehave("raises_at_length")

    assert len(end.error) <= 4096
    assert end.error.startswith("ValueError: xxx")
    assert len(end.stacktrace) <= 64 * 1024
    assert end.stacktrace.startswith("Traceback")
    assert end.stacktrace.endswith("xxx\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def main(:", "SyntaxError"),
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("main = 5", "nothing to start"),
        ("def init(): pass", "nothing to start"),
    ],
)
def test_what_goes_wrong_while_loading_is_a_load_error(house, write_script, text, error):
    end = house.run(write_script(text))

    assert (end.state, end.reason) == ("FAILED", Reason.SCRIPT_LOAD_ERROR)
    assert error in end.error


def test_a_missing_file_is_a_load_error(house, tmp_path):
    end = house.run(tmp_path / "nowhere.py")

    assert (end.state, end.reason) == ("FAILED", Reason.SCRIPT_LOAD_ERROR)
    assert "FileNotFoundError" in end.error


@pytest.mark.parametrize(
    ("name", "args", "error", "code"),
    [
        ("exits_in_init", [], "the script called sys.exit(0)", 0),
        ("exits_in_main", [0], "the script called sys.exit(0)", 0),
        ("exits_in_main", [], "the script called sys.exit()", 0),
        ("exits_in_main", [3], "the script called sys.exit(3)", 3),
        ("exits_in_main", ["no"], "the script called sys.exit('no')", 1),
    ],
)
def test_a_script_that_exits_has_died(house, name, args, error, code):
    end = house.misbehave(name, *args)

    assert (end.state, end.reason) == ("FAILED", Reason.SCRIPT_DIED)
    assert (end.error, end.exit_code) == (error, code)


@pytest.mark.parametrize("code", [0, 7])
def test_os_exit_is_a_death_and_loses_no_output(house, code):
    procedure_id = house.launch(MISBEHAVING / "os_exits.py", args=[code])
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.reason, end.exit_code) == ("FAILED", Reason.SCRIPT_DIED, code)
    assert end.error.startswith(f"exited with code {code} in main, without returning")
    assert house.texts(procedure_id) == ["half a line"]


def test_a_death_while_loading_is_a_death(house):
    end = house.misbehave("dies_at_load")

    assert (end.state, end.reason, end.exit_code) == ("FAILED", Reason.SCRIPT_DIED, 0)
    assert "while it was loaded" in end.error


def test_a_segmentation_fault_is_told_by_its_name_and_loses_no_output(house):
    procedure_id = house.launch(MISBEHAVING / "segfaults.py")
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.reason) == ("FAILED", Reason.SCRIPT_DIED)
    assert (end.signal, end.exit_code) == (signal.SIGSEGV, None)
    assert "killed by signal 11 (SIGSEGV) in main" in end.error
    assert "half a line" in house.texts(procedure_id)
    assert any("segfaults.py" in text for text in house.texts(procedure_id)), "where it was"


def test_a_script_that_kills_itself_is_told_by_the_signal(house):
    end = house.misbehave("kills_itself", signal.SIGKILL)

    assert (end.state, end.reason) == ("FAILED", Reason.SCRIPT_DIED)
    assert end.error == "killed by signal 9 (SIGKILL) in main"


def test_a_kill_from_outside_is_told_at_once(house):
    procedure_id = house.launch(MISBEHAVING / "sleeps.py", function=None)
    pid = house.heard.wait_state(procedure_id, "READY")

    os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    heard = house.heard.wait("end", procedure_id)

    assert heard.value.error == "killed by signal 9 (SIGKILL) while it waited to be started"
    assert heard.at - killed_at < 2.0


def test_what_main_returned_does_not_count_if_the_process_then_dies(house, write_script):
    end = house.run(write_script("import atexit, os\ndef main(): atexit.register(os._exit, 4)"))

    assert (end.state, end.reason, end.exit_code) == ("FAILED", Reason.SCRIPT_DIED, 4)
    assert "after main had returned" in end.error


def test_threads_have_the_grace_to_end_after_main(house):
    procedure_id = house.launch(MISBEHAVING / "leaves_thread.py", args=[0.3], grace=10.0)
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.result, end.message) == ("COMPLETE", "main is done", "")
    assert house.texts(procedure_id) == ["at exit"]


def test_threads_that_go_on_are_cut_and_the_script_is_complete(house):
    end = house.misbehave("leaves_thread", 1000, grace=0.3)

    assert (end.state, end.result) == ("COMPLETE", "main is done")
    assert "still running after main had returned" in end.message


def test_a_child_left_behind_is_gone_before_the_end_is_told(house):
    end = house.misbehave("leaves_child")

    assert end.state == "COMPLETE"
    assert not is_alive(end.result)


@pytest.mark.parametrize("forget_environment", [False, True])
@pytest.mark.parametrize("then", ["return", "die"])
def test_a_daemon_is_gone_before_the_end_is_told(house, tmp_path, then, forget_environment):
    pid_file = tmp_path / "daemon.pid"
    kwargs = {"forget_environment": forget_environment, "then": then}

    end = house.misbehave("daemonises", str(pid_file), kwargs=kwargs)

    assert end.state == ("COMPLETE" if then == "return" else "FAILED")
    assert not is_alive(int(pid_file.read_text()))


def test_forged_messages_mean_nothing(house):
    end = house.misbehave("forges")

    assert (end.state, end.error) == ("FAILED", "RuntimeError: the honest end")


def test_a_script_may_close_its_stdout(house):
    procedure_id = house.launch(MISBEHAVING / "closes_stdout.py")
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.result) == ("COMPLETE", "still here")
    assert house.texts(procedure_id) == ["before"]


def test_a_script_that_closes_every_descriptor_has_died_for_us(house):
    end = house.misbehave("closes_everything")

    assert (end.state, end.reason) == ("FAILED", Reason.SCRIPT_DIED)


def test_a_copy_of_the_script_does_not_speak_for_it(house):
    end = house.misbehave("forks_and_returns")

    assert (end.state, end.result) == ("COMPLETE", "parent")


def test_an_interpreter_that_is_not_there_is_an_environment_error(house, write_script):
    path = write_script("def main(): pass")

    end = house.run(path, python="/nowhere/bin/python")

    assert (end.state, end.reason) == ("FAILED", Reason.ENVIRONMENT_ERROR)
    assert "/nowhere/bin/python" in end.error


def test_a_script_runs_in_an_environment_without_our_package(house, write_script, tmp_path):
    subprocess.run(["python3", "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    text = """
        import sys
        from ska_oso_activity import script
        def main():
            script.announce("from the other environment")
            return sys.prefix
    """

    procedure_id = house.launch(write_script(text), python=python)
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.result) == ("COMPLETE", str(tmp_path / "venv"))
    assert house.heard.of(procedure_id, "message") == [("message", "from the other environment")]
