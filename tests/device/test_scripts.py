"""What scripts are given, what they may do, and how they end."""

import hashlib
import json
import os
import signal
import stat
from pathlib import Path

import psutil
import pytest

from tests.device.client import Client, Recorder, until
from tests.device.stack import Stack

FAILED_IN_MAIN = ["REQUESTED", "PREPARING", "READY", "RUNNING", "FAILED"]
FAILED_BEFORE = ["REQUESTED", "PREPARING", "FAILED"]
SUCCESS = ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]


def kwargs(**given):
    return {"kwargs": given}


# --- Arguments


def test_the_requests_arguments_are_laid_over_the_blocks(stack: Stack, client: Client):
    sbd_id = stack.block_of(
        "echo.py",
        init={"args": ["block"], "kwargs": {"a": 1, "b": 1}},
        main={"args": [1, 2], "kwargs": {"deep": {"x": 1}, "kept": True}},
    )

    run = client.run(
        sbd_id,
        script_args={
            "init": {"args": [], "kwargs": {"b": 2}},
            "main": {"args": ["request"], "kwargs": {"deep": {"y": 2}}},
        },
    )

    given = run.activity["result"]
    assert given["init"] == {"args": ["block"], "kwargs": {"a": 1, "b": 2}}
    assert given["main"]["args"] == ["request"]
    assert set(given["main"]["kwargs"]) == {"deep", "kept", "sb_json", "sbi_id"}
    assert given["main"]["kwargs"]["deep"] == {"y": 2}
    assert given["main"]["kwargs"]["kept"] is True
    assert given["main"]["kwargs"]["sbi_id"] == run.activity["sbi_id"] is not None
    assert run.activity["script_args"]["init"] == {"args": ["block"], "kwargs": {"a": 1, "b": 2}}


@pytest.mark.parametrize(
    "shape", [{}, {"main": {}}, {"main": {"args": []}}, {"main": {"kwargs": {}}}, None]
)
def test_any_part_of_function_args_may_be_missing(stack: Stack, client: Client, shape: dict | None):
    activity = stack.activity("echo.py")
    activity.pop("function_args") if shape is None else activity.update(function_args=shape)

    run = client.run(stack.block({"observe": activity}))

    assert run.states == SUCCESS, run.activity["error"]
    assert run.activity["result"]["init"] == {"args": [], "kwargs": {}}


def test_nothing_is_given_to_a_script_that_takes_nothing(stack: Stack, client: Client):
    run = client.run(stack.block_of("takes_nothing.py"), subarray_id=1)

    assert (run.states, run.activity["result"]) == (SUCCESS, "nothing taken")


def test_each_of_our_arguments_is_given_if_it_is_taken(stack: Stack, client: Client):
    takes_id = client.run(stack.block_of("takes_sbi_id.py"))
    takes_file = client.run(stack.block_of("reads_block.py"))

    assert takes_id.activity["result"] == takes_id.activity["sbi_id"] is not None
    assert takes_file.states == SUCCESS


def test_run_is_started_where_there_is_no_main(stack: Stack, client: Client):
    under_main = client.run(stack.block_of("runs.py", main={"args": [1]}, run={"args": [2]}))
    under_run = client.run(stack.block_of("runs.py", run={"args": [2]}))
    both = client.run(stack.block_of("has_both.py", run={"args": [2]}))

    assert under_main.activity["result"]["args"] == [1]
    assert under_run.activity["result"]["args"] == [2]
    assert set(under_run.activity["result"]["kwargs"]) == {"sb_json", "sbi_id"}
    assert both.activity["result"] == "main"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("subarray_in_init.py", {"init": 5, "asked": 5}),
        ("subarray_in_main.py", {"main": 5, "asked": 5}),
    ],
)
def test_the_lanes_number_is_given_where_it_is_wanted(
    stack: Stack, client: Client, script: str, expected: dict
):
    run = client.run(stack.block_of(script), subarray_id=5)

    assert (run.states, run.activity["result"]) == (SUCCESS, expected)


def test_a_subarray_in_main_has_no_value_without_a_lane(stack: Stack, client: Client):
    run = client.run(stack.block_of("subarray_in_main.py"))

    assert run.activity["result"] == {"main": None, "asked": None}


