"""A history whose files were cut or changed while nobody had them open.

It always opens; only what was damaged is lost; no number is given twice, and by the epoch clients
see where written history may be lost. `SKA_OSO_ACTIVITY_THOROUGH=1` tries many more places.
"""

import os
import random
import shutil
import sqlite3
import threading

import pytest

from ska_oso_activity.adapters.sqlite_history import LOST_NUMBERS, SqliteHistory

THOROUGH = bool(os.environ.get("SKA_OSO_ACTIVITY_THOROUGH"))
RECORDS = 40
PAGE = 4096


def add(history, record_id, seq, state, *, finished=False, **more):
    record = {"id": record_id, "state": state, **more}
    event = {"seq": seq, "id": record_id, "state": state}
    history.append(record_id, record, (seq, event), finished=finished, durable=False)


def fill(history, records=RECORDS):
    """Some records of one page, some of several; the last is not finished."""
    for record_id in range(1, records + 1):
        add(history, record_id, 2 * record_id - 1, "BEGUN", text="x" * 300)
        more = {"text": "x" * (9000 if record_id % 10 == 0 else 700)}
        add(history, record_id, 2 * record_id, "ENDED", finished=record_id < records, **more)


class Found:
    """What a device finds when it starts on these files."""

    def __init__(self, path):
        history = SqliteHistory(path)
        try:
            self.epoch = history.epoch
            self.records = {record["id"]: record for record in history.records()}
            self.events = {event["seq"]: event for event in history.events_since(0)}
            self.next_id, self.last_seq = history.next_id(), history.last_seq()
            self.told = history.told
            add(history, self.next_id, self.last_seq + 1, "NEW")
            assert history.record(self.next_id)["state"] == "NEW"
        finally:
            history.close()


class Whole:
    """A sound history, its files, and copies of them to damage."""

    def __init__(self, directory, *, closed):
        self.place = directory / "whole"
        history = SqliteHistory(self.place / "activities.db")
        fill(history)
        self.epoch = history.epoch
        self.records = {record["id"]: record for record in history.records()}
        self.events = {event["seq"]: event for event in history.events_since(0)}
        if closed:
            history.close()
        self.killed = directory / "killed"
        shutil.copytree(self.place, self.killed)
        if not closed:
            history.close()
        self._directory = directory
        self._copies = 0

    def copy(self):
        self._copies += 1
        copy = self._directory / f"copy-{self._copies}"
        shutil.copytree(self.killed, copy)
        return copy / "activities.db"

    def size(self, suffix=""):
        return (self.killed / f"activities.db{suffix}").stat().st_size

    def assert_kept(self, found, *, losing_at_most=None):
        """Nothing is there that was not written, no number is free that was used."""
        assert found.next_id > RECORDS
        assert found.last_seq >= 2 * RECORDS
        for record_id, record in found.records.items():
            assert record in (self.records[record_id], {**record, "state": "BEGUN"})
        for seq, event in found.events.items():
            assert event == self.events[seq]
        lost = [
            key
            for all_, kept in ((self.records, found.records), (self.events, found.events))
            for key in all_
            if all_[key] != kept.get(key)
        ]
        if losing_at_most is not None:
            assert len(lost) <= losing_at_most, lost
        if any(each not in found.events for each in self.events) and found.epoch == self.epoch:
            # Single damaged records are dropped alone, and reported: the rest is whole.
            assert len(lost) <= 2


@pytest.fixture
def closed(tmp_path):
    return Whole(tmp_path, closed=True)


@pytest.fixture
def killed(tmp_path):
    return Whole(tmp_path, closed=False)


def places(size, few):
    """Every 512 bytes and about each page, or some of these."""
    every = sorted(
        {*range(0, size, 512), *(at + d for at in range(0, size, PAGE) for d in (-1, 0, 1))} - {-1}
    )
    return every if THOROUGH else sorted(random.Random(few).sample(every, min(few, len(every))))


