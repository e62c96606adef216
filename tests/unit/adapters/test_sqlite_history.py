"""History: what the port promises, in memory and on disk, and what a damaged disk does to it."""

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zlib

import pytest

from ska_oso_activity.adapters.sqlite_history import EVENTS_PER_RECORD, SqliteHistory
from tests.fakes import InMemoryHistory


class InMemory:
    """How a test opens the fake, and opens it again."""

    def __init__(self, directory):
        self._last = None

    def open(self, **settings):
        self._last = InMemoryHistory(**settings) if self._last is None else self._last.reopened()
        self._last.keep = settings.get("keep", 1000)
        return self._last

    def close(self):
        pass


class OnDisk:
    """The same for the database; what is open when it is opened again was killed."""

    def __init__(self, directory):
        self._directory = directory
        self._opened = []

    def open(self, **settings):
        # Nobody else may open it while it is open; what another would find is a copy of the files.
        place = self._directory / f"life-{len(self._opened)}"
        if self._opened:
            shutil.copytree(self._directory / f"life-{len(self._opened) - 1}", place)
        self._opened.append(SqliteHistory(place / "activities.db", **settings))
        return self._opened[-1]

    def close(self):
        for history in self._opened:
            history.close()


@pytest.fixture(params=[InMemory, OnDisk], ids=["fake", "sqlite"])
def place(request, tmp_path):
    place = request.param(tmp_path)
    yield place
    place.close()


@pytest.fixture
def opened():
    """Opens databases that are closed after the test."""
    histories = []

    def open_history(path):
        histories.append(SqliteHistory(path))
        return histories[-1]

    yield open_history
    for history in histories:
        history.close()


def add(history, record_id, *seqs, finished=True, durable=False, **record):
    """One record with events of these seqs."""
    for seq in seqs or (None,):
        event = None if seq is None else (seq, {"seq": seq, "id": record_id, "state": "S"})
        history.append(
            record_id, {"id": record_id, **record}, event, finished=finished, durable=durable
        )


def seqs_of(events):
    return [event["seq"] for event in events]


# --- The port


def test_a_new_history_is_empty(place):
    history = place.open()

    assert list(history.records()) == []
    assert history.record(1) is None
    assert history.events_since(0) == []
    assert (history.last_seq(), history.next_id(), history.told) == (0, 1, 0)
    assert history.epoch
    assert history.trim() == []


def test_records_and_events_are_there_when_it_is_opened_again(place):
    history = place.open()
    record = {"text": "\u03b1 \U0001f52d \ud800", "list": [1, None, {"a": 1.5}]}
    add(history, 2, 1, 3, **record)
    add(history, 1, 2, durable=True)
    again = place.open()

    assert list(again.records()) == [{"id": 1}, {"id": 2, **record}]
    assert again.record(2) == {"id": 2, **record}
    assert seqs_of(again.events_since(0)) == [1, 2, 3]
    assert again.epoch == history.epoch
    assert (again.last_seq(), again.next_id()) == (3, 3)


def test_a_record_is_replaced_and_its_events_stay(place):
    history = place.open()
    add(history, 1, 1, finished=False, state="A")
    add(history, 1, 2, finished=False, state="B")
    add(history, 1, finished=True, state="C")

    assert list(history.records()) == [{"id": 1, "state": "C"}]
    assert seqs_of(history.events_since(0)) == [1, 2]


def test_a_seq_is_used_once(place):
    history = place.open()
    add(history, 1, 1, state="A")

    with pytest.raises(OSError, match=r"1|UNIQUE"):
        add(history, 1, 1, state="B")

    assert history.record(1) == {"id": 1, "state": "A"}


@pytest.mark.parametrize(
    ("since", "limit", "found"),
    [
        *((0, None, [1, 2, 3]), (1, None, [2, 3]), (3, None, []), (-(2**63), None, [1, 2, 3])),
        *((2**63 - 1, None, []), (0, 2, [1, 2]), (0, 0, [])),
    ],
)
def test_events_after_a_seq_are_given_oldest_first(place, since, limit, found):
    history = place.open()
    add(history, 1, 1, 2, 3)

    assert seqs_of(history.events_since(since, limit)) == found


def test_what_was_told_is_kept_with_the_next_record(place):
    history = place.open()
    add(history, 1, 1)
    history.told = 1
    add(history, 1, 2)
    history.told = 2

    assert place.open().told == 1


def test_what_was_told_is_kept_when_it_is_closed(place):
    history = place.open()
    add(history, 1, 1)
    history.told = 1
    history.close()

    assert place.open().told == 1


def test_the_oldest_finished_records_go_with_their_events(place):
    history = place.open(keep=2)
    for number in (1, 2, 3, 4, 5):
        add(history, number, number)

    removed = history.trim()

    assert removed == [1, 2, 3]
    assert [record["id"] for record in history.records()] == [4, 5]
    assert seqs_of(history.events_since(0)) == [4, 5]
    assert history.trim() == []


def test_unfinished_records_stay_and_events_since_theirs_have_no_gap(place):
    history = place.open(keep=2)
    add(history, 1, 1)
    add(history, 2, 2, finished=False)
    for number in (3, 4, 5):
        add(history, number, number)

    removed = history.trim()

    assert removed == [1, 3]
    assert [record["id"] for record in history.records()] == [2, 4, 5]
    assert seqs_of(history.events_since(0)) == [2, 3, 4, 5]


