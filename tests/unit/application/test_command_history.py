"""Long-running commands that have ended are found again after a restart."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest

from ska_oso_activity.application.command_history import CommandNotes, finished_commands
from ska_oso_activity.application.command_tracker import (
    MAX_FINISHED,
    CommandTracker,
    LongRunningCommand,
)
from ska_oso_activity.application.outcomes import commands_of
from ska_oso_activity.domain.activity import Activity, ActivityState
from ska_oso_activity.domain.control_model import ResultCode, TaskStatus
from tests.fakes import RecordingPublisher

RUN, START, STOP, LATE = (
    "10.5_1_RunActivity",
    "20.5_1_StartActivity",
    "30.5_1_StopActivity",
    ("90.5_1_StopActivity"),
)


def time(second: int) -> str:
    return f"1970-01-01T00:00:{second:02d}.000000Z"


def activity(states: dict[str, int], *command_ids: str, **more) -> Activity:
    return Activity(
        activity_id=7,
        command_id=RUN,
        activity_name="observe",
        command_ids=[RUN, *command_ids],
        state=ActivityState[list(states)[-1]],
        activity_states=[(name, time(second)) for name, second in states.items()],
        **more,
    )


def told(found: Activity) -> dict:
    return {
        each.uid: (each.status.name, each.result, each.started, each.finished)
        for each in commands_of(found)
    }


def test_one_that_is_not_finished_has_no_ended_commands():
    assert told(activity({"REQUESTED": 10, "PREPARING": 11, "RUNNING": 12})) == {}


@pytest.mark.parametrize(
    ("state", "more", "ended"),
    [
        ("SUCCEEDED", {}, ("COMPLETED", (0, "Activity 7 SUCCEEDED"))),
        ("STOPPED", {}, ("ABORTED", (7, "Activity 7 STOPPED"))),
        ("FAILED", {"error": "x"}, ("FAILED", (3, "Activity 7 FAILED: INTERNAL_ERROR: x"))),
    ],
)
def test_run_activity_ends_with_its_activity(state: str, more: dict, ended: tuple):
    found = activity({"REQUESTED": 10, "PREPARING": 11, state: 12}, **more)

    assert told(found) == {RUN: (*ended, 11.0, 12.0)}


def test_one_that_was_stopped_before_it_began_has_no_start():
    found = activity({"REQUESTED": 10, "STOPPING": 11, "STOPPED": 12})

    assert told(found)[RUN] == ("ABORTED", (7, "Activity 7 STOPPED"), None, 12.0)


def test_a_prepared_one_ends_twice():
    states = {"REQUESTED": 10, "PREPARING": 11, "READY": 12, "RUNNING": 21, "SUCCEEDED": 25}
    found = activity(states, START, prepare_only=True)

    assert told(found) == {
        RUN: ("COMPLETED", (0, "Activity 7 READY"), 11.0, 12.0),
        START: ("COMPLETED", (0, "Activity 7 SUCCEEDED"), 20.5, 25.0),
    }


def test_a_stop_ends_with_the_abort_script_and_one_that_came_late_at_once():
    states = {"REQUESTED": 10, "PREPARING": 11, "READY": 12, "STOPPING": 31, "STOPPED": 32}
    abort = {"procedure_id": 3, "state": "RUNNING", "error": None}
    pending = activity(states, STOP, abort=abort)
    ended = activity(states, STOP, LATE, abort={**abort, "state": "COMPLETE"}, over_time=time(50))

    assert set(told(pending)) == {RUN}
    assert told(ended)[RUN][3] == 32.0
    assert told(ended)[STOP] == ("COMPLETED", (0, "Activity 7 STOPPED"), 30.5, 50.0)
    assert told(ended)[LATE] == ("COMPLETED", (0, "Activity 7 was STOPPED"), 90.5, 90.5)


def command(number: int, name: str = "Reset") -> LongRunningCommand:
    return LongRunningCommand(
        f"{number}.5_1_{name}", name, number + 0.5, TaskStatus.COMPLETED,
        started=number + 0.5, finished=number + 1.0, result=(0, "done"),
    )  # fmt: skip


@pytest.fixture
def notes() -> dict[str, str]:
    return {}


def test_commands_of_no_activity_are_kept_as_notes(notes: dict[str, str]):
    first = CommandNotes(notes.get, notes.__setitem__)
    for each in (command(1), command(2, "RunActivity"), command(3, "Abort")):
        first.keep(each)

    found = CommandNotes(notes.get, notes.__setitem__).load()

    assert [asdict(each) for each in found] == [asdict(command(1)), asdict(command(3, "Abort"))]


def test_the_newest_replace_the_oldest_over_a_restart_too(notes: dict[str, str]):
    for number in range(MAX_FINISHED + 10):
        life = CommandNotes(notes.get, notes.__setitem__)
        life.load()
        life.keep(command(number))

    found = CommandNotes(notes.get, notes.__setitem__).load()

    assert len(notes) == MAX_FINISHED
    assert sorted(each.submitted for each in found) == [n + 0.5 for n in range(10, 110)]


def test_a_note_that_cannot_be_read_or_written_does_no_harm(notes: dict[str, str]):
    notes.update({"lrc 0": "{", "lrc 1": "{}"})

    def full(key: str, value: str) -> None:
        raise OSError("the disk is full")

    life = CommandNotes(notes.get, full)
    life.keep(command(1))

    assert life.load() == []


def test_a_gap_that_a_full_disk_left_hides_nothing(notes: dict[str, str]):
    life = CommandNotes(notes.get, notes.__setitem__)
    for number in range(3):
        life.keep(command(number))
    del notes["lrc 1"]

    found = CommandNotes(notes.get, notes.__setitem__).load()

    assert [each.uid for each in found] == [command(0).uid, command(2).uid]


def test_commands_that_end_at_the_same_instant_are_all_kept(notes: dict[str, str]):
    all_there = threading.Barrier(8)

    def put(key: str, text: str) -> None:
        all_there.wait(5)  # every one has its slot by now
        notes[key] = text

    life = CommandNotes(notes.get, put)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(life.keep, map(command, range(40))))

    assert len(CommandNotes(notes.get, put).load()) == 40


def test_a_record_that_cannot_be_read_hides_no_others(benches):
    bench = benches().begin()
    ids = [bench.ended(), bench.ended(), bench.ended()]
    uids = [bench.get(each)["command_id"] for each in ids]
    bench.register.short(ids[0])["activity_states"] = [["SUCCEEDED", "yesterday"]]
    del bench.register.short(ids[1])["command_ids"]

    assert [each.uid for each in finished_commands(bench.register)] == uids[2:]


# --- Questions that a restart comes upon


@pytest.fixture
def asked(notes: dict[str, str]) -> CommandTracker:
    """Commands of one life of the server, with a question that takes long."""
    tracker = CommandTracker(RecordingPublisher())
    CommandNotes(notes.get, notes.__setitem__).attach(tracker)
    for name in ("RunActivity", "ValidateActivity"):
        tracker.start(tracker.submit(name))
    tracker.expire()
    return tracker


def question_of(tracker: CommandTracker) -> str:
    return next(uid for uid in tracker._live if uid.endswith("ValidateActivity"))


def test_a_question_that_a_restart_comes_upon_has_failed(notes, asked):
    uid = question_of(asked)
    for _ in range(2):  # and this is kept in its turn
        tracker = CommandTracker(publisher := RecordingPublisher())
        CommandNotes(notes.get, notes.__setitem__).attach(tracker)
        tracker.expire()
        assert tracker.status(uid) == "FAILED"

    result = publisher.values["longRunningCommandResult"]
    assert result == (
        uid, '[3, "the server was restarted before this was answered: ask again"]'
    )  # fmt: skip
    assert len(publisher.values["lrcFinished"]) == 1


def test_a_question_goes_on_over_an_init(notes, asked):
    uid = question_of(asked)
    CommandNotes(notes.get, notes.__setitem__).attach(asked)

    assert asked.status(uid) == "IN_PROGRESS"


def test_a_question_that_was_answered_before_the_restart_stays_so(notes, asked):
    uid = question_of(asked)
    asked.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "{}")
    tracker = CommandTracker(RecordingPublisher())
    CommandNotes(notes.get, notes.__setitem__).attach(tracker)

    assert tracker.status(uid) == "COMPLETED"


def test_questions_that_are_answered_at_once_are_not_noted(notes):
    tracker = CommandTracker(RecordingPublisher())
    written = []
    CommandNotes(notes.get, lambda key, _: written.append(key)).attach(tracker)
    for _ in range(3):
        uid = tracker.submit("DescribeSchedulingBlock")
        tracker.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "{}")
        tracker.expire()

    assert written == ["lrc 0", "lrc 1", "lrc 2"]


def test_a_note_on_questions_that_cannot_be_read_does_no_harm(notes):
    notes["lrc unanswered"] = "7"
    tracker = CommandTracker(RecordingPublisher())
    CommandNotes(notes.get, notes.__setitem__).attach(tracker)

    assert tracker.status("7") == "NOT_FOUND"
