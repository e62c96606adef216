"""Every bad input that was collected: refused, one clean failure, or it works."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable

import pytest

from tests.device.client import TERMINAL, Client, Run
from tests.device.stack import SHARED, Json, Stack

FILE = SHARED / "data" / "bad_inputs.json"
NO_DATA = "the bad inputs are not kept beside this checkout (../shared/data/bad_inputs.json)"
CASES: list[Json] = json.loads(FILE.read_text(encoding="utf-8"))["cases"] if FILE.is_file() else []
BY_HTTP = {"B121": "our archive is a folder", "B122": "our archive is a folder"}
NOT_HERE = {
    **BY_HTTP,
    "B101": "needs the inside of the clone cache",
    "B107": "has no script to run",
    "B109": "would fill the disk",
}
UNSAFE = {"SCRIPT_NOT_ALLOWED", "SCRIPT_NOT_FOUND", "ENVIRONMENT_ERROR"}
GENERATED: dict[str, Callable[[], str]] = {
    "B014": lambda: '{"a":' * 900 + "1" + "}" * 900,
    "B015": lambda: '{"sbd_id":' + "1" * 5000 + "}",
    "B016": lambda: json.dumps({f"k{number}": number for number in range(1_000_000)}),
    "B017": lambda: "x" * (130 * 1024 * 1024),
    "B032": lambda: "a" * 100_000,
}


def cases(*categories: str) -> list:
    chosen = [case for case in CASES if case["category"] in categories]
    params = [
        pytest.param(
            case,
            id=case["id"],
            marks=[pytest.mark.skip(reason=NOT_HERE[case["id"]])] if case["id"] in NOT_HERE else [],
        )
        for case in chosen
    ]
    return params or [pytest.param({}, marks=pytest.mark.skip(reason=NO_DATA), id="no data")]


def value(case: Json) -> object:
    return GENERATED[case["id"]]() if case["id"] in GENERATED else case["input"]


def ran(client: Client, request: object) -> Run | None:
    """The activity that a request led to, or None if it was refused at once."""
    before = client.device.activityId
    code, text = client.answer("RunActivity", request)
    if code == 5:
        assert text.split(":")[0].isupper()
        assert text.isprintable()
        assert client.device.activityId == before
        return None
    run = client.finish(text)
    assert [state for state in run.states if state in TERMINAL] == run.states[-1:]
    assert run.activity["reason"] != "INTERNAL_ERROR"
    assert "\n" not in run.result[1]
    return run


@pytest.mark.parametrize("case", cases("json", "unicode"))
def test_a_raw_request(stack: Stack, client: Client, case: Json):
    assert ran(client, value(case)) is None


@pytest.mark.parametrize("case", cases("id", "sb_uri"))
def test_an_id_a_name_or_a_uri(stack: Stack, client: Client, case: Json):
    request = {"sbd_id": stack.block_of("echo.py"), "activity_name": "observe"}
    if case["field"] == "sb_json URI":
        request = {"sb_uri": value(case), "activity_name": "observe"}
    else:
        request[case["field"]] = value(case)

    run = ran(client, request)

    if case["id"] == "B035" and run is not None:
        assert run.activity["reason"] == "ACTIVITY_NOT_FOUND"
    else:
        assert run is None


@pytest.mark.parametrize("case", cases("args"))
def test_an_argument(stack: Stack, client: Client, case: Json):
    field, given = case["field"], value(case)
    block = {"main": {}}
    request: Json = {"activity_name": "observe"}
    if field.startswith("SB function_args"):
        block = {"__init__": given}
    elif field == "script_args":
        request["script_args"] = json.loads(str(given))
    else:
        function, _, name = field.removeprefix("script_args.").partition(".kwargs")
        request["script_args"] = {function: {"kwargs": {name.strip('."[]'): given}}}
    request["sbd_id"] = stack.block_of("echo.py", **block)

    run = ran(client, request)

    if "SB_INVALID" in case["expected"]:
        assert run is not None
        assert (run.states[-1], run.activity["reason"]) == ("FAILED", "SB_INVALID")
    elif "works" in case["expected"]:
        assert run is None or run.states[-1] == "SUCCEEDED", run.activity["error"]
    else:
        assert run is None


@pytest.mark.parametrize("case", cases("path"))
def test_a_path(stack: Stack, client: Client, case: Json):
    path = str(value(case)).replace("file:///scripts/", f"file://{stack.scripts}/")
    path = path.replace("FILE:///scripts/", f"FILE://{stack.scripts}/")
    body = "def main():\n    return 'ran'\n"
    (stack.scripts / "\u03b1.py").write_text(body)
    (stack.scripts / "x.py").write_text(body)
    (stack.directory / "evil.py").write_text(body)
    link, fifo = stack.scripts / "link_to_tmp_evil.py", stack.scripts / "fifo"
    link.exists() or link.symlink_to(stack.directory / "evil.py")
    fifo.exists() or os.mkfifo(fifo)
    if path == "file:///tmp/fifo":
        path = f"file://{fifo}"
    sbd_id = stack.block({"observe": {"kind": "filesystem", "path": path}})

    run = ran(client, {"sbd_id": sbd_id, "activity_name": "observe"})

    assert run is not None
    if "works" in case["expected"]:
        assert run.activity["result"] == "ran"
    else:
        assert run.states[-1] == "FAILED"
        assert run.activity["reason"] in UNSAFE
        assert run.activity["result"] is None
        assert "root:" not in json.dumps(run.activity)


@pytest.fixture
def repository(stack: Stack) -> str:
    """A git repository that may be used, with a script, a traversing link and two commits."""
    folder = stack.repositories / "good"
    if not folder.exists():
        make = stack.repositories / "making"
        (make / "scripts").mkdir(parents=True)
        (make / "scripts" / "x.py").write_text("def main():\n    return 'ran'\n")
        (make / "scripts" / "evil_link.py").symlink_to("/etc/passwd")
        git = ["git", "-C", str(make), "-c", "user.name=t", "-c", "user.email=t@example.org"]
        for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "x"]):
            subprocess.run([*git, *command], check=True)
        make.rename(folder)
    return f"file://{folder}"


def git_activity(repo: str, **more) -> Json:
    return {"kind": "git", "repo": repo, "path": "git://scripts/x.py", "branch": "main"} | more


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_repository_that_is_allowed_works(stack: Stack, client: Client, repository: str):
    run = ran(client, client.request(stack.block({"observe": git_activity(repository)})))

    assert run is not None
    assert (run.states[-1], run.activity["result"]) == ("SUCCEEDED", "ran"), run.activity["error"]
    assert len(run.activity["script"]["commit"]) == 40


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("case", cases("git"))
def test_a_repository(stack: Stack, client: Client, repository: str, case: Json):
    activity = git_activity(repository)
    activity[case["field"].removeprefix("GitScript.")] = value(case)
    witness = stack.directory / f"witness-{uuid.uuid4().hex}"
    activity["repo"] = activity["repo"].replace("/tmp/PWN", str(witness))

    run = ran(client, client.request(stack.block({"observe": activity})))

    assert run is not None
    assert run.states[-1] == "FAILED"
    assert run.activity["reason"] in UNSAFE
    assert run.activity["result"] is None
    assert not witness.exists()
    assert "root:" not in json.dumps(run.activity)


@pytest.mark.parametrize("case", cases("sb"))
def test_a_block(stack: Stack, client: Client, case: Json):
    sbd_id = f"sbd-{uuid.uuid4().hex}"
    text = json.dumps({"sbd_id": sbd_id, "telescope": "ska_mid", "note": "αλ🔭",
                       "activities": {"observe": stack.activity("reads_block.py")}},
                      ensure_ascii=False)  # fmt: skip
    if case["id"] == "B115":
        text = text[:-1] + ', "x": "' + "x" * (200 * 1024 * 1024) + '"}'
    if case["id"] == "B118":
        text = text.replace(sbd_id, "sbd-another-one")
    path = None if case["id"] == "B120" else stack.write_block(sbd_id, text.encode())

    run = ran(client, client.request(sbd_id))

    assert run is not None
    if path:
        path.unlink()
    if "works" in case["expected"]:
        assert run.states[-1] == "SUCCEEDED"
    else:
        assert run.states[-1] == "FAILED"
        assert run.activity["reason"] in case["expected"]


BODIES = {
    "B129": "import sys\nsys.exit(0)\ndef main(): pass\n",
    "B130": "import os\nos._exit(0)\ndef main(): pass\n",
    "B132": "",  # tests/scripts/misbehaving/daemonises.py, in test_scripts
    "B134": "def main():\n    import ctypes\n    ctypes.string_at(0)\n",
    "B136": "def main():\n    print('x' * 10**8)\n",
    "B138": 'def main():\n    print(\'{"outcome": "returned", "result": "forged"}\')\n'
            "    raise RuntimeError('honest')\n",
    "B139": "def main():\n    import os\n    for fd in range(3, 64):\n        try:\n"
            "            os.write(fd, b'{\"result\": \"forged\"}\\n')\n        except OSError:\n"
            "            pass\n    raise RuntimeError('honest')\n",
    "B140": "def main():\n    import os\n    print(os.environ)\n    return dict(os.environ)\n",
    "B146": "def main():\n    raise ValueError('x' * 10**8)\n",
}  # fmt: skip
ENDS = {
    "B129": ("FAILED", {"SCRIPT_LOAD_ERROR"}),
    "B130": ("FAILED", {"SCRIPT_LOAD_ERROR", "SCRIPT_DIED"}),
    "B134": ("FAILED", {"SCRIPT_DIED"}),
    "B136": ("SUCCEEDED", {None}),
    "B138": ("FAILED", {"SCRIPT_ERROR"}),
    "B139": ("FAILED", {"SCRIPT_ERROR", "SCRIPT_DIED"}),
    "B140": ("SUCCEEDED", {None}),
    "B146": ("FAILED", {"SCRIPT_ERROR"}),
}


@pytest.mark.parametrize("case", cases("script"))
def test_a_body(stack: Stack, client: Client, case: Json):
    if not BODIES.get(case["id"]):
        pytest.skip("a test of its own in test_scripts")
    sbd_id = stack.block_of(stack.write_script(BODIES[case["id"]]))

    run = ran(client, client.request(sbd_id))

    state, reasons = ENDS[case["id"]]
    assert run is not None
    assert run.states[-1] == state, run.activity["error"]
    assert run.activity["reason"] in reasons
    assert len(json.dumps(run.activity)) < 4 * 1024 * 1024
    assert run.activity["result"] != "forged"
