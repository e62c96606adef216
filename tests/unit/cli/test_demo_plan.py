"""A block of the user's own is run from a copy, by the script that is found."""

import json

import pytest

from ska_oso_activity.cli.demo_plan import of_block, of_samples
from ska_oso_activity.cli.errors import UsageError


def write_block(path, script, sbd_id="sbd-1", activities=("observe",), **more):
    raw = {"kind": "filesystem", "path": script, **more}
    block = {
        "sbd_id": sbd_id,
        "telescope": "ska_mid",
        "metadata": {"version": 3},
        "activities": dict.fromkeys(activities, raw),
    }
    path.write_text(json.dumps({k: v for k, v in block.items() if v is not None}))
    return path


def test_the_samples_run_on_two_subarrays(tmp_path):
    plan = of_samples(tmp_path)

    assert [request["subarray_id"] for request in plan.requests] == [1, 2]
    for request in plan.requests:
        block = json.loads((plan.oda / "sbd" / request["sbd_id"] / "1.json").read_text())
        assert request["activity_name"] in block["activities"]


def test_a_block_is_copied_to_the_byte_when_its_script_exists(tmp_path):
    script = tmp_path / "scripts" / "observe.py"
    script.parent.mkdir()
    script.touch()
    file = write_block(tmp_path / "block.json", script.as_uri())

    plan = of_block(file, tmp_path / "demo")

    copy = tmp_path / "demo" / "oda" / "sbd" / "sbd-1" / "3.json"
    assert copy.read_bytes() == file.read_bytes()
    assert plan.scripts == (script.parent,)
    assert plan.requests == ({"sbd_id": "sbd-1", "activity_name": "observe", "subarray_id": 1},)
    assert plan.note == ""


@pytest.mark.parametrize("prefix", ["file://", ""])
def test_a_script_beside_the_block_stands_in_for_one_that_does_not_exist(tmp_path, prefix):
    (tmp_path / "observe.py").touch()
    file = write_block(tmp_path / "block.json", f"{prefix}/no/such/observe.py")

    plan = of_block(file, tmp_path / "demo")

    copy = json.loads((tmp_path / "demo" / "oda" / "sbd" / "sbd-1" / "3.json").read_text())
    assert copy["activities"]["observe"]["path"] == f"file://{tmp_path}/observe.py"
    assert "/no/such/observe.py does not exist here" in plan.note


def test_a_draft_is_named_by_its_file(tmp_path):
    (tmp_path / "observe.py").touch()
    file = write_block(tmp_path / "block.json", f"file://{tmp_path}/observe.py", sbd_id=None)

    plan = of_block(file, tmp_path / "demo")

    uri = (tmp_path / "demo" / "oda" / "draft" / "draft.json").as_uri()
    assert plan.requests[0]["sb_uri"] == uri


def test_the_repository_of_a_git_script_is_allowed(tmp_path):
    file = write_block(
        tmp_path / "block.json", "git://a.py", kind="git", repo="https://example.org/scripts"
    )

    plan = of_block(file, tmp_path / "demo")

    assert plan.repositories == ("https://example.org/scripts",)


def test_a_script_that_is_nowhere_is_told_with_what_to_do(tmp_path):
    file = write_block(tmp_path / "block.json", "file:///no/such/observe.py")

    with pytest.raises(UsageError, match=r"/no/such/observe.py.*--scripts DIR"):
        of_block(file, tmp_path / "demo")


def test_one_of_several_activities_must_be_named(tmp_path):
    file = write_block(tmp_path / "block.json", "file:///x.py", activities=("a", "b"))

    with pytest.raises(UsageError, match=r"a, b.*--activity"):
        of_block(file, tmp_path / "demo")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"activities": {"observe": 1}}'])
def test_a_file_that_is_no_block_is_refused(tmp_path, content):
    file = tmp_path / "block.json"
    file.write_text(content)

    with pytest.raises(UsageError, match=r"block\.json"):
        of_block(file, tmp_path / "demo")


def test_our_sample_script_can_stand_in_for_any(tmp_path):
    file = write_block(
        tmp_path / "block.json", "git://a.py", kind="git", repo="https://example.org/scripts"
    )

    plan = of_block(file, tmp_path / "demo", sample_script=True)

    copy = json.loads((plan.oda / "sbd" / "sbd-1" / "3.json").read_text())
    script = tmp_path / "demo" / "scripts" / "allocate_and_observe.py"
    assert copy["activities"]["observe"] == {"kind": "filesystem", "path": script.as_uri()}
    assert plan.repositories == ()
    assert script.is_file()
