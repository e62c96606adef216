"""Long-running commands are shown as clients of SKABaseDevice know them."""

import itertools
import json
import re

import pytest

from ska_oso_activity.application.command_tracker import (
    ABORT_PATIENCE,
    LINGER,
    MAX_FINISHED,
    REVIVAL,
    TRANSITIONS,
    CommandTracker,
    LongRunningCommand,
)
from ska_oso_activity.domain.control_model import ENDED, ResultCode, TaskStatus
from tests.fakes import RecordingPublisher

# Typed in from contracts/ska-device.md.
STATUS_TABLE = {
    "STAGING": {"QUEUED", "IN_PROGRESS", "REJECTED"},
    "QUEUED": {"IN_PROGRESS", "ABORTED", "REJECTED"},
    "IN_PROGRESS": {"COMPLETED", "FAILED", "ABORTED"},
}
STATUSES = [
    *("STAGING", "QUEUED", "IN_PROGRESS", "ABORTED", "NOT_FOUND", "COMPLETED", "REJECTED"),
    "FAILED",
]
CODES = ["OK", "STARTED", "QUEUED", "FAILED", "UNKNOWN", "REJECTED", "NOT_ALLOWED", "ABORTED"]


class Clock:
    now = 1795559129.5 - 2 * REVIVAL

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def publisher():
    return RecordingPublisher()


@pytest.fixture
def tracker(publisher, clock):
    made = CommandTracker(publisher, clock)
    clock.now += 2 * REVIVAL  # it did not begin only now
    return made


def test_values_and_transitions_are_those_of_ska_control_model():
    assert [status.name for status in TaskStatus] == STATUSES
    assert [code.name for code in ResultCode] == CODES
    assert [int(status) for status in TaskStatus] == list(range(8))
    for before, after in itertools.product(TaskStatus, TaskStatus):
        allowed = after.name in STATUS_TABLE.get(before.name, set())
        assert (after in TRANSITIONS.get(before, frozenset())) == allowed
    assert {status.name for status in ENDED} == {"COMPLETED", "FAILED", "ABORTED", "REJECTED"}


def test_an_id_is_time_node_and_name(tracker):
    uid = tracker.submit("RunActivity")

    assert re.fullmatch(r"1795559129\.5_\d+_RunActivity", uid)
    assert uid.split("_")[-1] == "RunActivity"


def test_a_command_goes_through_the_lists(tracker, publisher):
    uid = tracker.submit("RunActivity")
    queued = json.loads(publisher.values["lrcQueue"][0])
    tracker.start(uid)
    tracker.progress(uid, 40)
    executing = json.loads(publisher.values["lrcExecuting"][0])
    in_progress = publisher.values["longRunningCommandInProgress"]
    progress = publisher.values["longRunningCommandProgress"]
    tracker.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "done")
    finished = json.loads(publisher.values["lrcFinished"][0])

    time = "2026-11-24T22:25:29.500000+00:00"
    assert queued == {"uid": uid, "name": "RunActivity", "submitted_time": time}
    assert executing == {**queued, "started_time": time, "progress": 40}
    assert (in_progress, progress) == (["RunActivity"], [uid, "40"])
    assert finished == {
        **queued,
        "status": "COMPLETED",
        "started_time": time,
        "finished_time": time,
        "result": [0, "done"],
    }
    assert publisher.values["lrcQueue"] == publisher.values["lrcExecuting"] == []
    assert publisher.values["longRunningCommandResult"] == (uid, '[0, "done"]')
    assert publisher.values["longRunningCommandStatus"] == [uid, "COMPLETED"]
    assert tracker.status(uid) == "COMPLETED"


