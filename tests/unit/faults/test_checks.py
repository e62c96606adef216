"""The fault suite notices a broken promise: a round is made up, and then one thing is wrong."""

import itertools
import time
from datetime import datetime, timedelta, timezone

import pytest

from faults import plan
from faults.book import Book
from faults.checks import check
from faults.contact import Seen
from faults.notes import Note
from faults.outcome import Happened, Outcome
from faults.plan import Fault, Moment, PlannedActivity, Round
from faults.trial import Trial

STATES = ("REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED")
EPOCH = "e"


class Story:
    """One activity that succeeded under one fault, told as it should be."""

    def __init__(self, target=plan.ACTIVITY_DEVICE, what="SIGKILL", kind="quick", seconds=0.1):
        self.begun = time.monotonic()
        self.seq = itertools.count(1)
        self.fault = Fault(what, target, Moment(0, "running", 0.0), seconds, 0)
        planned = PlannedActivity(0, kind, 0.0, 1, False, None, None)
        self.trial = Trial(planned, "r0-a0", "sbd-r0-a0", sent=self.begun, accepted=self.begun)
        self.trial.command_ids = ["1_RunActivity"]
        self.trial.command_status = "COMPLETED"
        self.activity, self.executor = Seen("tango://h:1/a/b/c"), Seen("tango://h:1/d/e/f")
        for seen in (self.activity, self.executor):
            seen.take({"live": [self.begun - 2, self.begun - 1]})
            seen.take({"look": [self.begun + 10, 0, "well", 0.001]})
        for before, after in itertools.pairwise(("NONE", *STATES)):
            self.tell(before, after)
        self.note("loading", "init", "entered", "left")
        self.summarise()
        self.happened = Happened(
            self.fault, True, self.begun + 0.1, self.begun + 0.1 + seconds, "", {0: "running"}
        )

    def tell(self, before, after, *, reason=None, at=None, pushed=True, **more):
        event = {
            "epoch": EPOCH,
            "seq": next(self.seq),
            "time": moment(0.5 if at is None else at),
            "activity_id": 1,
            "state": after,
            "previous_state": before,
            "sbd_id": self.trial.sbd_id,
            "reason": reason,
            "message": "",
            **more,
        }
        if pushed:
            self.activity.take({"pushed": time.monotonic(), "event": event})
        self.activity.take({"filled": time.monotonic(), "event": event})

    def note(self, *whats, pid=5):
        self.trial.notes += [Note(self.begun + 0.2, what, pid, 1) for what in whats]

    def summarise(self):
        states = [told.event["state"] for told in self.activity.events()]
        self.trial.summary = {
            "state": states[-1],
            "activity_states": [[state, ""] for state in states],
            "output_tail": [],
        }

    def outcome(self):
        book = Book()
        book.begun = self.begun - 0.5
        told = self.activity.events()
        self.trial.told = [each for each in told if each.event["sbd_id"] == self.trial.sbd_id]
        self.trial.reached.setdefault("ended", self.begun + 0.5)
        return Outcome(
            Round(0, 0, (self.trial.planned,), (self.fault,)),
            book,
            [self.trial],
            [self.happened],
            self.activity,
            self.executor,
            (None, None),
            settled=True,
            read_at=time.monotonic() + 1,
        )

    def broken(self):
        return {violation.promise for violation in check(self.outcome())}


def moment(seconds):
    """A time so many seconds from now, as events have it."""
    at = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.fixture
def story():
    return Story()


def test_what_went_well_breaks_nothing(story):
    assert story.broken() == set()


def test_main_entered_twice(story):
    story.note("entered")

    assert story.broken() == {"P1"}


def test_a_refused_request_whose_script_runs(story):
    story.trial.command_ids, story.trial.refusals = [], ["NO_CAPACITY: none"]

    assert "P1" in story.broken()


def test_two_command_ids_for_one_request_id(story):
    story.trial.command_ids.append("2_RunActivity")

    assert story.broken() == {"P1"}


def test_no_end(story):
    outcome = story.outcome()
    outcome.endless = [story.trial.name]

    assert {each.promise for each in check(outcome)} == {"P2"}


def test_a_command_that_goes_on_after_the_end(story):
    story.trial.command_status = "IN_PROGRESS"

    assert story.broken() == {"P2"}


def test_two_terminal_events(story):
    story.tell("SUCCEEDED", "FAILED", reason="SCRIPT_ERROR")

    assert "P3" in story.broken()


def test_a_gap_that_events_since_does_not_fill(story):
    next(story.seq)
    story.tell("NONE", "REQUESTED", activity_id=2, sbd_id="another")

    assert story.broken() == {"P3"}


def test_an_event_that_no_live_subscriber_was_told(story):
    story.tell("NONE", "REQUESTED", at=0.0, pushed=False, activity_id=2, sbd_id="another")
    time.sleep(0.31)  # the last moments of a subscription are nobody's fault

    assert story.broken() == {"P3"}


def test_a_read_that_does_not_agree_with_the_events(story):
    story.trial.summary["state"] = "FAILED"

    assert story.broken() == {"P3"}


def test_a_process_that_is_alive_after_the_end(story):
    story.trial.left_alive = ["daemon 6"]

    assert story.broken() == {"P4"}


def test_an_accepted_activity_that_was_forgotten(story):
    story.trial.summary = "no activity is known by it"

    assert story.broken() == {"P5"}


def test_an_earlier_activity_that_changed(story):
    outcome = story.outcome()
    outcome.changed = ["was this, is that"]

    assert {each.promise for each in check(outcome)} == {"P6"}


def test_a_stop_that_takes_too_long(story):
    story.trial.stops = [story.begun + 0.3]
    story.trial.reached["ended"] = story.begun + 9.0

    assert story.broken() == {"P7"}


def test_a_script_that_ends_with_its_server(story):
    story = Story(plan.SCRIPT_EXECUTION)
    story.trial.planned = PlannedActivity(0, "ticks", 0.0, 1, False, None, None)
    last = story.activity.events()[-1].event
    last.update(state="FAILED", reason="EXECUTOR_LOST")
    story.summarise()

    assert story.broken() == {"P11"}


def test_a_loss_that_health_does_not_show(story):
    story = Story(plan.SCRIPT_EXECUTION, "SIGSTOP", seconds=plan.HEALTH_SECONDS)
    story.activity.take({"look": [story.begun + 5.0, 0, "well", 0.001]})

    assert story.broken() == {"P9"}


def test_a_device_that_does_not_get_well(story):
    story.activity.take({"look": [story.begun + 11.0, 2, "the archive is gone", 0.001]})
    outcome = story.outcome()
    outcome.settled = False

    assert {each.promise for each in check(outcome)} == {"P9"}


def test_a_subscription_that_takes_long_after_a_restart(story):
    story.activity.take({"live": [story.begun + 1.0, story.begun + 4.0]})

    assert story.broken() == {"P12"}
