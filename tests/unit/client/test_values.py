"""What devices tell becomes values, also if a later release tells more; errors become classes."""

import pytest

from ska_oso_activity.client import (
    ActivityEvent,
    ActivityRequest,
    ActivityState,
    ActivitySummary,
    CommandFailed,
    Finding,
    OutputLine,
    Reason,
    Refused,
    SubarrayBusy,
    UnknownActivity,
    Validation,
)
from ska_oso_activity.client.errors import refused
from ska_oso_activity.client.happenings import change_from_event, changes_from_summary

EVENT = {
    "epoch": "e", "seq": 41, "time": "2026-11-24T22:10:03.123456Z", "activity_id": 12,
    "state": "RUNNING", "previous_state": "READY", "activity_name": "observe", "mood": "good",
}  # fmt: skip


def test_an_event_is_read_and_unknown_keys_are_kept_aside():
    event = ActivityEvent.of(EVENT)

    assert (event.state, event.seq, event.terminal) == (ActivityState.RUNNING, 41, False)
    assert event.raw["mood"] == "good"


def test_a_summary_is_read_with_its_lines():
    line = {"n": 3, "stream": "log", "time": "t", "text": "hello", "colour": "red"}
    summary = ActivitySummary.of(
        {
            "activity_id": 12,
            "state": "SUCCEEDED",
            "activity_states": [["REQUESTED", "t"]],
            "output_tail": [line],
            "result": {"a": 1},
            "mood": "good",
        }
    )

    assert summary.succeeded
    assert summary.output_tail == (OutputLine(3, "hello", "log", "t"),)
    assert summary.activity_states == (("REQUESTED", "t"),)
    assert summary.raw["mood"] == "good"


def test_a_short_summary_is_read_too():
    assert not ActivitySummary.of({"activity_id": 12, "state": "RUNNING"}).finished


def test_a_request_holds_what_is_given():
    request = ActivityRequest("observe", sbd_id="sbd-1", subarray_id=3)

    assert request.to_json() == {
        "activity_name": "observe",
        "sbd_id": "sbd-1",
        "prepare_only": False,
        "create_env": False,
        "subarray_id": 3,
    }


def test_findings_are_values():
    told = {"valid": False, "findings": [{"code": "SB_INVALID", "message": "no", "more": 1}]}

    assert Validation.of(told) == Validation(valid=False, findings=(Finding("SB_INVALID", "no"),))


@pytest.mark.parametrize(
    ("text", "reason", "kind", "code"),
    [
        ("SUBARRAY_BUSY: subarray 3 is taken", None, SubarrayBusy, Reason.SUBARRAY_BUSY),
        ("no activity 12", "UNKNOWN_ACTIVITY", UnknownActivity, Reason.UNKNOWN_ACTIVITY),
        ("ODA_UNAVAILABLE: no", None, Refused, Reason.ODA_UNAVAILABLE),
        ("Queue is being aborted", None, Refused, None),
        ("no such command", "API_CommandNotFound", Refused, None),
    ],
)
def test_a_refusal_has_its_class_and_code(text, reason, kind, code):
    error = refused(text, reason)

    assert (type(error), error.reason, str(error)) == (kind, code, text)


def test_a_failed_command_knows_its_code():
    assert CommandFailed("SB_NOT_FOUND: no such block").reason is Reason.SB_NOT_FOUND


def test_a_state_of_a_later_release_is_told():
    told = {"activity_id": 1, "state": "PAUSED", "previous_state": "RUNNING", "time": "t"}
    summary = {
        "activity_id": 1,
        "state": "PAUSED",
        "activity_states": [["RUNNING", "s", "more"], ["PAUSED", "t"]],
    }

    event, whole = ActivityEvent.of(told), ActivitySummary.of(summary)
    changes = [change_from_event(told), changes_from_summary(summary)[-1]]

    assert (event.state, event.raw["state"]) == (ActivityState.UNKNOWN, "PAUSED")
    assert (whole.state, whole.raw["state"]) == (ActivityState.UNKNOWN, "PAUSED")
    assert whole.activity_states == (("RUNNING", "s"), ("PAUSED", "t"))
    assert [(each.previous_state, each.state) for each in changes] == [
        (ActivityState.RUNNING, ActivityState.UNKNOWN)
    ] * 2