def test_one_that_ends_before_it_began_passes_through_in_progress_unless_aborted(
    tracker, publisher
):
    failed, aborted = tracker.submit("A"), tracker.submit("B")
    tracker.finish(failed, TaskStatus.FAILED, ResultCode.FAILED, "no")
    tracker.finish(aborted, TaskStatus.ABORTED, ResultCode.ABORTED, "stopped")

    told = {uid: [] for uid in (failed, aborted)}
    for uid, text in (value for _, value in publisher.of("_lrcEvent")):
        told[uid].append(TaskStatus(json.loads(text)["status"]).name)
    assert told == {
        failed: ["STAGING", "QUEUED", "IN_PROGRESS", "FAILED"],
        aborted: ["STAGING", "QUEUED", "ABORTED"],
    }
    assert "started_time" not in json.loads(publisher.values["lrcFinished"][-1])


def test_a_command_ends_once(tracker, publisher):
    uid = tracker.submit("A")
    first = tracker.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "done")
    pushed = len(publisher.pushes)
    second = tracker.finish(uid, TaskStatus.FAILED, ResultCode.FAILED, "no")

    assert (first, second) == (True, False)
    assert len(publisher.pushes) == pushed


def test_a_finished_command_leaves_the_v1_attributes_after_10_s_and_stays_in_the_list(
    tracker, publisher, clock
):
    first = tracker.submit("A")
    tracker.finish(first, TaskStatus.COMPLETED, ResultCode.OK, "done")
    clock.now += 9
    second = tracker.submit("B")
    early = publisher.values["longRunningCommandIDsInQueue"]
    clock.now += 2
    third = tracker.submit("C")

    assert early == [first, second]
    assert publisher.values["longRunningCommandIDsInQueue"] == [second, third]
    assert publisher.values["longRunningCommandsInQueue"] == ["B", "C"]
    assert tracker.status(first) == "COMPLETED"


def test_100_finished_commands_are_kept(tracker, publisher):
    ids = [tracker.submit(f"C{n}") for n in range(105)]
    for uid in ids:
        tracker.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "done")

    assert [json.loads(each)["uid"] for each in publisher.values["lrcFinished"]] == ids[5:]
    assert tracker.status(ids[0]) == "NOT_FOUND"


def test_one_that_is_taken_up_after_a_restart_is_in_progress(tracker, publisher):
    tracker.resume("1_2_RunActivity", "RunActivity")

    assert tracker.status("1_2_RunActivity") == "IN_PROGRESS"
    assert publisher.values["longRunningCommandStatus"] == ["1_2_RunActivity", "IN_PROGRESS"]
    assert json.loads(publisher.values["lrcExecuting"][0])["uid"] == "1_2_RunActivity"


def test_names_ids_and_statuses_list_the_same_commands(tracker, publisher):
    tracker.resume("1_2_RunActivity", "RunActivity")
    uid = tracker.submit("RunActivity")
    tracker.withdraw(uid)

    assert (
        publisher.values["longRunningCommandIDsInQueue"]
        == publisher.values["longRunningCommandStatus"][::2]
    )


def test_a_command_that_never_queues_begins_at_once(tracker, publisher):
    uid = tracker.submit("Abort", queued=False)

    told = [json.loads(text)["status"] for _, text in (v for _, v in publisher.of("_lrcEvent"))]
    executing = json.loads(publisher.values["lrcExecuting"][0])
    assert told == [TaskStatus.STAGING, TaskStatus.IN_PROGRESS]
    assert executing["submitted_time"] == executing["started_time"]
    assert not publisher.of("lrcQueue")
    assert tracker.aborting == uid


def test_an_abort_that_takes_very_long_does_not_keep_commands_out_for_good(tracker, clock):
    tracker.submit("Abort", queued=False)
    clock.now += ABORT_PATIENCE + 1

    assert tracker.aborting is None


def test_what_waits_is_aborted_and_what_runs_is_not(tracker, publisher):
    running, waiting, other = (tracker.submit(name) for name in ("A", "A", "B"))
    tracker.start(running)

    tracker.abort_queued("A")

    statuses = [tracker.status(uid) for uid in (running, waiting, other)]
    assert statuses == ["IN_PROGRESS", "ABORTED", "QUEUED"]
    entry = json.loads(publisher.values["lrcFinished"][0])
    assert entry["result"] == [7, "Command has been aborted"]
    assert "started_time" not in entry
    assert [json.loads(each)["uid"] for each in publisher.values["lrcQueue"]] == [other]
    assert not tracker.finish(waiting, TaskStatus.COMPLETED, ResultCode.OK, "too late")