def test_init_that_wants_a_subarray_fails_without_a_lane(stack: Stack, client: Client):
    run = client.run(stack.block_of("subarray_in_init.py"))

    assert (run.states[-1], run.activity["reason"]) == ("FAILED", "SCRIPT_ERROR")
    assert "subarray_id" in run.activity["error"]


def test_the_lanes_number_replaces_the_blocks(stack: Stack, client: Client):
    sbd_id = stack.block_of(
        "echo.py", init=kwargs(subarray_id=1), main={"args": [], "kwargs": {"subarray_id": 1}}
    )

    run = client.run(sbd_id, subarray_id=9)

    assert run.activity["subarray_id"] == 9
    assert run.activity["result"]["init"]["kwargs"]["subarray_id"] == 9
    assert run.activity["result"]["main"]["kwargs"]["subarray_id"] == 9


def test_main_is_looked_up_after_init(stack: Stack, client: Client):
    run = client.run(stack.block_of("rebinds.py"), subarray_id=6)

    assert run.states == SUCCESS, run.activity["stacktrace"]
    assert run.activity["result"] == {
        "subarray_id": 6, "has_block": True, "sbi_id": run.activity["sbi_id"]
    }  # fmt: skip


# --- The block


def test_the_script_reads_the_block_byte_for_byte(stack: Stack, client: Client):
    sbd_id = "sbd-bytes-20261124-00001"
    content = (
        '{ "sbd_id" :"sbd-bytes-20261124-00001",\r\n\t"telescope":"ska_mid", "metadata":'
        '{"version":3},"note":"αλ 🔭 \\u03b1 \\/ é", "number": 1.50e+10, "activities": '
        f'{{"observe": {{"kind": "filesystem", "path": "{stack.script("reads_block.py")}"}}}}}}\n\n'
    ).encode()
    stack.write_block(sbd_id, content, version=3)

    run = client.run(sbd_id)

    result = run.activity["result"]
    assert result["sha256"] == hashlib.sha256(content).hexdigest()
    name = Path(result["path"]).name
    stem, version, timestamp = name.removesuffix(".json").rsplit("-", 2)
    assert (stem, version) == (sbd_id, "3")
    assert len(timestamp) == len("20261124T221003123456Z")
    assert timestamp[8] == "T"
    assert timestamp.endswith("Z")


def test_the_blocks_file_is_the_script_users_alone(stack: Stack, client: Client):
    result = client.run(stack.block_of("reads_block.py")).activity["result"]

    assert result["owner"]
    assert result["mode"] & 0o077 == 0
    assert result["folder_mode"] & (stat.S_IWGRP | stat.S_IWOTH) == 0


def test_a_draft_is_run_from_its_file(stack: Stack, client: Client):
    activities = {"observe": stack.activity("echo.py")}
    path = stack.oda / "a draft.json"
    path.write_text(json.dumps({"telescope": "ska_low", "activities": activities}))

    command_id = client.send(
        "RunActivity", {"sb_uri": f"file://{path}", "activity_name": "observe", "subarray_id": 1}
    )
    run = client.finish(command_id)

    assert run.states == SUCCESS, run.activity["error"]
    assert (run.activity["sbd_id"], run.activity["sbi_id"]) == (None, None)
    given = run.activity["result"]["main"]["kwargs"]
    assert Path(given["sb_json"]).name.startswith("draft-")
    assert given.get("sbi_id") is None


@pytest.mark.parametrize(("telescope", "name"), [("ska_mid", "mid"), ("ska_low", "low")])
def test_the_environment_names_the_blocks_telescope(
    stack: Stack, client: Client, telescope: str, name: str
):
    sbd_id = stack.block({"observe": stack.activity("environment.py")}, telescope=telescope)

    environment = client.run(sbd_id).activity["result"]

    assert name in environment["SKA_TELESCOPE"].lower()
    for variable in (
        "CENTRALNODE_TRL",
        "CENTRALNODE_FQDN",
        "SUBARRAYNODE_TRL_PREFIX",
        "SUBARRAYNODE_FQDN_PREFIX",
    ):
        assert environment[variable].startswith(name)
    assert environment["TANGO_HOST"] == stack.tango_host


# --- Ends


