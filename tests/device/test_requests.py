"""Requests that are refused at once: nothing is created, and no activity id is used."""

import json
import uuid
from collections.abc import Iterator

import pytest

from tests.device.client import Client, Recorder, failure
from tests.device.stack import Stack

GOOD = {"sbd_id": "sbd-no-such-block", "activity_name": "observe"}


@pytest.fixture
def nothing_happens(client: Client) -> Iterator[None]:
    before = client.device.activityId, client.device.EventsSince(0)
    yield
    assert (client.device.activityId, client.device.EventsSince(0)) == before


def with_kwargs(function: str, **kwargs) -> dict:
    return {"script_args": {function: {"kwargs": kwargs}}}


def with_args(text: str) -> str:
    """A request with this text as the positional arguments of main."""
    return json.dumps(GOOD)[:-1] + ', "script_args": {"main": {"args": ' + text + "}}}"


NOT_JSON = {
    "empty": "",
    "half": '{"sbd_id": "x"',
    "scalar": "42",
    "array": "[]",
    "null": "null",
    "string": '"x"',
    "trailing": json.dumps(GOOD) + " z",
    "duplicate key": '{"sbd_id": "x", "sbd_id": "y", "activity_name": "observe"}',
    "nested duplicate key": with_args('[{"a": 1, "a": 2}]'),
    "NaN": with_args("[NaN]"),
    "Infinity": with_args("[Infinity]"),
    "-Infinity": with_args("[-Infinity]"),
    "1e999": with_args("[1e999]"),
    "byte-order mark": "\u00ef\u00bb\u00bf" + json.dumps(GOOD),
    "5000 digits": with_args("[" + "1" * 5000 + "]"),
    "65 deep": with_args("[" * 62 + "]" * 62),
    "90000 deep": "[" * 90_000,
    "over 1 MiB": with_args('["' + "x" * (1024 * 1024) + '"]'),
}


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("command", ["RunActivity", "ValidateActivity"])
@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_no_json_request_is_refused(stack: Stack, client: Client, command: str, case: str):
    assert client.refusal(command, NOT_JSON[case]).startswith("INVALID_REQUEST: ")