def test_the_progress_of_a_finished_command_is_not_listed_any_more(tracker, publisher):
    first, second = tracker.submit("A"), tracker.submit("B")
    for uid in (first, second):
        tracker.start(uid)
        tracker.progress(uid, 50)
    tracker.finish(first, TaskStatus.COMPLETED, ResultCode.OK, "done")

    assert publisher.values["longRunningCommandProgress"] == [second, "50"]


def test_finished_commands_leave_the_v1_attributes_when_it_is_looked_after(
    tracker, publisher, clock
):
    uid = tracker.submit("A")
    tracker.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "done")
    clock.now += 9
    tracker.expire()
    early = publisher.values["longRunningCommandStatus"]
    clock.now += 2
    tracker.expire()
    pushed = len(publisher.pushes)
    tracker.expire()

    assert early == [uid, "COMPLETED"]
    assert publisher.values["longRunningCommandStatus"] == []
    assert publisher.values["longRunningCommandsInQueue"] == []
    assert len(publisher.pushes) == pushed
    assert len(publisher.values["lrcFinished"]) == 1


def test_times_have_microseconds_also_when_these_are_0(tracker, publisher, clock):
    clock.now = 1795559129.0
    tracker.submit("A")

    entry = json.loads(publisher.values["lrcQueue"][0])
    assert entry["submitted_time"] == "2026-11-24T22:25:29.000000+00:00"


def ended(number: int, finished: float, name: str = "Old") -> LongRunningCommand:
    return LongRunningCommand(
        f"{number}.5_1_{name}", name, number + 0.5, TaskStatus.FAILED,
        started=number + 0.5, finished=finished, result=(3, "no"),
    )  # fmt: skip


def test_what_ended_about_a_start_is_listed_until_subscriptions_are_revived(publisher, clock):
    tracker = CommandTracker(publisher, clock)
    long_ago, before = ended(1, clock.now - REVIVAL), ended(2, clock.now - REVIVAL + 1)
    tracker.recover([before, long_ago])
    after = tracker.submit("A")
    tracker.finish(after, TaskStatus.COMPLETED, ResultCode.OK, "done")
    listed = []
    for seconds in (REVIVAL - 1, 1):
        clock.now += seconds
        tracker.expire()
        listed.append(publisher.values["longRunningCommandIDsInQueue"])

    assert listed == [[before.uid, after], []]


def test_one_that_ends_late_after_a_start_is_listed_as_long_as_ever(publisher, clock):
    tracker = CommandTracker(publisher, clock)
    clock.now += REVIVAL - 1
    uid = tracker.submit("A")
    tracker.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "done")
    listed = []
    for seconds in (LINGER - 1, 1):
        clock.now += seconds
        tracker.expire()
        listed.append(publisher.values["longRunningCommandIDsInQueue"])

    assert listed == [[uid], []]


def test_one_whose_end_is_told_late_is_listed_from_then_on(tracker, publisher, clock):
    uid = tracker.submit("A")
    ended_at = clock.now
    clock.now += LINGER + 50  # the disk was full
    tracker.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "done", at=ended_at)
    at_first = publisher.values["longRunningCommandStatus"]
    clock.now += LINGER
    tracker.expire()

    assert at_first == [uid, "COMPLETED"]
    assert publisher.values["longRunningCommandStatus"] == []
    assert json.loads(publisher.values["lrcFinished"][0])["finished_time"].endswith(
        "29.500000+00:00"
    )


def test_those_that_were_too_many_are_not_news_when_they_are_given_again(tracker, publisher, clock):
    kept = []
    tracker.keep = kept.append
    for number in range(MAX_FINISHED + 5):
        clock.now += 1
        uid = tracker.submit(f"C{number}")
        tracker.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "done")
    pushed = len(publisher.pushes)
    tracker.recover(kept)  # as Init does

    assert len(publisher.pushes) == pushed