def test_a_record_that_stays_for_long_does_not_keep_all_events(place):
    history = place.open(keep=1)
    add(history, 1, 1, finished=False)
    last = 3 * EVENTS_PER_RECORD
    add(history, 2, 2)
    add(history, 3, *range(3, last + 1))

    history.trim()

    found = seqs_of(history.events_since(0))
    assert found == list(range(found[0], last + 1))
    assert len(found) <= EVENTS_PER_RECORD + 1


def test_numbers_of_removed_records_are_never_given_again(place):
    history = place.open(keep=1)
    add(history, 1, 1)
    add(history, 2, 2)
    add(history, 3, 3)
    history.trim()
    again = place.open(keep=1)
    add(again, 1, 4)
    removed = again.trim()

    # Number 3 was the newest ever; it is remembered even where nothing of it is left.
    assert removed
    assert again.next_id() == 4
    assert again.last_seq() == 4


def test_a_record_that_is_finished_twice_counts_once(place):
    history = place.open(keep=2)
    for number in (1, 2):
        for _ in range(3):
            add(history, number)

    assert history.trim() == []


def test_notes_are_kept(place):
    history = place.open()
    history.set_note("cursor a/b/1", "epoch 1")
    history.set_note("cursor a/b/1", "epoch 2")

    assert place.open().get_note("cursor a/b/1") == "epoch 2"
    assert history.get_note("other") is None


def test_a_record_that_has_just_been_finished_is_not_the_first_to_go(place):
    history = place.open(keep=2)
    add(history, 1, 1, finished=False)
    add(history, 2, 2)
    add(history, 3, 3)
    add(history, 1, 4, finished=True)

    assert history.trim() == [2]


# --- The file


def test_the_files_are_ours_alone(tmp_path, opened):
    history = opened(tmp_path / "state" / "activities.db")
    add(history, 1, 1)

    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    for path in (tmp_path / "state").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_a_directory_that_cannot_be_made_is_an_os_error(tmp_path, opened):
    (tmp_path / "state").write_text("")

    with pytest.raises(OSError, match="state"):
        opened(tmp_path / "state" / "activities.db")


def test_a_file_of_a_newer_release_is_left_alone(tmp_path, opened):
    path = tmp_path / "activities.db"
    SqliteHistory(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=99")
        database.execute("UPDATE note SET value = '99' WHERE key = 'format'")
    database.close()

    with pytest.raises(OSError, match="newer release"):
        opened(path)

    assert [each.name for each in tmp_path.iterdir() if "unreadable" in each.name] == []


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"\0" * 8192, b"SQLite format 3\0"])
def test_what_is_no_database_is_set_aside_and_a_new_epoch_begins(tmp_path, opened, content):
    path = tmp_path / "activities.db"
    path.write_bytes(content)

    history = opened(path)
    add(history, 1, 1)

    (aside,) = [each for each in tmp_path.iterdir() if "unreadable" in each.name]
    assert aside.read_bytes() == content
    assert history.epoch


def test_what_was_written_survives_a_kill(tmp_path, opened):
    path = tmp_path / "a" / "activities.db"
    history = opened(path)
    add(history, 1, 1, 2, 3)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    again = opened(tmp_path / "b" / "activities.db")

    assert seqs_of(again.events_since(0)) == [1, 2, 3]
    assert again.epoch == history.epoch


def test_nobody_else_may_open_it_meanwhile(tmp_path, opened):
    opened(tmp_path / "activities.db")
    with tempfile.TemporaryFile() as file:
        code = (
            "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0)"
            ".execute('SELECT count(*) FROM record')"
        )
        told = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "activities.db"], check=False, stderr=file
        )
        file.seek(0)

        assert told.returncode != 0
        assert b"locked" in file.read()


def test_events_are_given_as_the_texts_that_were_written(place):
    history = place.open()
    add(history, 1, 1, 2, 3)

    assert [json.loads(text) for text in history.event_texts_since(1)] == history.events_since(1)
    assert history.event_texts_since(1, 1) == ['{"seq":2,"id":1,"state":"S"}']


FIRST_SCHEMA = """
CREATE TABLE IF NOT EXISTS note (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
    id INTEGER PRIMARY KEY,
    finished INTEGER NOT NULL, -- 0, or a number that tells the order in which they finished
    first_seq INTEGER, -- of its events
    body TEXT NOT NULL,
    crc INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY, body TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS finished_record ON record (finished) WHERE finished;
CREATE INDEX IF NOT EXISTS first_event ON record (first_seq);
"""


def test_a_history_of_the_first_release_is_taken_up(tmp_path, opened):
    path = tmp_path / "activities.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.executescript(FIRST_SCHEMA)
    database.executescript(
        """
        PRAGMA user_version=1;
        INSERT INTO note VALUES ('told', '1'), ('epoch', 'e'), ('open_since', '');
        """
    )
    for table, more in (("record", "1, 1, "), ("event", "")):
        body = '{"seq":1}'
        database.execute(
            f"INSERT INTO {table} VALUES (1, {more}?, ?)", (body, zlib.crc32(body.encode()))
        )
    database.close()

    history = opened(path)
    add(history, 2, 2)

    assert (history.epoch, history.told) == ("e", 1)
    assert seqs_of(history.events_since(0)) == [1, 2]
    assert len(list(history.records())) == 2
