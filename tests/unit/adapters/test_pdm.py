"""Scheduling Blocks of every generation are read, and what is wrong with one is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from ska_oso_activity import samples
from ska_oso_activity.adapters import pdm
from ska_oso_activity.application.ports import FetchedBlock
from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.errors import ActivityNotFound, SchedulingBlockInvalid
from ska_oso_activity.domain.scheduling_block import (
    BLOCK_LIMIT,
    BlockReference,
    SchedulingBlock,
)
from ska_oso_activity.domain.script import FileSystemScript, GitScript, InlineScript
from tests.unit.adapters.shared_data import real_blocks

ARCHIVED = BlockReference.of_sbd_id("sbd-1")
FILE = BlockReference.parse("file:///blocks/one.json")
SHIPPED = sorted((Path(samples.__file__).parent / "oda").rglob("*.json"))
FILESYSTEM = {"kind": "filesystem", "path": "file:///scripts/x.py"}
GIT = {"kind": "git", "path": "git://x.py", "repo": "https://host/r"}


def read(
    document: Any, reference: BlockReference = ARCHIVED, version: int | None = 4
) -> SchedulingBlock:
    text = document if isinstance(document, str) else json.dumps(document)
    return pdm.read_scheduling_block(FetchedBlock(text, version), reference)


def block(activity: Any, **fields: Any) -> SchedulingBlock:
    return read({"sbd_id": "sbd-1", "activities": {"observe": activity}, **fields})


@pytest.mark.parametrize("path", [*real_blocks(), *SHIPPED])
def test_every_activity_of_every_generation_of_blocks_is_found_and_described(path):
    reference = BlockReference.parse(path.as_uri())
    content = path.read_bytes().decode("utf-8")

    found = pdm.read_scheduling_block(FetchedBlock(content, None), reference)

    described = pdm.describe(found)
    assert found.content.encode() == path.read_bytes()
    assert found.telescope in {"ska_mid", "ska_low"}
    assert described["activities"].keys() == json.loads(content)["activities"].keys()
    for name, activity in described["activities"].items():
        script = pdm.find_activity(found, name).script
        assert activity["kind"] == script.kind
        assert activity["script"] == script.to_json()
        assert script.to_json()["uri"].split("://")[0] in {"file", "git"}
        assert "error" not in activity


def test_a_block_of_the_archive_has_the_archives_version_and_keeps_its_text():
    text = '{ "sbd_id":"sbd-1",\r\n "metadata": {"version": 9}, "activities": {}, "λ": "\\u00e9"}'

    found = read(text, version=4)

    assert (found.sbd_id, found.version, found.telescope) == ("sbd-1", 4, None)
    assert found.content == text


@pytest.mark.parametrize(
    ("metadata", "version"),
    [
        ({"version": 3}, 3),
        ({"version": "3"}, None),
        ({"version": True}, None),
        ({"version": -1}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_a_block_of_a_file_has_its_own_version(metadata, version):
    found = read({"activities": {}, "metadata": metadata}, FILE, version=None)

    assert found.version == version


def test_a_draft_in_a_file_needs_no_id():
    assert read({"activities": {}}, FILE).sbd_id is None
    assert read({"sbd_id": None, "activities": {}}, FILE).sbd_id is None
    assert read({"sbd_id": "anything.else", "activities": {}}, FILE).sbd_id == "anything.else"


@pytest.mark.parametrize(
    ("document", "reference", "says"),
    [
        ("", ARCHIVED, "not JSON"),
        ("[]", ARCHIVED, "object, not a list"),
        ("{", ARCHIVED, "not JSON"),
        ('{"sbd_id": "sbd-1", "sbd_id": "sbd-1", "activities": {}}', ARCHIVED, "twice"),
        ('{"sbd_id": "sbd-1", "activities": {}, "x": NaN}', ARCHIVED, "NaN"),
        ("\ufeff{}", ARCHIVED, "byte-order mark"),
        ('{"x":' * 900 + "1" + "}" * 900, ARCHIVED, "deeper than 64"),
        ('{"x": "' + "é" * (BLOCK_LIMIT // 2) + '"}', ARCHIVED, "larger than 8388608 bytes"),
        ({"sbd_id": "sbd-1"}, ARCHIVED, "`activities`"),
        ({"sbd_id": "sbd-1", "activities": []}, ARCHIVED, "not a list"),
        ({"sbd_id": "sbd-2", "activities": {}}, ARCHIVED, "sbd-1 was asked for"),
        ({"activities": {}}, ARCHIVED, "it has none"),
        ({"sbd_id": 1, "activities": {}}, ARCHIVED, "it has 1"),
        ({"sbd_id": 1, "activities": {}}, FILE, "it has 1"),
        ({"sbd_id": "../../etc/x", "activities": {}}, FILE, "it has '../../etc/x'"),
        ({"sbd_id": "sbd-1", "activities": {}, "telescope": 3}, ARCHIVED, "telescope"),
        ({"sbd_id": "sbd-1", "activities": {}, "telescope": "a\0b"}, ARCHIVED, "telescope"),
    ],
)
def test_what_is_not_the_block_asked_for_is_invalid(document, reference, says):
    with pytest.raises(SchedulingBlockInvalid, match=says):
        read(document, reference)


def test_an_activity_of_today_is_read():
    found = pdm.find_activity(
        block(
            {
                **FILESYSTEM,
                "function_args": {
                    "init": {"args": [], "kwargs": {"subarray_id": 1}},
                    "main": {"args": [1, "a"]},
                },
            }
        ),
        "observe",
    )

    assert found.script == FileSystemScript("file:///scripts/x.py")
    assert found.function_args == {
        "init": ProcedureInput((), {"subarray_id": 1}),
        "main": ProcedureInput((1, "a")),
    }


def test_an_activity_of_oet_4_is_read():
    old = {
        "procedure_type": "gitscript",
        "path": "/scripts/x.py",
        "repo": "https://host/r",
        "branch": "main",
        "default_args": {"init": {"args": [1]}, "run": {"kwargs": {"a": 2}}},
    }

    found = pdm.find_activity(block(old), "observe")

    assert found.script == GitScript("git://scripts/x.py", "https://host/r", "main", None)
    assert found.function_args == {
        "init": ProcedureInput((1,)),
        "run": ProcedureInput((), {"a": 2}),
    }


def test_an_inline_activity_is_read():
    found = pdm.find_activity(block({"kind": "inline", "content": "def main(): ..."}), "observe")

    assert found.script == InlineScript("def main(): ...")


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("/x/y.py", "file:///x/y.py"),
        ("/x/50%?#λ.py", "file:///x/50%25%3F%23λ.py"),
        ("file:///x/y.py", "file:///x/y.py"),
        ("data:text/x-python,import os", "data:text/x-python,import os"),
        ("", ""),
        ("/a\0.py", "file:///a\0.py"),
    ],
)
def test_paths_become_uris_and_odd_ones_are_left_to_the_door(path, uri):
    found = pdm.find_activity(block({"kind": "filesystem", "path": path}), "observe")

    assert found.script == FileSystemScript(uri)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {},
        {"kind": None},
        {"kind": "container", "path": "file:///x.py"},
        {"kind": ["git"]},
        {"kind": "filesystem"},
        {"kind": "filesystem", "path": 1},
        {"kind": "git", "path": "git://x.py"},
        {"kind": "inline"},
        {**GIT, "branch": 1},
        {**GIT, "commit": []},
        {**FILESYSTEM, "function_args": []},
        {**FILESYSTEM, "function_args": {"__init__": {"args": [], "kwargs": {}}}},
        {**FILESYSTEM, "function_args": {"main": []}},
        {**FILESYSTEM, "function_args": {"main": {"args": {}}}},
        {**FILESYSTEM, "function_args": {"main": {"arg": []}}},
        {**FILESYSTEM, "function_args": {"init": {"kwargs": {"subarray_id": 0}}}},
        {**FILESYSTEM, "function_args": {"main": {"kwargs": {"subarray_id": 17}}}},
        {**FILESYSTEM, "function_args": {"main": {"kwargs": {"subarray_id": True}}}},
        {**FILESYSTEM, "default_args": {"run": {"kwargs": {"subarray_id": "1"}}}},
    ],
)
def test_a_broken_activity_is_invalid_and_its_neighbours_are_not(raw):
    found = read({"sbd_id": "sbd-1", "activities": {"broken": raw, "observe": FILESYSTEM}})

    with pytest.raises(SchedulingBlockInvalid, match="broken"):
        pdm.find_activity(found, "broken")

    assert pdm.find_activity(found, "observe").script == FileSystemScript("file:///scripts/x.py")
    described = pdm.describe(found)["activities"]
    assert described["broken"]["kind"] is None
    assert "broken" in described["broken"]["error"]
    assert described["observe"]["kind"] == "filesystem"


@pytest.mark.parametrize(
    "function_args",
    [None, {}, {"init": None, "main": {}}, {"main": {"kwargs": {"subarray_id": None}}}],
)
def test_arguments_may_be_missing_at_every_level(function_args):
    found = pdm.find_activity(block({**FILESYSTEM, "function_args": function_args}), "observe")

    assert all(not given.kwargs.get("subarray_id") for given in found.function_args.values())


def test_an_unknown_activity_is_answered_with_the_names_that_exist():
    many = read({"sbd_id": "sbd-1", "activities": {f"n{i}\u202e": {} for i in range(100)}})

    with pytest.raises(ActivityNotFound, match=r"no activity '__class__'.*and 80 more") as error:
        pdm.find_activity(many, "__class__")

    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000


def test_a_block_without_activities_says_so():
    with pytest.raises(ActivityNotFound, match="it has none"):
        pdm.find_activity(read({"sbd_id": "sbd-1", "activities": {}}), "observe")


def test_a_description_names_functions_and_shows_only_the_head_of_inline_scripts():
    inline = {"kind": "inline", "content": "x" * 5000, "function_args": {"main": {"args": [1]}}}

    described = pdm.describe(block(inline, telescope="MeerKAT"))

    assert described == {
        "sbd_id": "sbd-1",
        "version": 4,
        "telescope": "MeerKAT",
        "activities": {
            "observe": {
                "kind": "inline",
                "script": {"kind": "inline", "content": "x" * 200},
                "functions": ["main"],
            }
        },
    }