def test_an_exception_is_told_with_its_traceback(stack: Stack, client: Client):
    run = client.run(stack.block_of("raises.py"))

    activity = run.activity
    assert run.states == FAILED_IN_MAIN
    assert (activity["reason"], run.events[-1]["reason"]) == ("SCRIPT_ERROR", "SCRIPT_ERROR")
    assert "ValueError: the beam is gone" in activity["error"]
    assert "in helper" in activity["stacktrace"]
    assert "raises.py" in activity["stacktrace"]
    assert activity["stacktrace"].rstrip().endswith("ValueError: the beam is gone")
    number = activity["activity_id"]
    assert run.result == [
        3,
        f"Activity {number} FAILED: SCRIPT_ERROR: ValueError: the beam is gone",
    ]
    assert run.status == "FAILED"
    assert activity["result"] is None


def test_an_exception_in_init_fails_before_ready(stack: Stack, client: Client):
    run = client.run(stack.block_of("raises_in_init.py"))

    assert (run.states, run.activity["reason"]) == (FAILED_BEFORE, "SCRIPT_ERROR")
    assert "RuntimeError: no init for you: αλ" in run.activity["error"]


@pytest.mark.parametrize(
    ("script", "args", "word"),
    [
        ("exits_in_main.py", [], "exit"),
        ("exits_in_main.py", [0], "0"),
        ("exits_in_main.py", [7], "7"),
        ("exits_in_main.py", ["bad weather"], "bad weather"),
        ("os_exits.py", [0], "0"),
        ("os_exits.py", [9], "9"),
        ("segfaults.py", [], "SEGV"),
        ("kills_itself.py", [int(signal.SIGKILL)], "KILL"),
        ("kills_itself.py", [int(signal.SIGTERM)], "TERM"),
        ("kills_itself.py", [int(signal.SIGABRT)], "ABRT"),
    ],
)
def test_a_script_that_dies_says_how(
    stack: Stack, client: Client, script: str, args: list, word: str
):
    run = client.run(stack.block_of(script, main={"args": args}))

    assert (run.states, run.activity["reason"]) == (FAILED_IN_MAIN, "SCRIPT_DIED")
    assert word in run.activity["error"]
    assert word in run.result[1]


def test_the_last_output_of_a_script_that_died_is_kept(stack: Stack, client: Client):
    assert "half a line" in client.run(stack.block_of("segfaults.py")).output
    assert client.run(stack.block_of("os_exits.py")).output == ["half a line"]


def test_an_exit_in_init_is_a_death_too(stack: Stack, client: Client):
    run = client.run(stack.block_of("exits_in_init.py"))

    assert (run.states, run.activity["reason"]) == (FAILED_BEFORE, "SCRIPT_DIED")


def test_a_script_killed_from_outside_has_died(stack: Stack, client: Client):
    event = client.start(stack.block_of("sleeps.py"))
    pid = client.procedure(event["procedure_id"])["pid"]

    os.kill(pid, signal.SIGKILL)
    run = client.finish(event["command_id"])

    assert (run.states, run.activity["reason"]) == (FAILED_IN_MAIN, "SCRIPT_DIED")
    procedure = client.procedure(event["procedure_id"])
    assert (procedure["signal"], procedure["exit_code"]) == (9, None)


@pytest.mark.parametrize(
    ("script", "reasons"),
    [
        ("imports_nothing.py", {"SCRIPT_LOAD_ERROR"}),
        ("nothing_to_start.py", {"SCRIPT_LOAD_ERROR"}),
        ("raises_at_load.py", {"SCRIPT_LOAD_ERROR"}),
        ("exits_at_load.py", {"SCRIPT_LOAD_ERROR"}),
        ("dies_at_load.py", {"SCRIPT_LOAD_ERROR", "SCRIPT_DIED"}),
    ],
)
def test_anything_while_loading_is_a_load_error(
    stack: Stack, client: Client, script: str, reasons: set
):
    run = client.run(stack.block_of(script))

    assert run.states == FAILED_BEFORE
    assert run.activity["reason"] in reasons
    assert run.activity["error"]


def test_a_syntax_error_is_a_load_error(stack: Stack, client: Client):
    for text in (
        "def main(:\n",
        "def main():\n  return '\udcff'\n".encode("utf-8", "surrogateescape"),
    ):
        path = stack.scripts / "broken.py"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

        run = client.run(stack.block_of(f"file://{path}"))

        assert (run.states, run.activity["reason"]) == (FAILED_BEFORE, "SCRIPT_LOAD_ERROR")