def test_the_last_result_is_not_told_again_with_older_commands(tracker, publisher):
    uid = tracker.submit("A")
    tracker.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "done")
    tracker.recover([ended(1, 2.0)])

    assert len(publisher.of("longRunningCommandResult")) == 1
    assert len(publisher.values["lrcFinished"]) == 2


def test_commands_that_run_activities_are_listed_however_many_others_there_are(tracker, publisher):
    runs = [tracker.submit("RunActivity") for _ in range(100)]
    for uid in runs:
        tracker.start(uid)
        tracker.progress(uid, 1)
    others = [tracker.submit("Abort", queued=False) for _ in range(300)]

    executing = [json.loads(each)["uid"] for each in publisher.values["lrcExecuting"]]
    assert executing == [*runs, *others[-28:]]
    assert publisher.values["longRunningCommandIDsInQueue"] == [*runs, *others[-92:]]
    assert publisher.values["longRunningCommandProgress"][::2] == runs


def test_what_is_alive_is_handed_on_to_be_kept_when_it_is_looked_after(tracker):
    kept = []
    tracker.keep_live = kept.append
    first, second = tracker.submit("A"), tracker.submit("B")
    tracker.finish(first, TaskStatus.COMPLETED, ResultCode.OK, "done")
    tracker.expire()

    assert kept == [[second]]


def test_what_had_finished_before_a_restart_is_shown_in_order(tracker, publisher):
    mine = tracker.submit("Mine")
    tracker.finish(mine, TaskStatus.COMPLETED, ResultCode.OK, "mine")
    before = [
        LongRunningCommand(
            f"{100 + n}.5_1_Old", "Old", 100.5 + n, TaskStatus.FAILED,
            started=100.5 + n, finished=200.0 + n, result=(3, "no"),
        )
        for n in (1, 0)
    ]  # fmt: skip

    tracker.recover([*before, before[0]][:2])
    pushed = len(publisher.pushes)
    tracker.recover(before)

    shown = [json.loads(each)["uid"] for each in publisher.values["lrcFinished"]]
    assert shown == ["100.5_1_Old", "101.5_1_Old", mine]
    assert publisher.values["longRunningCommandResult"] == (mine, '[0, "mine"]')
    assert tracker.status("100.5_1_Old") == "FAILED"
    assert len(publisher.pushes) == pushed


def test_what_has_finished_is_handed_on_to_be_kept(tracker):
    kept = []
    tracker.keep = kept.append
    uid = tracker.submit("A")
    tracker.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "done")

    assert [(each.uid, each.result) for each in kept] == [(uid, (0, "done"))]


def test_one_that_waited_before_a_restart_waits_after_it(tracker, publisher):
    tracker.resume("1_2_RunActivity", "RunActivity", begun=False)

    assert tracker.status("1_2_RunActivity") == "QUEUED"
    assert len(publisher.values["lrcQueue"]) == 1


def test_no_list_is_longer_than_its_attribute(tracker, publisher):
    """The contract: of 128 executing and 32 queued commands; the oldest finished are left out."""
    longest = {
        "longRunningCommandsInQueue": 192,
        "longRunningCommandIDsInQueue": 192,
        "longRunningCommandStatus": 384,
        "longRunningCommandInProgress": 128,
        "longRunningCommandProgress": 256,
        "lrcQueue": 192,
        "lrcExecuting": 129,
        "lrcFinished": 100,
    }
    finished = [tracker.submit("F") for _ in range(150)]
    for uid in finished:
        tracker.finish(uid, TaskStatus.COMPLETED, ResultCode.OK, "done")
    live = [tracker.submit("L") for _ in range(140)]
    for uid in live:
        tracker.start(uid)
        tracker.progress(uid, 1)

    lengths = {
        name: max(len(value) for told, value in publisher.pushes if told == name)
        for name in longest
    }
    assert {name: n for name, n in lengths.items() if n > longest[name]} == {}
    assert publisher.values["longRunningCommandIDsInQueue"] == [*finished[-52:], *live]