WRONG = {
    "unknown key": {**GOOD, "prepare": True},
    "neither id nor URI": {"activity_name": "observe"},
    "both id and URI": {**GOOD, "sb_uri": "oda://x"},
    "no name": {"sbd_id": "x"},
    "null name": {**GOOD, "activity_name": None},
    "numeric name": {**GOOD, "activity_name": 1},
    "empty name": {**GOOD, "activity_name": ""},
    "129 characters": {**GOOD, "activity_name": "x" * 129},
    "newline in name": {**GOOD, "activity_name": "observe\n"},
    "NUL in name": {**GOOD, "activity_name": "obs\0erve"},
    "bidi override in name": {**GOOD, "activity_name": "obs\u202eevresbo"},
    "zero width in name": {**GOOD, "activity_name": "observe\u200b"},
    "surrogate in name": {**GOOD, "activity_name": "\ud800"},
    "C1 control in name": {**GOOD, "activity_name": "a\u0085b"},
    "numeric id": {**GOOD, "sbd_id": 1},
    "null id": {**GOOD, "sbd_id": None},
    "empty id": {**GOOD, "sbd_id": ""},
    "id begins with dot": {**GOOD, "sbd_id": ".x"},
    "id begins with dash": {**GOOD, "sbd_id": "-x"},
    "id with slash": {**GOOD, "sbd_id": "a/b"},
    "id with newline": {**GOOD, "sbd_id": "sbd-1\n"},
    "129 characters of id": {**GOOD, "sbd_id": "x" * 129},
    "id not ASCII": {**GOOD, "sbd_id": "sbd-αλ"},
    "id with Arabic digit": {**GOOD, "sbd_id": "sbd-\u0661"},
    "string bool": {**GOOD, "prepare_only": "false"},
    "int bool": {**GOOD, "prepare_only": 0},
    "null bool": {**GOOD, "create_env": None},
    "subarray 0": {**GOOD, "subarray_id": 0},
    "subarray 17": {**GOOD, "subarray_id": 17},
    "subarray -1": {**GOOD, "subarray_id": -1},
    "subarray true": {**GOOD, "subarray_id": True},
    "subarray string": {**GOOD, "subarray_id": "1"},
    "subarray 1.0": {**GOOD, "subarray_id": 1.0},
    "request_id of 65": {**GOOD, "request_id": "x" * 65},
    "request_id number": {**GOOD, "request_id": 1},
    "requested_by of 257": {**GOOD, "requested_by": "x" * 257},
    "comment of 257": {**GOOD, "comment": "x" * 257},
    "comment a list": {**GOOD, "comment": []},
    "script_args a list": {**GOOD, "script_args": [1, 2]},
    "script_args a string": {**GOOD, "script_args": "{}"},
    "other function": {**GOOD, "script_args": {"__init__": {}}},
    "function a list": {**GOOD, "script_args": {"main": []}},
    "args an object": {**GOOD, "script_args": {"main": {"args": {}}}},
    "args a string": {**GOOD, "script_args": {"main": {"args": "abc"}}},
    "kwargs a list": {**GOOD, "script_args": {"main": {"kwargs": []}}},
    "unknown key of a function": {**GOOD, "script_args": {"main": {"arg": []}}},
    "reserved sb_json": {**GOOD, **with_kwargs("main", sb_json="/etc/passwd")},
    "reserved sbi_id": {**GOOD, **with_kwargs("main", sbi_id="sbi-x")},
    "reserved in init": {**GOOD, **with_kwargs("init", sbi_id="sbi-x")},
    "reserved in run": {**GOOD, **with_kwargs("run", sb_json="x")},
    "kwarg subarray 0": {**GOOD, **with_kwargs("init", subarray_id=0)},
    "kwarg subarray 17": {**GOOD, **with_kwargs("main", subarray_id=17)},
    "kwarg subarray true": {**GOOD, **with_kwargs("init", subarray_id=True)},
    "kwarg subarray string": {**GOOD, **with_kwargs("init", subarray_id="1")},
    "kwarg subarray null": {**GOOD, **with_kwargs("init", subarray_id=None)},
    "kwarg differs": {**GOOD, "subarray_id": 2, **with_kwargs("init", subarray_id=3)},
    "init and main differ": {
        **GOOD,
        "script_args": {
            "init": {"kwargs": {"subarray_id": 2}},
            "main": {"kwargs": {"subarray_id": 3}},
        },
    },
}  # fmt: skip
URIS = [
    "", "oda://", "oda:///x", "oda://../x", "oda://a/b", "oda://x?version=0", "oda://x?version=-1",
    "oda://x?version=1.5", "oda://x?version=", "oda://x?version=a", "oda://x?version=1&version=2",
    "oda://x?version=1&a=b", "oda://x?versions=1", "oda://x#f", "oda://u@x", "oda://x:1",
    "ODA://x y",
    "oda://sbds/../../secrets", "oda://evil.example:5000/sbds/x", "oda://x?version=%31",
    "oda://x?version=\u0661", "http://x/y.json", "https://x", "x", "/etc/passwd", "file:x.json",
    "file://x.json", "file://host/x.json", "file:///etc/passwd", "file:///",
    "file:///tmp/../etc/passwd",
    "file:///a\u0000b", "ftp://x", "data:application/json,{}", "javascript:1",
]  # fmt: skip


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("case", WRONG)
def test_an_impossible_request_is_refused(stack: Stack, client: Client, case: str):
    refusal = client.refusal("RunActivity", WRONG[case])

    assert refusal.startswith("INVALID_REQUEST: ")
    assert len(refusal) < 1000
    assert refusal.isprintable()
    assert client.refusal("ValidateActivity", WRONG[case]).startswith("INVALID_REQUEST: ")


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("uri", [*URIS, 1, None, ["oda://x"]])
def test_any_other_uri_is_refused(stack: Stack, client: Client, uri: object):
    request = {"sb_uri": uri, "activity_name": "observe"}

    refusal = client.refusal("RunActivity", request)

    assert refusal.split(":")[0] in ("INVALID_REQUEST", "SCRIPT_NOT_ALLOWED")


