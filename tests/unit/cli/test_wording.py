from ska_oso_activity.cli import wording
from ska_oso_activity.cli.console import printable
from ska_oso_activity.client.happenings import StateChanged, change_from_event, changes_from_summary
from ska_oso_activity.domain.activity import ActivityState

SUMMARY = {
    "activity_id": 12,
    "state": "FAILED",
    "reason": "SCRIPT_ERROR",
    "error": "ValueError: no",
    "message": "half way",
    "activity_states": [
        ["REQUESTED", "2026-11-24T22:10:03.123456Z"],
        ["PREPARING", "2026-11-24T22:10:04.623456Z"],
        ["FAILED", "2026-11-24T22:11:04.623456Z"],
    ],
}


def test_a_change_of_state_is_one_line_with_time_and_reason():
    event = {
        **{"activity_id": 12, "state": "FAILED", "previous_state": "RUNNING"},
        **{"time": "2026-11-24T22:10:03.123456Z", "reason": "SCRIPT_DIED", "message": "signal 9"},
    }

    line = wording.change(change_from_event(event)).plain

    assert line == "22:10:03.123 RUNNING -> FAILED  SCRIPT_DIED: signal 9"


def test_states_passed_tell_how_long_each_took():
    assert wording.states_passed(SUMMARY).plain == "REQUESTED 1.5 s, PREPARING 60.0 s, FAILED"


def test_the_changes_of_a_summary_are_linked():
    changes = changes_from_summary(SUMMARY)

    assert [(c.previous_state.name, c.state.name) for c in changes] == [
        ("NONE", "REQUESTED"),
        ("REQUESTED", "PREPARING"),
        ("PREPARING", "FAILED"),
    ]


def test_the_ending_is_a_sentence():
    assert wording.ending(SUMMARY).plain == "Activity 12 FAILED: SCRIPT_ERROR: ValueError: no"


def test_a_block_is_named_by_its_id_or_its_uri():
    assert wording.block({"sbd_id": "sbd-1", "sbd_version": 3}) == "sbd-1 v3"
    assert wording.block({"sbd_id": "sbd-1", "sbd_version": None}) == "sbd-1"
    assert wording.block({"sbd_id": None, "sb_uri": "file:///a.json"}) == "file:///a.json"


def test_text_of_scripts_cannot_steer_the_terminal():
    assert printable("\x1b[2Jcleared\x07\ttab é \u202e").plain == (
        "\\x1b[2Jcleared\\x07\ttab é \\u202e"
    )


def test_every_state_but_none_has_a_colour():
    assert set(wording.STYLES) == set(ActivityState) - {ActivityState.NONE}
    assert StateChanged(1, ActivityState.READY, ActivityState.PREPARING, "").message == ""
