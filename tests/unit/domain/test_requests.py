"""Requests are read whole or refused at once, with a sentence that names what is wrong."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oso_activity.domain.activity import ActivityState
from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.errors import InvalidRequest
from ska_oso_activity.domain.request import (
    ActivityCommand,
    ListRequest,
    StartRequest,
    StopRequest,
    parse_block_argument,
)
from ska_oso_activity.domain.scheduling_block import BlockReference, path_of_file_uri

SBD = "sbd-mid-20261124-00001"
GOOD = {"sbd_id": SBD, "activity_name": "observe"}


def parse(**changes):
    """Parse a good request with some keys changed, or (given `...`) left out."""
    request = {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}
    return ActivityCommand.parse(json.dumps(request))


def refusal_of(text, reader=ActivityCommand.parse):
    with pytest.raises(InvalidRequest) as refusal:
        reader(text)
    return str(refusal.value)


def assert_one_sentence(text):
    """Short enough for one line of a log, and nothing in it that could forge another."""
    assert 0 < len(text) < 600
    assert text.isprintable()
    assert "  " not in text


# --- RunActivity: what is accepted


def test_the_least_request_has_the_defaults_of_the_contract():
    command = parse()

    assert command == ActivityCommand(
        block=BlockReference(f"oda://{SBD}", sbd_id=SBD),
        activity_name="observe",
        script_args={},
        prepare_only=False,
        create_env=False,
        subarray_id=None,
        request_id=None,
        requested_by=None,
        comment=None,
    )


def test_a_whole_request_is_read():
    command = parse(
        script_args={"init": {"kwargs": {"subarray_id": 3}}, "main": {"args": [1, None]}},
        prepare_only=True,
        create_env=True,
        subarray_id=3,
        request_id="r" * 64,
        requested_by="An operator \u03b1",
        comment="c" * 256,
    )

    assert command.script_args == {
        "init": ProcedureInput((), {"subarray_id": 3}),
        "main": ProcedureInput((1, None), {}),
    }
    assert (command.prepare_only, command.create_env, command.subarray_id) == (True, True, 3)
    assert (command.request_id, command.requested_by) == ("r" * 64, "An operator \u03b1")
    assert command.comment == "c" * 256


@pytest.mark.parametrize(
    ("uri", "sbd_id", "version", "path"),
    [
        (f"oda://{SBD}", SBD, None, None),
        (f"oda://{SBD}?version=12", SBD, 12, None),
        ("oda://A", "A", None, None),
        ("file:///blocks/a.json", None, None, "/blocks/a.json"),
        ("file:///blocks/a%20b.json", None, None, "/blocks/a b.json"),
        ("file:///blocks/\u03b1.json", None, None, "/blocks/\u03b1.json"),
    ],
)
def test_a_uri_of_one_of_the_three_forms_is_read(uri, sbd_id, version, path):
    block = parse(sbd_id=..., sb_uri=uri).block

    assert block == BlockReference(uri, sbd_id=sbd_id, version=version, path=path)


@pytest.mark.parametrize("name", ["observe", "__class__", "\u03b1", "a" * 128, " ", "a/b"])
def test_a_visible_name_is_accepted(name):
    assert parse(activity_name=name).activity_name == name


@pytest.mark.parametrize("name", ["self", "not an identifier", "", "\u03b1", "cls", "args"])
def test_a_keyword_argument_may_have_any_name_that_is_not_reserved(name):
    command = parse(script_args={"main": {"kwargs": {name: 1}}})

    assert command.script_args["main"].kwargs == {name: 1}


# --- RunActivity: refused at once

TEXTS = {
    "nothing": "",
    "a word": "run",
    "a number": "42",
    "a list": "[]",
    "null": "null",
    "a string": '"sbd"',
    "a duplicate key": '{"sbd_id": "a", "sbd_id": "b", "activity_name": "observe"}',
    "NaN": '{"sbd_id": "a", "activity_name": "o", "script_args": {"main": {"args": [NaN]}}}',
    "infinity": '{"sbd_id": "a", "activity_name": "o", "script_args": {"main": {"args": [1e999]}}}',
    "a byte-order mark": "\ufeff" + json.dumps(GOOD),
    "a byte-order mark as latin-1": "\u00ef\u00bb\u00bf" + json.dumps(GOOD),
    "too much": json.dumps({**GOOD, "comment": "x" * 1024 * 1024}),
    "too deep": json.dumps(GOOD)[:-1] + ', "script_args": ' + '{"a":' * 64 + "1" + "}" * 65,
    "a truncated object": '{"sbd_id": "a"',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_what_is_no_json_object_is_refused(text):
    assert_one_sentence(refusal_of(text))


INVISIBLE = {
    "nothing": "",
    "too long": "a" * 129,
    "a newline": "a\nb",
    "NUL": "a\0",
    "escape": "\x1b[2J",
    "a C1 control": "a\x9b",
    "a direction": "a\u202eb",
    "zero width": "a\u200b",
    "a byte-order mark": "\ufeffa",
    "a soft hyphen": "a\u00ad",
    "a surrogate": "a\ud800",
    "a tag": "a\U000e0041",
    "a line separator": "a\u2028",
}
SBD_IDS = ["", ".a", "-a", "_a", "a/b", "../a", "a b", "a\n", "\u03b1", "a\0", "a" * 129]
URIS = [
    "",
    SBD,
    "oda://",
    "oda:///a",
    "oda:a",
    "ODA://a",
    "oda://a/",
    "oda://a/1",
    "oda://a?version=0",
    "oda://a?version=-1",
    "oda://a?version=1.5",
    "oda://a?version=01",
    "oda://a?version=",
    "oda://a?version=1&x=2",
    "oda://a?version=\u0661",
    "oda://a?v=1",
    "oda://a#1",
    "oda://a\n",
    "oda://" + "a" * 129,
    "oda://sbds/../../secrets",
    "oda://evil.example:5000/sbds/x",
    "file://a.json",
    "file://host/a.json",
    "file:/a.json",
    "FILE:///a.json",
    "file:///a.json?x=1",
    "file:///a.json#x",
    "file:///a/../b.json",
    "file:///a/%2e%2e/b.json",
    "file:///a//b.json",
    "file:///a%00.json",
    "file:///a%0a.json",
    "file:///a%ff.json",
    "file:///\ud800.json",
    "file:///etc/passwd",
    "file:///",
    "http://169.254.169.254/a.json",
    "data:application/json,{}",
    "/blocks/a.json",
]
REFUSED = [
    *(({"sbd_id": value}, "sbd_id") for value in [*SBD_IDS, None, 1, True, [], {}]),
    *(({"sbd_id": ..., "sb_uri": value}, "sb_uri") for value in [*URIS, None, 1, [], {}]),
    *(({"activity_name": value}, "activity_name") for value in INVISIBLE.values()),
    *(({"activity_name": value}, "activity_name") for value in [None, 1, True, [], {}, ...]),
    ({"sbd_id": ...}, "sb_uri"),
    ({"sb_uri": f"oda://{SBD}"}, "sbd_id"),
    *(({"prepare_only": value}, "prepare_only") for value in ["false", 0, 1, None, []]),
    *(({"create_env": value}, "create_env") for value in ["true", 0, 1, None, {}]),
    *(({"subarray_id": value}, "subarray_id") for value in [0, 17, -1, True, 1.0, "1", [1]]),
    *(({"request_id": value}, "request_id") for value in ["", "r" * 65, 1, True, []]),
    *(({"requested_by": value}, "requested_by") for value in ["", "r" * 257, 1, {}]),
    *(({"comment": value}, "comment") for value in ["", "c" * 257, 1, []]),
    ({"unknown_key": 1}, "unknown_key"),
    ({"Activity_name": "observe"}, "Activity_name"),
    ({"script_args": [1, 2]}, "script_args"),
    ({"script_args": None}, "script_args"),
    ({"script_args": "main"}, "script_args"),
    *(({"script_args": {name: {}}}, "script_args") for name in ["__init__", "stop", "", "Main"]),
    ({"script_args": {"main": [1]}}, "script_args.main"),
    ({"script_args": {"main": {"args": 1}}}, "script_args.main.args"),
    ({"script_args": {"main": {"kwargs": [1]}}}, "script_args.main.kwargs"),
    ({"script_args": {"main": {"arguments": []}}}, "arguments"),
    *(
        ({"script_args": {function: {"kwargs": {name: "x"}}}}, name)
        for function in ("init", "main", "run")
        for name in ("sb_json", "sbi_id")
    ),
    *(
        ({"script_args": {function: {"kwargs": {"subarray_id": value}}}}, "subarray_id")
        for function in ("init", "main", "run")
        for value in [0, 17, True, "3", 3.0, None]
    ),
    ({"subarray_id": 4, "script_args": {"init": {"kwargs": {"subarray_id": 3}}}}, "subarray_id"),
    (
        {"script_args": {n: {"kwargs": {"subarray_id": i}} for n, i in [("init", 3), ("main", 4)]}},
        "subarray",
    ),
]


@pytest.mark.parametrize(
    ("changes", "named"), REFUSED, ids=[f"{i}-{named}" for i, (_, named) in enumerate(REFUSED)]
)
def test_a_bad_request_is_refused_with_one_sentence_that_names_the_key(changes, named):
    with pytest.raises(InvalidRequest) as refusal:
        parse(**changes)

    assert_one_sentence(str(refusal.value))
    assert named in str(refusal.value)


# --- The bad inputs that are kept beside the project

SHARED = Path(__file__).parents[3].parent / "shared"
GENERATED = {
    "json with 1e6 small keys (~12 MB)": lambda: (
        "{" + ",".join([f'"k{i:06}":1' for i in range(10**6)]) + "}"
    ),
    "130 MiB string": lambda: '"' + "x" * (130 * 1024 * 1024) + '"',
    "'{\"a\":'*900+'1'+'}'*900": lambda: '{"a":' * 900 + "1" + "}" * 900,
    "'{\"sbd_id\":'+'1'*5000+'}'": lambda: '{"sbd_id":' + "1" * 5000 + "}",
    "'a'*100000": lambda: "a" * 100_000,
}


def bad_inputs():
    """The cases that are about the request, as parameters; one that is skipped without them."""
    file = SHARED / "data" / "bad_inputs.json"
    if not file.is_file():
        why = f"the bad inputs are not kept beside this checkout ({file})"
        return [pytest.param({}, marks=pytest.mark.skip(reason=why), id="no data")]
    cases = json.loads(file.read_text(encoding="utf-8"))["cases"]
    return [
        pytest.param(case, id=case["id"])
        for case in cases
        if case["category"] in {"json", "unicode", "id", "args", "sb_uri"}
        and not case["field"].startswith("SB ")
    ]


def request_of(case):
    value = case["input"]
    if isinstance(value, dict) and "gen" in value:
        value = GENERATED[value["gen"]]()
    field = case["field"]
    if field.startswith("RunActivity argument"):
        return value
    if field == "sb_json URI":
        return json.dumps({"sb_uri": value, "activity_name": "observe"})
    if field.startswith("script_args."):
        function, name = field.removeprefix("script_args.").split(".kwargs", 1)
        name = name.removeprefix(".").removeprefix('["').removesuffix('"]')
        return json.dumps({**GOOD, "script_args": {function: {"kwargs": {name: value}}}})
    if field == "script_args":
        return json.dumps({**GOOD, "script_args": json.loads(value)})
    return json.dumps({**GOOD, field: value})


@pytest.mark.parametrize("case", bad_inputs())
def test_a_bad_input_is_refused_at_once_or_is_nothing_special(case):
    text = request_of(case)

    if case["expected"].startswith("refused by the command"):
        assert_one_sentence(refusal_of(text))
    else:
        ActivityCommand.parse(text)


# --- Any JSON at all

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(["args", "kwargs"]), inner)
    ),
    max_leaves=10,
)
KEYS = [
    "sbd_id",
    "sb_uri",
    "activity_name",
    "script_args",
    "prepare_only",
    "create_env",
    "subarray_id",
    "request_id",
    "requested_by",
    "comment",
    "activity_id",
    "run_abort",
    "state",
    "before",
    "limit",
]
READERS = [ActivityCommand.parse, StartRequest.parse, StopRequest.parse, ListRequest.parse]


def read_or_refuse(text, reader):
    """Nothing but a refusal is ever raised, and a refusal is one sentence."""
    try:
        reader(text)
    except InvalidRequest as refusal:
        assert_one_sentence(" ".join(str(refusal).split()))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__qualname__)
@given(key=st.sampled_from(KEYS), value=JSON_VALUES)
def test_any_json_value_in_any_field_is_read_or_refused(reader, key, value):
    read_or_refuse(json.dumps({**GOOD, key: value}), reader)
    read_or_refuse(json.dumps({"activity_id": 1, key: value}), reader)
    read_or_refuse(json.dumps({key: value}), reader)


@given(value=JSON_VALUES, function=st.sampled_from(["init", "main", "run", "other"]))
def test_any_json_value_as_arguments_is_read_or_refused(value, function):
    for script_args in (value, {function: value}, {function: {"kwargs": value, "args": value}}):
        read_or_refuse(json.dumps({**GOOD, "script_args": script_args}), ActivityCommand.parse)


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=60))
def test_any_text_as_a_block_is_read_or_refused(text):
    read_or_refuse(text, parse_block_argument)
    read_or_refuse(json.dumps({"sb_uri": text, "activity_name": "a"}), ActivityCommand.parse)


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=40))
def test_a_clean_file_uri_names_an_absolute_path_without_steps_back(text):
    path = path_of_file_uri("file:///" + text)

    assert path is None or (path.startswith("/") and ".." not in path.split("/"))


# --- StartActivity, StopActivity, ListActivities, DescribeSchedulingBlock


def test_a_start_names_an_activity_and_may_give_arguments():
    request = StartRequest.parse('{"activity_id": 12, "script_args": {"main": {"args": [1]}}}')

    assert request == StartRequest(12, {"main": ProcedureInput((1,), {})})


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"activity_id": 0}',
        '{"activity_id": -1}',
        '{"activity_id": "12"}',
        '{"activity_id": true}',
        '{"activity_id": 1.0}',
        '{"activity_id": null}',
        '{"activity_id": 9223372036854775808}',
        '{"activity_id": 1, "subarray_id": 2}',
        '{"activity_id": 1, "script_args": {"init": {}}}',
        '{"activity_id": 1, "script_args": {"main": {"kwargs": {"sbi_id": 1}}}}',
        '{"activity_id": 1, "script_args": {"main": {"kwargs": {"subarray_id": 0}}}}',
    ],
)
def test_a_bad_start_is_refused(text):
    assert_one_sentence(refusal_of(text, StartRequest.parse))


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ('{"activity_id": 12}', StopRequest(12, None, run_abort=True)),
        ('{"activity_id": 12, "run_abort": false}', StopRequest(12, None, run_abort=False)),
        ('{"subarray_id": 3, "run_abort": true}', StopRequest(None, 3, run_abort=True)),
    ],
)
def test_a_stop_names_an_activity_or_a_subarray(text, request_):
    assert StopRequest.parse(text) == request_


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"run_abort": true}',
        '{"activity_id": 1, "subarray_id": 1}',
        '{"activity_id": 0}',
        '{"activity_id": "1"}',
        '{"subarray_id": 17}',
        '{"subarray_id": true}',
        '{"subarray_id": null}',
        '{"activity_id": 1, "run_abort": 1}',
        '{"activity_id": 1, "run_abort": "no"}',
        '{"activity_id": 1, "abort": true}',
    ],
)
def test_a_bad_stop_is_refused(text):
    assert_one_sentence(refusal_of(text, StopRequest.parse))


def test_a_list_may_ask_for_all_or_filter_by_each_key():
    text = '{"state": "FAILED", "sbd_id": "a", "subarray_id": 3, "before": 9, "limit": 2}'

    assert ListRequest.parse(text) == ListRequest(ActivityState.FAILED, "a", 3, 9, 2)
    assert ListRequest.parse("") == ListRequest.parse(" {} ") == ListRequest()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"state": "failed"}',
        '{"state": 7}',
        '{"limit": 0}',
        '{"before": -1}',
        '{"subarray_id": 0}',
        '{"sbd_id": 1}',
        '{"states": "FAILED"}',
    ],
)
def test_a_bad_list_is_refused(text):
    assert_one_sentence(refusal_of(text, ListRequest.parse))


@pytest.mark.parametrize(
    ("text", "uri"),
    [(SBD, f"oda://{SBD}"), (f" oda://{SBD}?version=2\n", f"oda://{SBD}?version=2")],
)
def test_a_block_is_described_by_its_id_or_uri(text, uri):
    assert parse_block_argument(text).uri == uri
