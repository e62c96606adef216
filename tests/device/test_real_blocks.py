"""Real Scheduling Blocks, and our own, are run as they are but for the paths of their scripts."""

import json
from pathlib import Path

import pytest

from ska_oso_activity import samples
from tests.device.client import Client
from tests.device.stack import SHARED, Stack

SUCCESS = ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]
OURS = Path(samples.__file__).parent / "oda"
REAL = sorted((SHARED / "data" / "sbd").glob("*.json"))
NO_DATA = "the real blocks are not kept beside this checkout (../shared/data/sbd)"


def each_activity() -> list:
    blocks = [*REAL, *sorted(OURS.rglob("*.json"))]
    each = [
        pytest.param(path, name, id=f"{path.stem if path in REAL else path.parent.name}-{name}")
        for path in blocks
        for name in json.loads(path.read_text(encoding="utf-8"))["activities"]
    ]
    if not REAL:
        each.append(pytest.param(None, "", marks=pytest.mark.skip(reason=NO_DATA), id="no data"))
    return each


@pytest.mark.parametrize(("path", "name"), each_activity())
def test_an_activity_of_a_block_is_run(stack: Stack, client: Client, path: Path, name: str):
    block = json.loads(path.read_text(encoding="utf-8"))
    old = "procedure_type" in block["activities"][name]
    for activity in block["activities"].values():
        bare = stack.script("echo.py").removeprefix("file://")
        activity["path"] = bare if old else f"file://{bare}"
        for key in ("repo", "branch", "commit"):
            activity.pop(key, None)
        activity["procedure_type" if old else "kind"] = "filesystemscript" if old else "filesystem"
    given = block["activities"][name].get("default_args" if old else "function_args", {})
    text = json.dumps(block, ensure_ascii=False).encode()
    request = {"activity_name": name, "subarray_id": 2}
    if "sbd_id" in block:
        stack.write_block(block["sbd_id"], text)
        request["sbd_id"] = block["sbd_id"]
    else:
        draft = stack.oda / f"draft-{path.stem}.json"
        draft.write_bytes(text)
        request["sb_uri"] = f"file://{draft}"

    run = client.finish(client.send("RunActivity", request))

    result = run.activity["result"]
    expected = given.get("main", given.get("run", {}))
    assert run.states == SUCCESS, (run.activity["error"], run.activity["stacktrace"])
    assert result["init"]["args"] == given.get("init", {}).get("args", [])
    assert result["main"]["args"] == expected.get("args", [])
    assert set(expected.get("kwargs", {})) <= set(result["main"]["kwargs"])
    assert Path(result["main"]["kwargs"]["sb_json"]).name.endswith(".json")
    assert (run.activity["sbi_id"] is None) == ("sbd_id" not in block)
    named = "subarray_id" in given.get("init", {}).get("kwargs", {})
    assert result["init"]["kwargs"].get("subarray_id") == (2 if named else None)
    code, described = client.ask(
        "DescribeSchedulingBlock", request.get("sbd_id") or request["sb_uri"]
    )
    assert code == 0
    assert set(json.loads(described)["activities"]) == set(block["activities"])


def test_our_samples_run_as_they_are_installed(telescope_stack: Stack):
    stack, client = telescope_stack, Client()
    installed = samples.install(stack.directory / "samples")
    for block in installed.oda.rglob("*.json"):
        text = block.read_text(encoding="utf-8").replace(str(installed.scripts), str(stack.scripts))
        stack.write_block(block.parent.name, text.encode(), int(block.stem))
    for script in installed.scripts.glob("*.py"):
        (stack.scripts / script.name).write_bytes(script.read_bytes())

    quickly = {"main": {"kwargs": {"seconds_per_scan": 0.01}}}
    for subarray, sbd_id in enumerate((installed.mid_sbd_id, installed.low_sbd_id), start=1):
        name = {"activity_name": "allocate_and_observe"}
        run = client.run(sbd_id, subarray_id=subarray, script_args=quickly, **name)

        assert run.states == SUCCESS, run.activity["stacktrace"]
        result = run.activity["result"]
        assert (result["subarray_id"], result["obs_state"]) == (subarray, "EMPTY")
