"""ValidateActivity and DescribeSchedulingBlock: nothing is executed, nothing is written."""

import json
from pathlib import Path

import pytest

from tests.device.client import Client
from tests.device.stack import Stack


def validate(client: Client, request: dict) -> tuple[int, dict, str]:
    (code, text), status = client.result(client.send("ValidateActivity", request))
    return code, json.loads(text), status


def test_a_good_request_is_valid_and_nothing_happens(stack: Stack, client: Client):
    entered = stack.directory / "entered-validate"
    given = {"kwargs": {"entered": str(entered)}}
    sbd_id = stack.block_of("gated.py", init=given, main=given)
    before = client.device.activityId, client.device.EventsSince(0), client.executor.procedureId
    files = sorted(stack.oda.rglob("*"))

    code, report, status = validate(client, client.request(sbd_id, subarray_id=3))

    assert (code, report, status) == (0, {"valid": True, "findings": []}, "COMPLETED")
    after = client.device.activityId, client.device.EventsSince(0), client.executor.procedureId
    assert before == after
    assert not entered.exists()
    assert sorted(stack.oda.rglob("*")) == files


def test_validation_takes_no_lane(stack: Stack, client: Client):
    gate = stack.directory / "gate-validate"
    sbd_id = stack.block_of("gated.py", main={"kwargs": {"gate": str(gate)}})
    running = client.start(sbd_id, subarray_id=4)

    code, _, _ = validate(client, client.request(sbd_id, subarray_id=4))
    gate.touch()
    client.finish(running["command_id"])

    assert code == 0


def findings_of(client: Client, sbd_id: str, **more) -> list[str]:
    code, report, _ = validate(client, client.request(sbd_id, **more))

    assert code == 3
    assert report["valid"] is False
    assert all(list(finding) == ["code", "message"] for finding in report["findings"])
    assert all(finding["message"] for finding in report["findings"])
    return [finding["code"] for finding in report["findings"]]


def test_a_block_that_is_not_there(stack: Stack, client: Client):
    assert findings_of(client, "sbd-not-there") == ["SB_NOT_FOUND"]


def test_a_block_that_is_not_valid(stack: Stack, client: Client):
    stack.write_block("sbd-garbage", b"{")

    assert findings_of(client, "sbd-garbage") == ["SB_INVALID"]


def test_an_activity_that_is_not_in_the_block(stack: Stack, client: Client):
    sbd_id = stack.block_of("echo.py")

    assert findings_of(client, sbd_id, activity_name="nothing") == ["ACTIVITY_NOT_FOUND"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("file:///etc/passwd", "SCRIPT_NOT_ALLOWED"),
        ("{scripts}/missing.py", "SCRIPT_NOT_FOUND"),
        ("{scripts}/not_python.py", "SCRIPT_LOAD_ERROR"),
        ("{scripts}/empty.py", "SCRIPT_LOAD_ERROR"),
    ],
)
def test_a_script_that_cannot_be_started(stack: Stack, client: Client, path: str, code: str):
    (stack.scripts / "not_python.py").write_text("def main(:\n")
    (stack.scripts / "empty.py").write_text("")
    sbd_id = stack.block_of(path.format(scripts=f"file://{stack.scripts}"))

    assert findings_of(client, sbd_id) == [code]
    assert client.run(sbd_id).activity["reason"] == code


def test_arguments_that_do_not_bind(stack: Stack, client: Client):
    sbd_id = stack.block_of("strict_main.py")

    assert findings_of(client, sbd_id)
    assert findings_of(client, sbd_id, script_args={"main": {"args": [1, 2]}})
    assert findings_of(client, sbd_id, script_args={"main": {"kwargs": {"x": 1}}})
    code, _, _ = validate(client, client.request(sbd_id, script_args={"main": {"args": [1]}}))
    assert code == 0


def test_a_block_is_described_by_id_and_by_uri(stack: Stack, client: Client):
    activities = {
        "observe": stack.activity("gated.py", main={"args": [1]}),
        "old": {
            "procedure_type": "filesystemscript", "path": "/x/y.py", "default_args": {"run": {}}
        },
        "far": {
            "kind": "git", "repo": "https://gitlab.com/a/b", "path": "git://c.py",
            "branch": None, "commit": None, "function_args": {},
        },
    }  # fmt: skip
    sbd_id = stack.block(activities, version=1)
    stack.block({"observe": activities["observe"]}, sbd_id=sbd_id, version=12, telescope="ska_low")

    newest = client.ask("DescribeSchedulingBlock", sbd_id)
    first = client.ask("DescribeSchedulingBlock", f"oda://{sbd_id}?version=1")
    path = stack.oda / "sbd" / sbd_id / "1.json"
    by_file = client.ask("DescribeSchedulingBlock", f"file://{path}")

    described = json.loads(newest[1])
    assert newest[0] == 0
    assert list(described) == ["sbd_id", "version", "telescope", "activities"]
    assert (described["sbd_id"], described["version"]) == (sbd_id, 12)
    assert described["telescope"] == "ska_low"
    assert list(described["activities"]) == ["observe"]
    assert set(described["activities"]["observe"]) == {"kind", "script", "functions"}
    assert described["activities"]["observe"]["kind"] == "filesystem"
    older = json.loads(first[1])
    assert older["version"] == 1
    assert set(older["activities"]) == set(activities)
    assert older["activities"]["old"]["kind"] == "filesystem"
    assert older["activities"]["far"]["kind"] == "git"
    assert json.loads(by_file[1])["activities"] == older["activities"]


@pytest.mark.parametrize(
    ("argument", "code"),
    [("sbd-not-there", "SB_NOT_FOUND"), ("oda://sbd-not-there?version=2", "SB_NOT_FOUND")],
)
def test_what_cannot_be_described_fails_with_its_code(
    stack: Stack, client: Client, argument: str, code: str
):
    (result, text), status = client.result(client.send("DescribeSchedulingBlock", argument))

    assert (result, status) == (3, "FAILED")
    assert code in text


def test_a_missing_file_is_not_found(stack: Stack, client: Client):
    missing = Path(stack.oda) / "missing.json"

    code, text = client.ask("DescribeSchedulingBlock", f"file://{missing}")

    assert code == 3
    assert "SB_NOT_FOUND" in text