def test_arguments_that_do_not_fit_are_a_script_error(stack: Stack, client: Client):
    run = client.run(stack.block_of("strict_main.py", main=kwargs(no_such=1)))

    assert (run.states[-1], run.activity["reason"]) == ("FAILED", "SCRIPT_ERROR")
    assert "target" in run.activity["error"] or "no_such" in run.activity["error"]


@pytest.mark.parametrize("kind", ["object", "nan", "bytes", "set", "surrogate", "huge"])
def test_what_cannot_be_a_result_is_none_and_the_message_says_so(
    stack: Stack, client: Client, kind: str
):
    run = client.run(stack.block_of("unjsonable.py", main={"args": [kind]}))

    assert run.states == SUCCESS
    if kind != "surrogate":
        assert run.activity["result"] is None
        assert run.activity["message"]
        assert run.events[-1]["message"]


def test_a_large_result_is_returned_whole(stack: Stack, client: Client):
    run = client.run(stack.block_of("returns_much.py", main={"args": [1_000_000]}))

    assert run.activity["result"] == "x" * 1_000_000
    assert run.activity["message"] == ""


def test_threads_have_the_grace_to_end(stack: Stack, client: Client):
    run = client.run(stack.block_of("leaves_thread.py", main={"args": [0.3]}))

    assert (run.states, run.activity["result"]) == (SUCCESS, "main is done")


def test_a_thread_that_never_ends_does_not_hold_the_activity(stack: Stack, client: Client):
    run = client.run(stack.block_of("leaves_thread.py", main={"args": [1000]}))

    assert (run.states, run.activity["result"]) == (SUCCESS, "main is done")


def test_child_processes_are_gone_when_it_has_succeeded(stack: Stack, client: Client):
    run = client.run(stack.block_of("leaves_child.py"))

    assert run.states == SUCCESS
    assert not alive(run.activity["result"])


@pytest.mark.parametrize("forget_environment", [False, True])
@pytest.mark.parametrize("then", ["return", "die"])
def test_a_daemon_is_gone_when_the_activity_is_terminal(
    stack: Stack, client: Client, forget_environment: bool, then: str
):
    pid_file = stack.directory / f"daemon-{then}-{forget_environment}"
    arguments = kwargs(forget_environment=forget_environment, then=then)

    run = client.run(stack.block_of("daemonises.py", main={"args": [str(pid_file)], **arguments}))

    assert run.states[-1] == ("SUCCEEDED" if then == "return" else "FAILED")
    assert not alive(int(pid_file.read_text()))


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("str_raises.py", "SCRIPT_ERROR"),
        ("raises_at_length.py", "SCRIPT_ERROR"),
        ("forges.py", None),
        ("closes_everything.py", None),
        ("closes_stdout.py", None),
        ("forks_and_returns.py", None),
    ],
)
def test_whatever_a_script_does_there_is_one_terminal_event(
    stack: Stack, client: Client, script: str, reason: str | None
):
    run = client.run(stack.block_of(script))
    after = client.run(stack.block_of("takes_nothing.py"))

    ends = [state for state in run.states if state in ("SUCCEEDED", "FAILED", "STOPPED")]
    assert len(ends) == 1
    assert ends != ["STOPPED"]
    assert reason in (None, run.activity["reason"])
    assert run.activity["result"] != "forged"
    assert len(run.activity["error"] or "") < 100_000
    assert after.states == SUCCESS


def test_a_script_that_kills_its_parent_ends_once_and_others_still_run(own_stack: Stack):
    client = Client()

    run = client.run(own_stack.block_of("kills_its_parent.py"), seconds=30)
    after = client.run(own_stack.block_of("takes_nothing.py"), seconds=30)

    assert run.states[-1] == "FAILED"
    assert run.activity["reason"] in ("SCRIPT_DIED", "EXECUTOR_LOST")
    assert after.states == SUCCESS


# --- Announcements and output


