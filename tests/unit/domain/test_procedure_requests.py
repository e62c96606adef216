"""ScriptExecution's arguments survive their JSON, and unknown keys are passed over."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.errors import InvalidRequest
from ska_oso_activity.domain.procedure import (
    BlockContent,
    PrepareProcessCommand,
    StartProcessCommand,
    StopProcessCommand,
)
from ska_oso_activity.domain.procedure_request import (
    prepare_to_json,
    read_output_request,
    read_prepare,
    read_start,
    read_stop,
    start_to_json,
    stop_to_json,
)
from ska_oso_activity.domain.scheduling_block import BLOCK_LIMIT
from ska_oso_activity.domain.script import FileSystemScript, GitScript, InlineScript

GOOD = {"request_id": "r", "script": {"kind": "filesystem", "uri": "file:///scripts/a.py"}}


@pytest.mark.parametrize(
    "script",
    [
        FileSystemScript("file:///scripts/a.py"),
        GitScript("git://a.py", "https://x/y.git"),
        GitScript("git://a.py", "https://x/y.git", "main", "a" * 40, create_env=True),
        InlineScript("def main(): ..."),
    ],
)
def test_a_prepare_command_survives_its_json(script):
    command = PrepareProcessCommand(
        "r",
        script,
        init_args=ProcedureInput((1,), {"a": None}),
        scheduling_block=BlockContent("sbd-1", 2, "{\u03b1}\r\n"),
        subarray_id=3,
        telescope="ska_mid",
        labels={"activity_id": 1},
        main_args=ProcedureInput((), {"b": [1]}),
    )

    assert read_prepare(json.dumps(prepare_to_json(command))) == command


def test_the_least_prepare_command_is_read():
    command = read_prepare(json.dumps(GOOD))

    assert command == PrepareProcessCommand("r", FileSystemScript("file:///scripts/a.py"))


def test_start_and_stop_survive_their_json():
    start = StartProcessCommand(7, "main", ProcedureInput((1,), {"sbi_id": "x"}), force_start=True)
    stop = StopProcessCommand(7, run_abort=True)

    assert read_start(json.dumps(start_to_json(start))) == start
    assert read_stop(json.dumps(stop_to_json(stop))) == stop


def test_unknown_keys_are_passed_over():
    assert read_prepare(json.dumps({**GOOD, "later": 1})) == read_prepare(json.dumps(GOOD))
    assert read_start('{"procedure_id": 7, "later": 1}') == StartProcessCommand(7)
    assert read_stop('{"procedure_id": 7, "later": 1}') == StopProcessCommand(7)


def test_a_block_of_8_mib_passes_however_its_text_is_escaped():
    content = "\u03b1" * (BLOCK_LIMIT // 2)

    command = read_prepare(
        json.dumps({**GOOD, "scheduling_block": {"sbd_id": None, "content": content}})
    )

    assert command.scheduling_block == BlockContent(None, None, content)


def test_arguments_count_as_they_are_sent_on_however_they_came():
    text = json.dumps(
        {**GOOD, "init_args": {"args": ["\u03b1" * (2 * 1024 * 1024)]}}, ensure_ascii=False
    )

    with pytest.raises(InvalidRequest, match=r"takes 12.* bytes, and 8.* is the most"):
        read_prepare(text)


def test_output_is_asked_for_by_offset_and_limit():
    assert read_output_request('{"procedure_id": 7}') == (7, 0, 1000)
    assert read_output_request('{"procedure_id": 7, "offset": 5, "limit": 2}') == (7, 5, 2)


@pytest.mark.parametrize(
    ("reader", "text", "named"),
    [
        (read_prepare, "[]", "argument"),
        (read_prepare, '{"a": 1, "a": 2}', "'a'"),
        (read_prepare, json.dumps({**GOOD, "request_id": ""}), "request_id"),
        (read_prepare, json.dumps({**GOOD, "request_id": "a\n"}), "request_id"),
        (read_prepare, json.dumps({**GOOD, "request_id": "a" * 129}), "request_id"),
        (read_prepare, json.dumps({"script": GOOD["script"]}), "request_id"),
        (read_prepare, json.dumps({"request_id": "r"}), "script"),
        (read_prepare, json.dumps({**GOOD, "script": {"kind": "x"}}), "script.kind"),
        (read_prepare, json.dumps({**GOOD, "script": {"kind": "git", "uri": "a"}}), "repo"),
        (read_prepare, json.dumps({**GOOD, "subarray_id": 0}), "subarray_id"),
        (read_prepare, json.dumps({**GOOD, "subarray_id": True}), "subarray_id"),
        (read_prepare, json.dumps({**GOOD, "init_args": []}), "init_args"),
        (read_prepare, json.dumps({**GOOD, "labels": [1]}), "labels"),
        (read_prepare, json.dumps({**GOOD, "telescope": 1}), "telescope"),
        (read_prepare, json.dumps({**GOOD, "scheduling_block": "x"}), "scheduling_block"),
        (
            read_prepare,
            json.dumps({**GOOD, "scheduling_block": {"sbd_id": "../a", "content": ""}}),
            "sbd_id",
        ),
        (
            read_prepare,
            json.dumps({**GOOD, "scheduling_block": {"version": "1/2", "content": ""}}),
            "version",
        ),
        (read_prepare, json.dumps({**GOOD, "scheduling_block": {"content": {}}}), "content"),
        (read_start, "{}", "procedure_id"),
        (read_start, '{"procedure_id": 7, "function": "__init__"}', "function"),
        (read_start, '{"procedure_id": 7, "force_start": 1}', "force_start"),
        (read_stop, '{"procedure_id": "7"}', "procedure_id"),
        (read_stop, '{"procedure_id": 7, "run_abort": "no"}', "run_abort"),
        (read_output_request, '{"procedure_id": 7, "offset": -1}', "offset"),
        (read_output_request, '{"procedure_id": 7, "limit": 0}', "limit"),
    ],
)
def test_a_bad_argument_is_refused_by_name(reader, text, named):
    with pytest.raises(InvalidRequest, match=named):
        reader(text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
KEYS = [
    *("request_id", "script", "init_args", "scheduling_block", "subarray_id", "telescope"),
    *("labels", "main_args", "procedure_id", "function", "args", "force_start", "run_abort"),
    *("offset", "limit"),
]


@pytest.mark.parametrize("reader", [read_prepare, read_start, read_stop, read_output_request])
@given(key=st.sampled_from(KEYS), value=JSON_VALUES)
def test_any_json_value_in_any_field_is_read_or_refused(reader, key, value):
    with contextlib.suppress(InvalidRequest):
        reader(json.dumps({**GOOD, "procedure_id": 1, key: value}))


def test_arguments_larger_than_a_script_can_be_sent_are_refused():
    large = {"args": ["x" * (8 * 1024 * 1024)]}

    with pytest.raises(InvalidRequest, match="8388608 is the most that is handed to a script"):
        read_prepare(json.dumps({**GOOD, "init_args": large}))
