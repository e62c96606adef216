"""Long-running commands are shown as clients of SKABaseDevice know them."""

import itertools
import json
import re

import pytest

from ska_oso_activity.application.command_tracker import (
    TERMINAL,
    TRANSITIONS,
    CommandTracker,
    ResultCode,
    TaskStatus,
)
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
    now = 1795559129.5

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
    return CommandTracker(publisher, clock)


def test_values_and_transitions_are_those_of_ska_control_model():
    assert [status.name for status in TaskStatus] == STATUSES
    assert [code.name for code in ResultCode] == CODES
    assert [int(status) for status in TaskStatus] == list(range(8))
    for before, after in itertools.product(TaskStatus, TaskStatus):
        allowed = after.name in STATUS_TABLE.get(before.name, set())
        assert (after in TRANSITIONS.get(before, frozenset())) == allowed
    assert {status.name for status in TERMINAL} == {"COMPLETED", "FAILED", "ABORTED", "REJECTED"}


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
    assert publisher.values["longRunningCommandResult"] == (uid, '[0,"done"]')
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
