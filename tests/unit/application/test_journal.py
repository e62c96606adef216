"""The journal on a disk that is full, or nearly: what happened is told, if need be with less."""

import threading
from contextlib import suppress

import pytest

from ska_oso_activity.application import journal as module
from ska_oso_activity.application.journal import Entry, Journal
from ska_oso_activity.domain.errors import NoSpace
from tests.fakes import InMemoryHistory, eventually


class Owner:
    """Who has a journal: its lock, its history, what it was told."""

    def __init__(self):
        self.history = InMemoryHistory()
        self.lock = threading.RLock()
        self.told = []
        self.health = []
        self.journal = Journal(self.history, self.lock, self.health.append)

    def entry(self, record_id=1, state="ENDED", *, finished=True, **more):
        seq = self.journal.next_seq
        return Entry(
            record_id=record_id,
            record={"id": record_id, "state": state, **more},
            event={"seq": seq, "state": state},
            finished=finished,
            durable=True,
            tell=lambda: self.told.append((record_id, state)),
        )

    def append(self, *args, **more):
        with self.lock:
            self.journal.append(self.entry(*args, **more))

    def accept(self, *args, **more):
        with self.lock:
            self.journal.accept(self.entry(*args, finished=False, **more))


@pytest.fixture
def owner(monkeypatch):
    monkeypatch.setattr(module, "RETRY_INTERVAL", 0.02)
    monkeypatch.setattr(module, "LOOK_INTERVAL", 0.02)
    owner = Owner()
    yield owner
    owner.journal.close()


TOO_LONG = {"result": "r" * 1000, "stacktrace": "s" * 1000, "output_tail": ["t" * 1000]}


def test_a_record_that_is_too_large_for_the_room_is_written_without_its_result(owner):
    owner.history.longest = 2500
    owner.append(**TOO_LONG, message="")

    record = owner.history.record(1)
    assert owner.told == [(1, "ENDED")]
    assert record["result"] is None
    assert record["output_tail"] == TOO_LONG["output_tail"]
    assert record["message"] == "not kept, as the disk is full: result"


def test_a_record_is_made_as_small_as_it_must_be(owner):
    owner.history.longest = 300
    owner.append(**TOO_LONG, script_args={"main": "a" * 1000}, message="all is well")

    record = owner.history.record(1)
    assert owner.told == [(1, "ENDED")]
    assert (record["stacktrace"], record["output_tail"], record["script_args"]) == (None, [], {})
    assert record["message"] == (
        "all is well; not kept, as the disk is full: result, stacktrace, output_tail, script_args"
    )


def test_clients_see_the_record_as_it_was_written(owner):
    owner.history.longest = 300
    entry = owner.entry(**TOO_LONG)
    with owner.lock:
        owner.journal.append(entry)

    assert entry.record == owner.history.record(1)


def test_the_arguments_of_what_goes_on_are_not_left_out(owner):
    owner.history.longest = 300
    owner.append(finished=False, script_args={"main": "a" * 1000})

    assert owner.told == []
    owner.history.longest = 10_000
    eventually(lambda: owner.told == [(1, "ENDED")])
    assert owner.history.record(1)["script_args"] == {"main": "a" * 1000}


def test_a_disk_that_refuses_for_another_reason_is_not_given_less(owner):
    def refuse(*_, **__):
        raise OSError(5, "Input/output error")

    owner.history.append = refuse
    owner.append(result="r")
    del owner.history.append
    eventually(lambda: owner.told == [(1, "ENDED")])

    assert owner.history.record(1)["result"] == "r"


def test_what_cannot_be_written_at_all_does_not_hold_up_the_rest(owner):
    owner.append(1, result=object())
    owner.append(2, state={1, 2})
    owner.append(3)

    assert owner.told == [(1, "ENDED"), (3, "ENDED")]
    assert owner.history.record(1)["message"] == "not kept, as it could not be written: result"


def test_nothing_new_is_accepted_without_room_for_what_follows(owner):
    owner.history.full = True
    with pytest.raises(NoSpace, match="the disk is full"):
        owner.accept()
    seq = owner.journal.next_seq
    owner.history.full = False
    owner.accept()

    assert seq == 1
    assert owner.told == [(1, "ENDED")]


def test_what_was_accepted_goes_on_without_room_for_more(owner):
    owner.accept(state="BEGUN")
    owner.history.full = True
    owner.append()

    assert owner.told == [(1, "BEGUN"), (1, "ENDED")]


def test_a_full_disk_is_told_to_health_without_anybody_asking(owner):
    owner.history.full = True
    eventually(lambda: owner.health)
    owner.history.full = False
    eventually(lambda: owner.health[-1] is None)

    assert owner.health == ["history cannot be written: the disk is full", None]


def test_the_same_trouble_is_told_once(owner):
    owner.history.refusing = True
    owner.append(1)
    owner.append(2)
    for _ in range(3):
        with suppress(NoSpace):
            owner.accept(3)
    owner.history.refusing = False
    eventually(lambda: owner.told == [(1, "ENDED"), (2, "ENDED")])
    eventually(lambda: owner.health[-1] is None)

    assert owner.health == ["history cannot be written: No space left on device", None]


def test_a_journal_that_is_closed_writes_nothing_more(owner):
    owner.history.refusing = True
    owner.append()
    owner.journal.close()
    owner.history.refusing = False
    threads = [each for each in threading.enumerate() if each.name == "journal"]
    for thread in threads:
        thread.join(2)

    assert threads
    assert not any(thread.is_alive() for thread in threads)
    assert owner.told == []
