"""The archive: blocks as they are found there, what is found too late, and our instances."""

import json
import os
import uuid
from pathlib import Path

import pytest

from tests.device.client import Client, until
from tests.device.stack import Stack

FAILED_BEFORE = ["REQUESTED", "PREPARING", "FAILED"]
SUCCESS = ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]


def failed_with(run) -> str:
    """The reason of an activity that failed before anything of the script ran."""
    assert run.states == FAILED_BEFORE
    assert run.activity["error"]
    assert "Traceback" not in run.activity["error"]
    assert run.events[-1]["reason"] == run.activity["reason"]
    number, reason = run.activity["activity_id"], run.activity["reason"]
    assert run.result[0] == 3
    assert run.result[1].startswith(f"Activity {number} FAILED: {reason}: ")
    assert run.status == "FAILED"
    return str(reason)


# --- Versions and URIs


def test_the_newest_version_is_run_unless_another_is_asked_for(stack: Stack, client: Client):
    sbd_id = f"sbd-{uuid.uuid4().hex}"
    for version in (1, 2, 10):
        activity = stack.activity("echo.py", main={"args": [version]})
        stack.block({"observe": activity}, sbd_id=sbd_id, version=version)

    newest = client.run(sbd_id)
    by_uri = client.finish(
        client.send(
            "RunActivity", {"sb_uri": f"oda://{sbd_id}?version=2", "activity_name": "observe"}
        )
    )
    no_version = client.finish(
        client.send("RunActivity", {"sb_uri": f"oda://{sbd_id}", "activity_name": "observe"})
    )

    assert (newest.activity["sbd_version"], newest.activity["result"]["main"]["args"]) == (10, [10])
    assert (by_uri.activity["sbd_version"], by_uri.activity["result"]["main"]["args"]) == (2, [2])
    assert by_uri.activity["sb_uri"] == f"oda://{sbd_id}?version=2"
    assert no_version.activity["sbd_version"] == 10


def test_the_archives_version_counts_and_not_the_blocks_own(stack: Stack, client: Client):
    sbd_id = stack.block_of("echo.py")
    path = stack.oda / "sbd" / sbd_id / "1.json"
    path.rename(path.with_name("5.json"))

    assert client.run(sbd_id).activity["sbd_version"] == 5


def test_a_version_that_is_not_there_is_not_found(stack: Stack, client: Client):
    request = {"sb_uri": f"oda://{stack.block_of('echo.py')}?version=9", "activity_name": "observe"}

    assert failed_with(client.finish(client.send("RunActivity", request))) == "SB_NOT_FOUND"


def test_a_block_is_run_from_a_file_below_the_roots(stack: Stack, client: Client):
    sbd_id = stack.block_of("echo.py")
    uri = f"file://{stack.oda}/sbd/{sbd_id}/1.json"

    run = client.finish(client.send("RunActivity", {"sb_uri": uri, "activity_name": "observe"}))

    assert run.states == SUCCESS, run.activity["error"]
    assert (run.activity["sbd_id"], run.activity["sb_uri"]) == (sbd_id, uri)


# --- Found later


def test_a_block_that_is_not_there_is_one_failure(stack: Stack, client: Client):
    run = client.run("sbd-not-there")

    assert failed_with(run) == "SB_NOT_FOUND"
    assert "sbd-not-there" in run.activity["error"]
    assert (run.activity["sbi_id"], run.activity["procedure_id"]) == (None, None)


@pytest.mark.parametrize("name", ["nothing", "Observe", "__class__", "observe ", "αλ"])
def test_an_activity_that_is_not_in_the_block_is_one_failure(
    stack: Stack, client: Client, name: str
):
    before = stack.entities("sbi")

    run = client.run(stack.block_of("echo.py"), activity_name=name)

    assert failed_with(run) == "ACTIVITY_NOT_FOUND"
    assert "observe" in run.activity["error"]
    assert stack.entities("sbi") == before


SCRIPT = '"kind": "filesystem", "path": "file:///x"'
INVALID = {
    "empty": "",
    "half": '{"sbd_id": ',
    "scalar": "42",
    "list": "[]",
    "null": "null",
    "not UTF-8": '{"sbd_id": "ID", "x": "\udcff\udcfe", "activities": {}}',
    "no activities": '{"sbd_id": "ID"}',
    "activities a list": '{"sbd_id": "ID", "activities": []}',
    "activities null": '{"sbd_id": "ID", "activities": null}',
    "activity a string": '{"sbd_id": "ID", "activities": {"observe": "x"}}',
    "activity null": '{"sbd_id": "ID", "activities": {"observe": null}}',
    "no kind": '{"sbd_id": "ID", "activities": {"observe": {"path": "file:///x"}}}',
    "other kind": '{"sbd_id": "ID", "activities": {"observe": {"kind": "shell", "path": "x"}}}',
    "path a number": (
        '{"sbd_id": "ID", "activities": {"observe": {"kind": "filesystem", "path": 1}}}'
    ),
    "no path": '{"sbd_id": "ID", "activities": {"observe": {"kind": "filesystem"}}}',
    "another id": '{"sbd_id": "sbd-another", "activities": {"observe": {SCRIPT}}}',
    "no id": '{"activities": {"observe": {SCRIPT}}}',
    "numeric id": '{"sbd_id": 1, "activities": {"observe": {SCRIPT}}}',
    "duplicate key": '{"sbd_id": "ID", "sbd_id": "ID", "activities": {"observe": {SCRIPT}}}',
    "deep duplicate": (
        '{"sbd_id": "ID", "a": {"b": 1, "b": 2}, "activities": {"observe": {SCRIPT}}}'
    ),
    "other function": (
        '{"sbd_id": "ID", "activities": {"observe": {SCRIPT, "function_args": {"__init__": {}}}}}'
    ),
    "function a list": (
        '{"sbd_id": "ID", "activities": {"observe": {SCRIPT, "function_args": {"main": []}}}}'
    ),
    "args an object": (
        '{"sbd_id": "ID", "activities":'
        ' {"observe": {SCRIPT, "function_args": {"main": {"args": {}}}}}}'
    ),
    "100000 deep": '{"sbd_id": "ID", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
}