def test_a_database_that_is_cut_anywhere_loses_what_was_cut_off(closed):
    for cut in places(closed.size(), 40):
        path = closed.copy()
        os.truncate(path, cut)
        found = Found(path)

        closed.assert_kept(found)
        assert found.epoch != closed.epoch or found.events == closed.events, cut


def test_a_log_that_is_cut_anywhere_loses_what_was_cut_off(killed):
    used = 32 + 24 * 10 + PAGE * 250
    for cut in places(min(used, killed.size("-wal")), 40):
        path = killed.copy()
        os.truncate(f"{path}-wal", cut)
        found = Found(path)

        killed.assert_kept(found)
        assert found.epoch != killed.epoch or found.events == killed.events, cut


def test_a_log_that_is_gone_is_noticed(killed):
    path = killed.copy()
    (path.parent / "activities.db-wal").unlink()
    found = Found(path)

    killed.assert_kept(found)
    assert found.epoch != killed.epoch


def test_a_database_that_is_gone_does_not_begin_from_1_again(closed):
    path = closed.copy()
    path.unlink()
    found = Found(path)

    closed.assert_kept(found)
    assert found.epoch != closed.epoch
    assert (found.next_id, found.last_seq) == (RECORDS + 1, 2 * RECORDS)


def test_without_its_last_numbers_a_damaged_database_leaves_many_out(closed):
    path = closed.copy()
    (path.parent / "activities.db-last").unlink()
    os.truncate(path, closed.size() // 2)
    found = Found(path)

    assert found.next_id > LOST_NUMBERS
    assert found.last_seq >= LOST_NUMBERS


def flip(path, at, bit):
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def flip_all(path, text):
    """Damage every copy of a text: pages that are free now hold old ones."""
    path.write_bytes(path.read_bytes().replace(text, bytes([text[0] ^ 0x80]) + text[1:]))


def test_a_flipped_bit_anywhere_in_the_database_loses_what_it_hit_alone(closed):
    dice = random.Random(20261124)
    for _ in range(4000 if THOROUGH else 120):
        path = closed.copy()
        at, bit = dice.randrange(closed.size()), dice.randrange(8)
        flip(path, at, bit)
        found = Found(path)

        # One page holds up to eight events, or four records; the head of a page hits them all.
        closed.assert_kept(found, losing_at_most=80)
        shutil.rmtree(path.parent)


def test_a_flipped_bit_at_the_beginning_of_the_database_loses_nothing(closed):
    places = range(100) if THOROUGH else [18, 19, 28, 36, 43, 52, 56, 60, 63, 92, *range(0, 100, 9)]
    for at in places:
        path = closed.copy()
        flip(path, at, at % 8)
        found = Found(path)

        closed.assert_kept(found, losing_at_most=0)
        shutil.rmtree(path.parent)


def test_flipped_names_of_tables_lose_nothing(closed):
    text = (closed.killed / "activities.db").read_bytes()
    for name in (b"record", b"event", b"finished", b"first_seq", b"body", b"CREATE"):
        at = text.index(name)
        path = closed.copy()
        flip(path, at, 0)
        found = Found(path)

        closed.assert_kept(found, losing_at_most=0)
        assert found.epoch != closed.epoch


def test_a_flipped_bit_anywhere_in_the_log_loses_what_it_hit_alone(killed):
    dice = random.Random(1124)
    used = killed.size("-wal")
    for number in range(1500 if THOROUGH else 80):
        path = killed.copy()
        at = number if number < 32 else dice.randrange(used)
        flip(path.with_name("activities.db-wal"), at, dice.randrange(8))
        found = Found(path)

        killed.assert_kept(found, losing_at_most=20)
        shutil.rmtree(path.parent)


@pytest.mark.parametrize("suffix", ["-wal", "-last"])
def test_a_file_of_noise_in_place_of_another_does_no_harm(killed, suffix):
    path = killed.copy()
    path.with_name(f"activities.db{suffix}").write_bytes(random.Random(1).randbytes(100_000))
    found = Found(path)

    assert found.next_id == RECORDS + 1 or suffix == "-last"


def test_what_was_told_outlives_damage(closed):
    path = closed.copy()
    history = SqliteHistory(path)
    history.told = 2 * RECORDS
    add(history, RECORDS, 2 * RECORDS + 1, "ENDED", finished=True)
    history.close()
    flip(path, 60 + 4 * PAGE, 0)
    flip(path, 100 + 8, 3)

    assert Found(path).told == 2 * RECORDS


def test_a_flipped_record_is_dropped_alone_and_reported(closed, caplog):
    path = closed.copy()
    flip_all(path, b'{"id":7,"state":"ENDED"')
    found = Found(path)

    assert closed.records.keys() - found.records.keys() == {7}
    assert found.events == closed.events
    assert found.epoch == closed.epoch
    assert "record 7" in caplog.text


def test_a_flipped_event_is_dropped_alone_and_reported(closed, caplog):
    path = closed.copy()
    flip_all(path, b'"seq":2,"id"')
    found = Found(path)

    assert closed.events.keys() - found.events.keys() == {2}
    assert found.records == closed.records
    assert found.epoch == closed.epoch
    assert "event 2" in caplog.text


def test_a_record_under_the_number_of_another_is_dropped(closed):
    path = closed.copy()
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("UPDATE record SET id = 77 WHERE id = 7")
    database.close()

    assert 77 not in Found(path).records


def test_what_was_removed_long_ago_does_not_come_back(tmp_path):
    path = tmp_path / "activities.db"
    history = SqliteHistory(path, keep=10)
    for record_id in range(1, 201):
        add(history, record_id, record_id, "ENDED", finished=True, text="x" * 3000)
        history.trim()
    history.close()
    tree = path.read_bytes()
    # The root of the table of records no longer leads to its pages.
    roots = [page for page in range(1, 8) if tree[page * PAGE] == 5]
    for page in roots:
        flip(path, page * PAGE, 1)
    found = Found(path)

    assert roots
    assert sorted(found.records) == list(range(191, 201))


def checksum(data, byteorder):
    """What ends a log's header; see https://sqlite.org/fileformat.html#checksum_algorithm"""
    first = second = 0
    for at in range(0, len(data), 8):
        first += int.from_bytes(data[at : at + 4], byteorder) + second
        second += int.from_bytes(data[at + 4 : at + 8], byteorder) + first
        first, second = first % 2**32, second % 2**32
    return first.to_bytes(4, "big") + second.to_bytes(4, "big")


def test_a_log_that_was_just_begun_anew_is_not_damaged(tmp_path):
    """Killed between the log's new header and its first page: all is in the database by then."""
    whole = Whole(tmp_path, closed=False)
    path = whole.copy()
    log = path.with_name("activities.db-wal")
    database = sqlite3.connect(path)
    database.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    data = bytearray(log.read_bytes())
    database.close()
    data[12:16] = (int.from_bytes(data[12:16], "big") + 1).to_bytes(4, "big")
    data[16:20] = (int.from_bytes(data[16:20], "big") + 1).to_bytes(4, "big")
    data[20:24] = b"anew"
    data[24:32] = checksum(data[:24], "big" if data[3] & 1 else "little")
    log.write_bytes(data)
    found = Found(path)

    assert found.epoch == whole.epoch
    assert found.records == whole.records
    assert not list(path.parent.glob("*.unreadable-*"))


def test_a_history_that_is_just_being_closed_is_not_taken_for_damaged(tmp_path):
    path = tmp_path / "history.db"
    first = SqliteHistory(path)
    for number in range(1, 50):
        first.append(number, {"n": number}, (number, {"seq": number}), finished=True, durable=False)
    closing = threading.Timer(0.2, first.close)
    closing.start()
    second = SqliteHistory(path)  # waits for the other
    closing.join()

    assert second.epoch == first.epoch
    assert second.last_seq() == 49
    second.close()
    assert list(tmp_path.glob("*unreadable*")) == []