def test_announcements_arrive_from_pypubsub_and_from_our_own_functions(
    stack: Stack, client: Client
):
    pytest.importorskip("pubsub")
    with Recorder(client.executor, "scriptMessage", "scriptProgress") as recorder:
        run = client.run(stack.block_of("announces.py"))
        recorder.wait(lambda: len(recorder.news("scriptProgress")) >= 2, "two reports")

    procedure_id = run.activity["procedure_id"]
    messages = [event.json for event in recorder.news("scriptMessage")]
    assert all(set(message) == {"procedure_id", "message"} for message in messages)
    assert [m["message"] for m in messages if m["procedure_id"] == procedure_id][:3] == [
        "by user.script.announce", "by script.announce", "by announce"
    ]  # fmt: skip
    reports = [event.json for event in recorder.news("scriptProgress")]
    assert [list(report) for report in reports][:1] == [["procedure_id", "progress", "message"]]
    assert [report["progress"] for report in reports[:2]] == [25.0, 50.0]
    assert reports[0]["message"] == "a quarter αλ"


def test_output_is_kept_by_line_and_stream_in_order(stack: Stack, client: Client):
    run = client.run(stack.block_of("talks.py", main=kwargs(rounds=3)))

    lines = run.activity["output_tail"]
    assert [line["n"] for line in lines] == list(range(11))
    assert all(list(line) == ["n", "stream", "time", "text"] for line in lines)
    for stream, expected in {
        "stdout": ["init on stdout", "0 on stdout", "1 on stdout", "2 on stdout", "half a line"],
        "stderr": ["0 on stderr: αλ 🔭", "1 on stderr: αλ 🔭", "2 on stderr: αλ 🔭"],
    }.items():
        assert [line["text"] for line in lines if line["stream"] == stream] == expected
    logged = [line["text"] for line in lines if line["stream"] == "log"]
    assert len(logged) == 3
    assert all(f"{number} in the log" in text for number, text in enumerate(logged))
    assert [line["stream"] for line in lines[1:4]] == ["stdout", "stderr", "log"]


def test_output_is_streamed_with_offsets_that_fit_together(stack: Stack, client: Client):
    with Recorder(client.executor, "scriptOutput") as recorder:
        run = client.run(stack.block_of("talks.py", main=kwargs(rounds=200)))
        procedure_id = run.activity["procedure_id"]

        def lines() -> list[dict]:
            pages = [e.json for e in recorder.news() if e.json["procedure_id"] == procedure_id]
            return [line for page in pages for line in page["lines"]]

        recorder.wait(
            lambda: lines()[-1:] and lines()[-1]["text"] == "half a line", "the last line"
        )

    pages = [e.json for e in recorder.news() if e.json["procedure_id"] == procedure_id]
    assert all(page["offset"] == page["lines"][0]["n"] for page in pages)
    assert [line["n"] for line in lines()] == list(range(602))
    assert [line["n"] for line in run.activity["output_tail"]] == list(range(552, 602))


def test_getoutput_goes_page_by_page(stack: Stack, client: Client):
    run = client.run(stack.block_of("talks.py", main=kwargs(rounds=100)))
    procedure_id, offset, numbers = run.activity["procedure_id"], 0, []
    while (page := client.output(procedure_id, offset=offset, limit=70))["lines"]:
        assert set(page) == {"lines", "next_offset", "dropped"}
        assert len(page["lines"]) <= 70
        numbers += [line["n"] for line in page["lines"]]
        offset = page["next_offset"]

    assert numbers == list(range(302))
    assert (page["next_offset"], page["dropped"]) == (302, 0)


def test_a_flood_of_output_is_bounded_and_harms_nobody(stack: Stack, client: Client):
    run = client.run(stack.block_of("floods.py", main={"args": [50]}), seconds=60)
    single = client.run(stack.block_of("floods.py", main={"args": [20, ""]}), seconds=60)

    page = client.output(run.activity["procedure_id"], offset=0, limit=10)
    assert (run.states, single.states) == (SUCCESS, SUCCESS)
    assert run.output[-1] == single.output[-1] == "end of flood"
    assert page["dropped"] > 0 or page["lines"][0]["n"] == 0


def test_a_script_cannot_find_a_secret_of_ours_in_its_environment(stack: Stack, client: Client):
    environment = client.run(stack.block_of("environment.py")).activity["result"]

    secrets = [
        name for name in environment if "PASSWORD" in name.upper() or "TOKEN" in name.upper()
    ]
    assert secrets == []


def test_nothing_of_a_script_is_left_running(stack: Stack, client: Client):
    pid = client.procedure(client.run(stack.block_of("echo.py")).activity["procedure_id"])["pid"]

    until(lambda: not alive(pid), "the script to be gone", 5)