@pytest.mark.parametrize("case", INVALID)
def test_a_block_that_is_not_valid_is_one_failure(stack: Stack, client: Client, case: str):
    sbd_id = f"sbd-{uuid.uuid4().hex}"
    text = INVALID[case].replace('"ID"', f'"{sbd_id}", "telescope": "ska_mid"')
    content = text.replace("SCRIPT", SCRIPT).encode(errors="surrogateescape")
    stack.write_block(sbd_id, content)

    assert failed_with(client.run(sbd_id)) == "SB_INVALID"


@pytest.mark.parametrize("megabytes", [9, 200])
def test_a_block_that_is_too_large_is_one_failure(stack: Stack, client: Client, megabytes: int):
    sbd_id = f"sbd-{uuid.uuid4().hex}"
    block = {
        "sbd_id": sbd_id,
        "telescope": "ska_mid",
        "activities": {"observe": stack.activity("echo.py")},
    }
    text = json.dumps(block)[:-1].encode() + b', "x": "' + b"x" * (megabytes * 1024 * 1024) + b'"}'
    path = stack.write_block(sbd_id, text)

    try:
        assert failed_with(client.run(sbd_id)) == "SB_INVALID"
    finally:
        path.unlink()


def test_a_block_of_almost_the_largest_size_is_run(stack: Stack, client: Client):
    filler = "x" * (7 * 1024 * 1024)
    sbd_id = stack.block({"observe": stack.activity("reads_block.py")}, filler=filler)

    assert client.run(sbd_id).states == SUCCESS


@pytest.mark.parametrize(
    ("path", "reasons"),
    [
        ("file:///etc/passwd", {"SCRIPT_NOT_ALLOWED"}),
        ("/etc/passwd", {"SCRIPT_NOT_ALLOWED"}),
        ("{scripts}/../outside.py", {"SCRIPT_NOT_ALLOWED"}),
        ("{scripts}/link_outside.py", {"SCRIPT_NOT_ALLOWED"}),
        ("{scripts}/missing.py", {"SCRIPT_NOT_FOUND"}),
        ("{scripts}", {"SCRIPT_NOT_ALLOWED", "SCRIPT_NOT_FOUND", "SCRIPT_LOAD_ERROR"}),
        ("{scripts}/fifo.py", {"SCRIPT_NOT_ALLOWED", "SCRIPT_NOT_FOUND", "SCRIPT_LOAD_ERROR"}),
        ("file:///dev/zero", {"SCRIPT_NOT_ALLOWED"}),
        ("file:///proc/self/fd/3", {"SCRIPT_NOT_ALLOWED", "SCRIPT_NOT_FOUND"}),
    ],
)
def test_a_script_that_must_not_run_does_not(
    stack: Stack, client: Client, path: str, reasons: set[str]
):
    outside = stack.directory / "outside.py"
    outside.write_text("def main():\n    return 'ran'\n")
    for name, make in (
        ("link_outside.py", lambda p: p.symlink_to(outside)),
        ("fifo.py", os.mkfifo),
    ):
        if not os.path.lexists(stack.scripts / name):
            make(stack.scripts / name)
    sbd_id = stack.block_of("echo.py")
    block = json.loads((stack.oda / "sbd" / sbd_id / "1.json").read_text())
    block["activities"]["observe"]["path"] = path.format(scripts=f"file://{stack.scripts}")
    stack.write_block(sbd_id, json.dumps(block).encode())

    run = client.run(sbd_id)

    assert failed_with(run) in reasons
    assert "root:" not in json.dumps(run.activity)


def test_a_script_may_have_a_name_in_greek(stack: Stack, client: Client):
    uri = stack.write_script("def main():\n    return 'αλ'\n", name="αλ β.py")

    run = client.run(stack.block_of(uri))

    assert (run.states, run.activity["result"]) == (SUCCESS, "αλ")


