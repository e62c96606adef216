"""ScriptExecution's own commands, called directly, as another release of our device might."""

import json
import uuid
from pathlib import Path

import pytest

from tests.device.client import (
    TERMINAL_PROCEDURE,
    Client,
    Json,
    Recorder,
    failure,
    preparation,
    reason_of,
    until,
)
from tests.device.stack import Stack

EVENT_KEYS = [
    "epoch",
    "seq",
    "time",
    "procedure_id",
    "request_id",
    "state",
    "previous_state",
    "pid",
    "exit_code",
    "signal",
    "reason",
    "error",
]
SUMMARY_KEYS = set(EVENT_KEYS) | {
    "result",
    "stacktrace",
    "progress",
    "message",
    "script",
    "subarray_id",
    "labels",
    "procedure_states",
}
WITH_INIT = ["CREATING", "IDLE", "LOADING", "INITIALISING", "READY", "RUNNING", "COMPLETE"]
LABELS = [
    "UNKNOWN",
    "CREATING",
    "PREP_ENV",
    "IDLE",
    "LOADING",
    "INITIALISING",
    "READY",
    "RUNNING",
    "COMPLETE",
    "STOPPED",
    "FAILED",
]


@pytest.fixture
def recorder(client: Client):
    with Recorder(client.executor, "procedureId", "procedureState", "procedureEvent") as recorder:
        yield recorder


def story(recorder: Recorder, procedure_id: int) -> list[Json]:
    events = [event.json for event in recorder.news("procedureEvent")]
    return [event for event in events if event["procedure_id"] == procedure_id]


def wait_for(recorder: Recorder, procedure_id: int, *states: str) -> Json:
    return recorder.wait(
        lambda: next((e for e in story(recorder, procedure_id) if e["state"] in states), None),
        f"{states} of procedure {procedure_id}",
    )


def test_a_procedure_passes_each_state_once(stack: Stack, client: Client, recorder: Recorder):
    answer = client.prepare(stack.script("echo.py"), subarray_id=3, labels={"who": "αλ"})
    procedure_id = answer["procedure_id"]
    wait_for(recorder, procedure_id, "READY")
    started = client.start_process(procedure_id, 1, 2)
    wait_for(recorder, procedure_id, *TERMINAL_PROCEDURE)

    events = story(recorder, procedure_id)
    summary = client.procedure(procedure_id)
    assert answer == {"procedure_id": procedure_id, "state": "CREATING"}
    assert started["procedure_id"] == procedure_id
    assert [event["state"] for event in events] == WITH_INIT
    assert [list(event) for event in events] == [EVENT_KEYS] * 7
    assert [event["previous_state"] for event in events[1:]] == WITH_INIT[:-1]
    assert (events[-1]["exit_code"], events[-1]["signal"]) == (0, None)
    assert set(summary) == SUMMARY_KEYS | {"output_tail"}
    assert [state for state, _ in summary["procedure_states"]] == WITH_INIT
    assert summary["result"]["main"]["args"] == [1, 2]
    assert (summary["subarray_id"], summary["labels"]) == (3, {"who": "αλ"})
    assert summary["script"] == {"kind": "filesystem", "uri": stack.script("echo.py")}


def test_there_is_no_initialising_without_init(stack: Stack, client: Client, recorder: Recorder):
    procedure_id = client.prepare(stack.script("takes_nothing.py"))["procedure_id"]
    wait_for(recorder, procedure_id, "READY")

    states = [event["state"] for event in story(recorder, procedure_id)]

    assert states == ["CREATING", "IDLE", "LOADING", "READY"]
    client.executor.StopProcess(json.dumps({"procedure_id": procedure_id}))