@pytest.mark.usefixtures("nothing_happens")
def test_a_file_beside_the_roots_is_refused_however_it_is_spelled(stack: Stack, client: Client):
    outside = stack.directory / "outside.json"
    outside.write_text('{"telescope": "ska_mid", "activities": {}}')
    (stack.oda / "link.json").symlink_to(outside)
    spelled = [
        outside,
        stack.oda / ".." / "outside.json",
        f"{stack.oda}x/b.json",
        stack.oda / "link.json",
    ]

    for path in spelled:
        request = {"sb_uri": f"file://{path}", "activity_name": "observe"}
        assert client.refusal("RunActivity", request).startswith("INVALID_REQUEST: ")


def test_the_longest_of_everything_is_accepted(stack: Stack, client: Client):
    name = "n" * 128
    sbd_id = stack.block({name: stack.activity("echo.py")}, sbd_id="s" + "." * 127)
    request = {"sbd_id": sbd_id, "activity_name": name, "request_id": uuid.uuid4().hex * 2}
    request |= {"requested_by": "b" * 256, "comment": "c" * 256, "subarray_id": 16}
    request |= {"script_args": {"main": {"args": [json.loads("[" * 59 + "]" * 59)]}}}

    run = client.finish(client.send("RunActivity", request))

    assert run.states[-1] == "SUCCEEDED", run.activity["error"]


def test_null_is_the_same_as_no_lane(stack: Stack, client: Client):
    run = client.run(stack.block_of("takes_nothing.py"), subarray_id=None)

    assert (run.states[-1], run.activity["subarray_id"]) == ("SUCCEEDED", None)


def test_a_refusal_is_the_only_thing_that_the_command_leaves(stack: Stack, client: Client):
    (code,), (text,) = client.device.RunActivity("{}")

    assert (code, text.split(":")[0]) == (5, "INVALID_REQUEST")


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("command", ["StartActivity", "StopActivity"])
@pytest.mark.parametrize(
    "argument",
    [
        "", "null", "[]", "{}", '{"activity_id": "1"}', '{"activity_id": true}',
        '{"activity_id": 1.0}',
        '{"activity_id": null}', '{"activity_id": 1, "x": 1}',
        '{"activity_id": 1, "activity_id": 1}',
        '{"activity_id": 1, "run_abort": 1, "script_args": []}',
        '{"activity_id": ' + "9" * 40 + "}",
    ],
)  # fmt: skip
def test_a_malformed_start_or_stop_is_refused(
    stack: Stack, client: Client, command: str, argument: str
):
    refusal = client.refusal(command, argument)

    assert refusal.split(":")[0] in ("INVALID_REQUEST", "UNKNOWN_ACTIVITY")


@pytest.mark.parametrize("command", ["StartActivity", "StopActivity"])
@pytest.mark.parametrize("activity_id", [0, -1, 999_999])
def test_start_and_stop_of_an_unknown_activity_are_refused(
    stack: Stack, client: Client, command: str, activity_id: int
):
    refusal = client.refusal(command, {"activity_id": activity_id})

    assert refusal.split(":")[0] in ("INVALID_REQUEST", "UNKNOWN_ACTIVITY")
    assert activity_id <= 0 or refusal.startswith("UNKNOWN_ACTIVITY: ")


@pytest.mark.parametrize("subarray_id", [0, 17, True, "1", None])
def test_stop_of_an_impossible_subarray_is_refused(
    stack: Stack, client: Client, subarray_id: object
):
    refusal = client.refusal("StopActivity", {"subarray_id": subarray_id})

    assert refusal.startswith("INVALID_REQUEST: ")


def test_stop_by_both_activity_and_subarray_is_refused(stack: Stack, client: Client):
    run = client.run(stack.block_of("takes_nothing.py"), subarray_id=2)

    refusal = client.refusal(
        "StopActivity", {"activity_id": run.activity["activity_id"], "subarray_id": 2}
    )

    assert refusal.startswith("INVALID_REQUEST: ")


