"""Questions about blocks are answered as LRCs, and change nothing."""

import json
from collections import deque

import pytest

from ska_oso_activity.domain.errors import (
    ExecutorUnavailable,
    InvalidRequest,
    NoCapacity,
    ScriptNotAllowed,
)
from ska_oso_activity.domain.request import parse_block_argument
from tests.fakes import SBD, activity_command, block_text, kwargs


def validate(bench, **request):
    command_id = bench.enquiries.validate(activity_command(**request))
    code, text = bench.result(command_id)
    return code, json.loads(text), bench.tracker.status(command_id)


def assert_nothing_happened(bench):
    assert bench.events() == []
    assert bench.listed() == []
    assert bench.archive.sbi_requests == []
    assert bench.executor.procedures == {}


def test_a_request_that_can_run_is_valid(bench):
    bench.archive.put(block_text(init=kwargs(subarray_id=1), main=kwargs(a=1)))
    code, report, status = validate(bench, subarray_id=3, script_args={"main": kwargs(b=2)})

    assert (code, report, status) == (0, {"valid": True, "findings": []}, "COMPLETED")
    (asked,) = bench.executor.called("check")
    assert asked.init_args.kwargs == {"subarray_id": 3}
    assert asked.main_args.kwargs == {"a": 1, "b": 2}
    assert_nothing_happened(bench)


def test_what_the_executor_finds_is_told(bench):
    bench.executor.findings = [{"code": "SCRIPT_LOAD_ERROR", "message": "no main"}]
    code, report, status = validate(bench)

    assert code == 3
    assert report == {"valid": False, "findings": bench.executor.findings}
    assert status == "FAILED"
    assert_nothing_happened(bench)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda b: b.archive.blocks.clear(), "SB_NOT_FOUND"),
        (lambda b: b.archive.put("{"), "SB_INVALID"),
        (lambda b: setattr(b.archive, "absent", True), "ODA_UNAVAILABLE"),
        (lambda b: b.archive.put(block_text(activities={})), "ACTIVITY_NOT_FOUND"),
        (
            lambda b: b.executor.troubles.update(check=deque([ScriptNotAllowed("no")])),
            "SCRIPT_NOT_ALLOWED",
        ),
        (
            lambda b: b.executor.troubles.update(check=deque([ExecutorUnavailable("no")])),
            "EXECUTOR_UNAVAILABLE",
        ),
    ],
)
def test_what_would_fail_the_activity_is_one_finding(bench, harm, reason):
    harm(bench)
    code, report, _ = validate(bench)

    assert code == 3
    assert [finding["code"] for finding in report["findings"]] == [reason]
    assert report["valid"] is False
    assert_nothing_happened(bench)


def test_a_defect_of_ours_still_ends_the_command(bench):
    bench.executor.troubles["check"] = deque([RuntimeError("oops")])
    command_id = bench.enquiries.validate(activity_command())

    assert bench.result(command_id) == [3, "INTERNAL_ERROR: oops"]


def test_a_lane_that_is_taken_is_no_finding(bench):
    bench.running(subarray_id=3)

    assert validate(bench, subarray_id=3)[1]["valid"] is True


def test_a_block_outside_the_roots_is_refused_at_once(bench):
    with pytest.raises(InvalidRequest, match="SchedulingBlockRoots"):
        bench.enquiries.validate(activity_command(sb_uri="file:///etc/a.json"))
    with pytest.raises(InvalidRequest, match="SchedulingBlockRoots"):
        bench.enquiries.describe(parse_block_argument("file:///etc/a.json"))

    assert bench.lrc_events() == []


def test_a_block_is_described(bench):
    bench.archive.put(block_text(main=kwargs(a=1)), version=2)
    code, text = bench.result(bench.enquiries.describe(parse_block_argument(SBD)))

    assert code == 0
    assert json.loads(text) == {
        "sbd_id": SBD,
        "version": 2,
        "telescope": "ska_mid",
        "activities": {
            "observe": {
                "kind": "filesystem",
                "script": {"kind": "filesystem", "uri": "file:///scripts/observe.py"},
                "functions": ["main"],
            }
        },
    }


def test_a_block_that_is_not_there_cannot_be_described(bench):
    code, text = bench.result(bench.enquiries.describe(parse_block_argument("other")))

    assert code == 3
    assert text.startswith("SB_NOT_FOUND: ")


def test_more_questions_than_can_wait_are_refused(bench):
    bench.archive.answers.clear()
    reference = parse_block_argument(SBD)
    asked = [bench.enquiries.describe(reference) for _ in range(64)]

    with pytest.raises(NoCapacity, match="64 questions about blocks are unanswered"):
        bench.enquiries.describe(reference)
    bench.archive.let_go()

    assert [bench.result(command_id)[0] for command_id in asked] == [0] * 64
    assert bench.result(bench.enquiries.describe(reference))[0] == 0