def test_id_state_and_event_are_pushed_in_this_order(
    stack: Stack, client: Client, recorder: Recorder
):
    procedure_id = client.prepare(stack.script("takes_nothing.py"))["procedure_id"]
    client.start_process(procedure_id, force_start=True)
    wait_for(recorder, procedure_id, "COMPLETE")

    names = [event.attribute for event in recorder.news()]
    assert names == ["procedureId", "procedureState", "procedureEvent"] * (len(names) // 3)
    values = [LABELS[value] for value in recorder.values("procedureState")]
    assert values == ["CREATING", "IDLE", "LOADING", "READY", "RUNNING", "COMPLETE"]
    seqs = [event.json["seq"] for event in recorder.news("procedureEvent")]
    assert seqs == list(range(seqs[0], seqs[0] + 6))


def test_prepareprocess_is_idempotent(stack: Stack, client: Client):
    entered = stack.directory / f"entered-{uuid.uuid4().hex}"
    request = json.dumps(
        preparation(stack.script("gated.py"), init_args={"kwargs": {"entered": str(entered)}})
    )

    answers = [json.loads(client.executor.PrepareProcess(request)) for _ in range(3)]
    procedure_id = answers[0]["procedure_id"]
    until(lambda: client.procedure(procedure_id)["state"] == "READY", "READY")
    later = json.loads(client.executor.PrepareProcess(request))

    assert {answer["procedure_id"] for answer in [*answers, later]} == {procedure_id}
    assert later["state"] == "READY"
    assert entered.read_text() == "init\n"
    client.executor.StopProcess(json.dumps({"procedure_id": procedure_id}))


def test_force_start_starts_as_soon_as_it_is_ready(
    stack: Stack, client: Client, recorder: Recorder
):
    gate = stack.directory / f"gate-{uuid.uuid4().hex}"
    answer = client.prepare(stack.script("gated.py"), init_args={"kwargs": {"gate": str(gate)}})
    procedure_id = answer["procedure_id"]
    wait_for(recorder, procedure_id, "INITIALISING")

    early = failure(lambda: client.start_process(procedure_id))
    forced = client.start_process(procedure_id, force_start=True)
    gate.touch()
    wait_for(recorder, procedure_id, "COMPLETE")

    assert early.reason == "WRONG_STATE"
    assert forced["state"] in ("CREATING", "IDLE", "LOADING", "INITIALISING")
    assert [event["state"] for event in story(recorder, procedure_id)] == WITH_INIT


def test_a_procedure_is_started_at_most_once(stack: Stack, client: Client, recorder: Recorder):
    entered, gate = (stack.directory / f"{word}-{uuid.uuid4().hex}" for word in ("entered", "gate"))
    procedure_id = client.prepare(stack.script("gated.py"))["procedure_id"]
    wait_for(recorder, procedure_id, "READY")
    args = {"args": [], "kwargs": {"entered": str(entered), "gate": str(gate)}}
    client.start_process(procedure_id, args=args)
    again = [
        reason_of(
            lambda force=force: client.start_process(procedure_id, args=args, force_start=force)
        )
        for force in (False, True)
    ]
    gate.touch()
    wait_for(recorder, procedure_id, "COMPLETE")

    after = failure(lambda: client.start_process(procedure_id, args=args, force_start=True))

    assert set(again) <= {"WRONG_STATE", None}
    assert after.reason == "WRONG_STATE"
    assert entered.read_text() == "main\n"


def test_stopprocess_stops(stack: Stack, client: Client, recorder: Recorder):
    procedure_id = client.prepare(stack.script("sleeps.py"))["procedure_id"]
    client.start_process(procedure_id, force_start=True)
    wait_for(recorder, procedure_id, "RUNNING")

    answer = json.loads(client.executor.StopProcess(json.dumps({"procedure_id": procedure_id})))
    wait_for(recorder, procedure_id, *TERMINAL_PROCEDURE)

    assert answer["procedure_id"] == procedure_id
    assert client.procedure(procedure_id)["state"] == "STOPPED"
    assert client.procedure(procedure_id)["reason"] == "STOPPED_BY_REQUEST"


def test_unknown_keys_are_ignored_here(stack: Stack, client: Client):
    request = preparation(stack.script("takes_nothing.py"), from_a_later_release={"x": 1})
    procedure_id = json.loads(client.executor.PrepareProcess(json.dumps(request)))["procedure_id"]

    client.start_process(procedure_id, force_start=True, colour="red")
    until(lambda: client.procedure(procedure_id)["state"] == "COMPLETE", "COMPLETE")
    client.executor.StopProcess(json.dumps({"procedure_id": procedure_id, "why": "done"}))
    client.output(procedure_id, offset=0, limit=1, colour="red")


@pytest.mark.parametrize("content", ["print('x')", ""])
def test_inline_scripts_are_refused(stack: Stack, client: Client, content: str):
    request = preparation("") | {"script": {"kind": "inline", "content": content}}

    error = failure(lambda: client.executor.PrepareProcess(json.dumps(request)))
    run = client.run(stack.block({"observe": {"kind": "inline", "content": content}}))

    assert error.reason == "SCRIPT_NOT_ALLOWED"
    assert (run.states[-1], run.activity["reason"]) == ("FAILED", "SCRIPT_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("command", "argument"),
    [
        ("PrepareProcess", ""),
        ("PrepareProcess", "{}"),
        ("PrepareProcess", "[]"),
        ("PrepareProcess", '{"request_id": "x", "script": "x"}'),
        ("PrepareProcess", '{"request_id": "x", "script": {"kind": "nonsense"}}'),
        ("PrepareProcess", '{"request_id": "", "script": {"kind": "filesystem", "uri": "x"}}'),
        ("CheckProcess", "null"),
        ("StartProcess", "{}"),
        ("StartProcess", '{"procedure_id": "1"}'),
        ("StartProcess", '{"procedure_id": true, "function": "main"}'),
        ("StopProcess", '{"procedure_id": null}'),
        ("GetOutput", "x"),
        ("GetOutput", '{"procedure_id": 1.5}'),
    ],
)
def test_a_malformed_request_is_one_clear_failure(
    stack: Stack, client: Client, command: str, argument: str
):
    error = failure(lambda: client.executor.command_inout(command, argument))

    assert error.reason in ("INVALID_REQUEST", "SCRIPT_NOT_ALLOWED")
    assert error.desc.strip()
    assert "Traceback" not in error.desc


@pytest.mark.parametrize(
    ("command", "argument"),
    [
        ("StartProcess", '{"procedure_id": 999999, "function": "main"}'),
        ("StopProcess", '{"procedure_id": 999999}'),
        ("GetProcess", 999_999),
        ("GetProcess", 0),
        ("GetProcess", -1),
        ("GetOutput", '{"procedure_id": 999999, "offset": 0, "limit": 1}'),
        ("GetCheck", "no-such-check"),
    ],
)
def test_what_is_unknown_is_one_clear_failure(
    stack: Stack, client: Client, command: str, argument: object
):
    error = failure(lambda: client.executor.command_inout(command, argument))

    assert error.reason in CODES
    assert error.desc.strip()
    assert "Traceback" not in error.desc


CODES = [
    "SB_NOT_FOUND",
    "SB_INVALID",
    "ODA_UNAVAILABLE",
    "ACTIVITY_NOT_FOUND",
    "SCRIPT_NOT_ALLOWED",
    "SCRIPT_NOT_FOUND",
    "SCRIPT_LOAD_ERROR",
    "ENVIRONMENT_ERROR",
    "SCRIPT_ERROR",
    "SCRIPT_DIED",
    "SUBARRAY_BUSY",
    "EXECUTOR_UNAVAILABLE",
    "EXECUTOR_LOST",
    "TIMEOUT",
    "INTERNAL_ERROR",
    "STOPPED_BY_REQUEST",
    "INVALID_REQUEST",
    "NO_CAPACITY",
    "NO_SPACE",
    "NOT_ONLINE",
    "UNKNOWN_ACTIVITY",
    "WRONG_STATE",
]


def test_a_check_finds_and_stays_readable(stack: Stack, client: Client):
    (stack.scripts / "broken_check.py").write_text("def main(:\n")
    with Recorder(client.executor, "processCheck") as recorder:
        asked = {}
        for name, script in {
            "good": stack.script("echo.py"),
            "broken": f"file://{stack.scripts}/broken_check.py",
            "missing": f"file://{stack.scripts}/missing_check.py",
            "outside": "file:///etc/passwd",
        }.items():
            asked[name] = json.loads(client.executor.CheckProcess(json.dumps(preparation(script))))

        def told() -> dict[str, Json]:
            return {event.json["check_id"]: event.json for event in recorder.news("processCheck")}

        recorder.wait(lambda: len(told()) == 4, "all findings")

    found = {name: told()[answer["check_id"]] for name, answer in asked.items()}
    assert all(list(check) == ["check_id", "valid", "findings"] for check in found.values())
    assert {name: [f["code"] for f in check["findings"]] for name, check in found.items()} == {
        "good": [],
        "broken": ["SCRIPT_LOAD_ERROR"],
        "missing": ["SCRIPT_NOT_FOUND"],
        "outside": ["SCRIPT_NOT_ALLOWED"],
    }
    assert [check["valid"] for check in found.values()] == [True, False, False, False]
    for check in found.values():
        assert json.loads(client.executor.GetCheck(check["check_id"])) == check


def test_a_check_executes_nothing_of_the_script(stack: Stack, client: Client):
    witness = stack.directory / f"witness-{uuid.uuid4().hex}"
    script = stack.write_script(f"open({str(witness)!r}, 'w').close()\ndef main():\n    pass\n")

    check_id = json.loads(client.executor.CheckProcess(json.dumps(preparation(script))))["check_id"]
    check = until(
        lambda: (
            (c := json.loads(client.executor.GetCheck(check_id))).get("valid") is not None and c
        ),
        "the findings",
    )

    assert check["valid"] is True
    assert not witness.exists()


def test_the_block_is_written_byte_for_byte_and_without_an_id_called_draft(
    stack: Stack, client: Client, recorder: Recorder
):
    content = '{ "αλ": "🔭" }\r\n'
    for block, begins in (
        ({"sbd_id": "sbd-x", "version": 4, "content": content}, "sbd-x-4-"),
        ({"sbd_id": None, "version": None, "content": content}, "draft-"),
    ):
        answer = client.prepare(stack.script("reads_block.py"), scheduling_block=block)
        client.start_process(answer["procedure_id"], force_start=True)
        wait_for(recorder, answer["procedure_id"], *TERMINAL_PROCEDURE)
        result = client.procedure(answer["procedure_id"])["result"]

        assert Path(result["path"]).name.startswith(begins)
        assert Path(result["path"]).read_bytes() == content.encode()


@pytest.mark.parametrize("sbd_id", ["../../evil", "a/b", "/etc/x", "x\0y", "." * 3])
def test_the_blocks_id_cannot_lead_outside_the_directory(stack: Stack, client: Client, sbd_id: str):
    block = {"sbd_id": sbd_id, "version": 1, "content": "{}"}
    request = json.dumps(preparation(stack.script("reads_block.py"), scheduling_block=block))
    reason = reason_of(lambda: client.executor.PrepareProcess(request))
    if reason is not None:
        assert reason in CODES
        return
    procedure_id = json.loads(client.executor.PrepareProcess(request))["procedure_id"]
    client.start_process(procedure_id, force_start=True)
    until(lambda: client.procedure(procedure_id)["state"] in TERMINAL_PROCEDURE, "its end")

    result = client.procedure(procedure_id)["result"]
    assert result is None or Path(result["path"]).resolve().parent.name == "sbs"


def test_procedures_shows_the_newest_last(stack: Stack, client: Client):
    procedure_id = client.run(stack.block_of("takes_nothing.py")).activity["procedure_id"]

    def view() -> list[Json]:
        listed = [json.loads(text) for text in client.executor.procedures]
        return listed if listed and listed[-1]["state"] == "COMPLETE" else []

    listed = until(view, "the end in the view")
    assert listed[-1]["procedure_id"] == procedure_id
    assert [p["procedure_id"] for p in listed] == sorted(p["procedure_id"] for p in listed)


def test_procedure_events_can_be_had_later(stack: Stack, client: Client, recorder: Recorder):
    procedure_id = client.run(stack.block_of("takes_nothing.py")).activity["procedure_id"]
    wait_for(recorder, procedure_id, "COMPLETE")
    events = story(recorder, procedure_id)

    since = json.loads(client.executor.EventsSince(events[0]["seq"] - 1))

    assert since == events


def test_all_json_of_the_executor_is_ascii(stack: Stack, client: Client):
    names = ["scriptOutput", "scriptMessage", "scriptProgress", "procedureEvent", "procedures"]
    with Recorder(client.executor, *names) as recorder:
        talked = client.run(stack.block_of("talks.py"))
        client.run(stack.block_of("announces.py"))
        failed = client.run(stack.block_of("raises_in_init.py"))
        recorder.wait(lambda: any(e.json for e in recorder.news("scriptOutput")), "output")

    texts = [
        text
        for e in recorder.news()
        for text in ([e.value] if isinstance(e.value, str) else e.value)
    ]
    texts += [client.executor.GetProcess(run.activity["procedure_id"]) for run in (talked, failed)]
    texts.append(
        client.executor.GetOutput(json.dumps({"procedure_id": talked.activity["procedure_id"]}))
    )
    assert all(text.isascii() for text in texts)


@pytest.mark.parametrize("bad", [-1, "0", True, None])
def test_an_impossible_page_is_refused_or_nothing(stack: Stack, client: Client, bad: object):
    procedure_id = client.run(stack.block_of("talks.py")).activity["procedure_id"]

    error = failure(lambda: client.output(procedure_id, offset=bad, limit=1))

    assert error.reason == "INVALID_REQUEST"


def test_a_page_beyond_the_end_is_empty(stack: Stack, client: Client):
    procedure_id = client.run(stack.block_of("talks.py")).activity["procedure_id"]

    page = client.output(procedure_id, offset=1_000, limit=5)

    assert page["lines"] == []