@pytest.mark.parametrize(
    "argument", ["", "../x", "http://x", "oda://x?version=0", "file:///etc/passwd"]
)
def test_an_impossible_block_to_describe_is_refused(stack: Stack, client: Client, argument: str):
    assert client.refusal("DescribeSchedulingBlock", argument).startswith("INVALID_REQUEST: ")


@pytest.mark.parametrize(
    "argument",
    [
        "[]", "null", '{"state": "NOPE"}', '{"state": 1}', '{"limit": -1}', '{"limit": true}',
        '{"limit": "1"}', '{"subarray_id": 0}', '{"before": "x"}', '{"sbd_id": 1}', '{"what": 1}',
        '{"limit": 1, "limit": 2}',
    ],
)  # fmt: skip
def test_a_malformed_filter_is_one_clear_failure(stack: Stack, client: Client, argument: str):
    error = failure(lambda: client.device.ListActivities(argument))

    assert error.reason == "INVALID_REQUEST"
    assert error.desc.strip()
    assert "Traceback" not in error.desc


def test_work_is_refused_unless_the_device_is_online(stack: Stack, client: Client):
    sbd_id = stack.block_of(
        "gated.py", main={"kwargs": {"gate": str(stack.directory / "gate-admin")}}
    )
    running = client.start(sbd_id)
    prepared = client.run(sbd_id, prepare_only=True).activity["activity_id"]
    client.device.adminMode = "OFFLINE"
    try:
        refusals = [
            client.refusal("RunActivity", client.request(sbd_id)),
            client.refusal("StartActivity", {"activity_id": prepared}),
        ]
        goes_on = client.get(running["activity_id"])["state"]
        stopped = client.stop(activity_id=running["activity_id"])
    finally:
        client.device.adminMode = "ONLINE"
    client.device.adminMode = "ENGINEERING"
    try:
        (stack.directory / "gate-admin").touch()
        accepted = client.ask("StartActivity", {"activity_id": prepared})
    finally:
        client.device.adminMode = "ONLINE"

    assert [refusal.split(":")[0] for refusal in refusals] == ["NOT_ONLINE"] * 2
    assert goes_on == "RUNNING"
    assert stopped[0] == 0
    assert accepted == (0, f"Activity {prepared} SUCCEEDED")


def test_the_executor_refuses_work_unless_it_is_online(stack: Stack, client: Client):
    client.executor.adminMode = "OFFLINE"
    try:
        error = failure(lambda: client.prepare(stack.script("takes_nothing.py")))
        run = client.run(stack.block_of("takes_nothing.py"), seconds=20)
    except AssertionError:
        raise
    except Exception as refused:
        outcome = str(refused)
    else:
        outcome = run.activity["reason"]
    finally:
        client.executor.adminMode = "ONLINE"

    assert error.reason == "NOT_ONLINE"
    assert outcome.split(":")[0] in ("NO_CAPACITY", "EXECUTOR_UNAVAILABLE", "NOT_ONLINE")
    assert client.run(stack.block_of("takes_nothing.py")).states[-1] == "SUCCEEDED"


def test_at_most_a_hundred_activities_are_unfinished(own_stack: Stack):
    client = Client()
    gate = own_stack.directory / "gate-hundred"
    sbd_id = own_stack.block_of("gated.py", main={"kwargs": {"gate": str(gate)}})
    sent: list[str] = []
    for _ in range(10):
        sent += [client.send("RunActivity", client.request(sbd_id)) for _ in range(10)]
        client.reach(sent[-1], "RUNNING")

    refusal = client.refusal("RunActivity", client.request(sbd_id))
    with Recorder(client.device, "activeActivities") as recorder:
        recorder.wait(lambda: recorder.events[-1].value == 100, "a hundred active ones")
    gate.touch()
    runs = [client.finish(command_id, 90) for command_id in sent]

    ends = [(run.activity["state"], run.activity["error"]) for run in runs]
    assert refusal.startswith("NO_CAPACITY: ")
    assert set(ends) == {("SUCCEEDED", None)}
    assert len(client.device.activities) == 100