def test_an_archive_that_hangs_is_one_failure(stack: Stack, client: Client):
    sbd_id = f"sbd-{uuid.uuid4().hex}"
    folder = stack.oda / "sbd" / sbd_id
    folder.mkdir()
    os.mkfifo(folder / "1.json")

    try:
        run = client.run(sbd_id)
    finally:
        (folder / "1.json").unlink()

    assert failed_with(run) in ("SB_INVALID", "ODA_UNAVAILABLE", "SB_NOT_FOUND")


def test_an_absent_archive_is_one_failure_and_comes_back(own_stack: Stack):
    client = Client()
    sbd_id = own_stack.block_of("takes_nothing.py")
    hidden = own_stack.oda.rename(own_stack.directory / "hidden")

    away = client.run(sbd_id)
    health = until(lambda: client.device.healthState == 1 and client.device.status(), "DEGRADED", 8)
    hidden.rename(own_stack.oda)
    back = client.run(sbd_id)
    until(lambda: client.device.healthState == 0, "OK", 8)

    assert failed_with(away) == "ODA_UNAVAILABLE"
    assert "archive" in health.lower() or "oda" in health.lower()
    assert back.states == SUCCESS


# --- Instances


def sbi_of(stack: Stack, sbi_id: str) -> dict:
    (path,) = [path for path in stack.entities("sbi") if path.parent.name == sbi_id]
    return dict(json.loads(path.read_text()))


def test_the_instance_says_what_was_executed(stack: Stack, client: Client):
    sbd_id = stack.block_of("echo.py", init={"kwargs": {"a": 1}})

    run = client.run(
        sbd_id, subarray_id=2, script_args={"main": {"args": [7], "kwargs": {"b": "αλ"}}}
    )

    instance = sbi_of(stack, run.activity["sbi_id"])
    assert instance["interface"] == "https://schema.skao.int/ska-oso-pdm-sbi/0.1"
    assert instance["sbi_id"] == run.activity["sbi_id"]
    assert instance["telescope"] == "ska_mid"
    assert (instance["sbd_ref"], instance["sbd_version"]) == (sbd_id, 1)
    assert instance["subarray_id"] == 2
    (activity,) = instance["activities"]
    assert activity["activity_ref"] == "observe"
    assert activity["executed_at"]
    assert [
        (args["function_name"], args["function_args"]) for args in activity["runtime_args"]
    ] == [("main", {"args": [7], "kwargs": {"b": "αλ"}})]
    assert "metadata" in instance


def status_texts(stack: Stack, sbi_id: str) -> str:
    """All that the archive holds about an instance, wherever its layout puts the status."""
    folders = [folder for folder in stack.oda.iterdir() if folder.is_dir() and folder.name != "sbd"]
    texts = [path.read_text() for folder in folders for path in folder.rglob("*.json")]
    return "\n".join(text for text in texts if sbi_id in text)


@pytest.mark.parametrize(
    ("script", "status"), [("takes_nothing.py", "Observed"), ("raises.py", "Failed")]
)
def test_the_instances_status_tells_the_end(stack: Stack, client: Client, script: str, status: str):
    run = client.run(stack.block_of(script))

    until(lambda: f'"{status}"' in status_texts(stack, run.activity["sbi_id"]), status, 10)


def test_the_instances_status_while_it_runs_and_when_it_is_stopped(stack: Stack, client: Client):
    event = client.start(stack.block_of("sleeps.py"))
    until(lambda: '"Executing"' in status_texts(stack, event["sbi_id"]), "Executing", 10)

    client.stop(activity_id=event["activity_id"], run_abort=False)

    until(lambda: '"Failed"' in status_texts(stack, event["sbi_id"]), "Failed", 10)


def test_an_activity_that_ends_before_main_leaves_its_instance_failed(stack: Stack, client: Client):
    run = client.run(stack.block_of("raises_in_init.py"))

    if run.activity["sbi_id"] is not None:
        until(lambda: '"Failed"' in status_texts(stack, run.activity["sbi_id"]), "Failed", 10)


def test_each_execution_has_an_instance_of_its_own(stack: Stack, client: Client):
    sbd_id = stack.block_of("takes_nothing.py")

    ids = [client.run(sbd_id).activity["sbi_id"] for _ in range(3)]

    assert len(set(ids)) == 3


def test_without_an_instance_main_does_not_run(own_stack: Stack):
    client = Client()
    (own_stack.oda / "sbi").write_text("in the way")
    entered = own_stack.directory / "entered"
    sbd_id = own_stack.block_of("gated.py", main={"kwargs": {"entered": str(entered)}})

    run = client.run(sbd_id)

    assert (run.states[-1], run.activity["reason"]) == ("FAILED", "ODA_UNAVAILABLE")
    assert "RUNNING" not in run.states
    assert not entered.exists()


def test_a_plain_folder_of_blocks_is_an_archive_too(stack: Stack, client: Client):
    sbd_id = f"sbd-{uuid.uuid4().hex}"
    block = {"sbd_id": sbd_id, "telescope": "ska_mid", "metadata": {"version": 1}}
    block["activities"] = {"observe": stack.activity("takes_nothing.py")}
    path = Path(stack.oda / f"{sbd_id}.json")
    path.write_text(json.dumps(block))

    assert client.run(sbd_id).states == SUCCESS
