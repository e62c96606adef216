"""A history whose disk is full, or takes nothing: what was accepted is recorded to its end."""

import errno
import os
import resource
import signal
import sqlite3
from contextlib import suppress

import pytest

from ska_oso_activity.adapters import sqlite_history
from ska_oso_activity.adapters.sqlite_history import SqliteHistory
from tests.small_disk import MIB, Glutton, SmallDisk, make_read_only

on_a_disk_of_its_own = pytest.mark.forked

STORY = ["PREPARING", "READY", "RUNNING", "UNKNOWN", "RUNNING", "UNKNOWN", "RUNNING", "STOPPING"]


class Writer:
    """Writes activities as a device does."""

    def __init__(self, path, **settings):
        self.history = SqliteHistory(path, **settings)
        self.seq = self.history.last_seq()

    def accept(self, record_id, **more):
        self._append(record_id, "REQUESTED", reserve=True, durable=True, **more)

    def move(self, record_id, state, **more):
        self._append(record_id, state, **more)

    def end(self, record_id, **more):
        self._append(record_id, "STOPPED", finished=True, durable=True, **more)
        self.history.trim()

    def run(self, record_id):
        for state in STORY:
            self.move(record_id, state, error="x" * 1000)
        self.end(record_id, error="x" * 3000, output_tail=["y" * 100] * 50)

    def _append(self, record_id, state, *, finished=False, durable=False, reserve=False, **more):
        record = {"id": record_id, "state": state, "args": "z" * 1500, **more}
        event = {"seq": self.seq + 1, "id": record_id, "state": state, "text": "t" * 400}
        self.history.append(
            record_id,
            record,
            (self.seq + 1, event),
            finished=finished,
            durable=durable,
            reserve=reserve,
        )
        self.seq += 1

    def states(self):
        return {record["id"]: record["state"] for record in self.history.records()}

    def close(self):
        self.history.close()


@pytest.fixture
def disk(tmp_path):
    return SmallDisk(tmp_path / "disk", 8 * MIB)


@pytest.fixture
def open_writer(tmp_path):
    """Opens the history of this test; what is open at the end is closed."""
    writers = []

    def opened(**settings):
        writers.append(Writer(tmp_path / "disk" / "activities.db", **settings))
        return writers[-1]

    yield opened
    for writer in writers:
        writer.close()


def refusal(call, *args, **more):
    with pytest.raises(OSError, match=r".") as refused:
        call(*args, **more)
    return refused.value


def accept_all_there_is_room_for(writer):
    last = 0
    with suppress(OSError):
        for last in range(1000):
            writer.accept(last + 1)
    return last


def assert_whole(writer, last):
    assert writer.states() == dict.fromkeys(range(1, last + 1), "STOPPED")
    seqs = [event["seq"] for event in writer.history.events_since(0)]
    assert seqs == list(range(1, writer.seq + 1))


@on_a_disk_of_its_own
def test_what_was_accepted_is_recorded_to_its_end_on_a_full_disk(disk, open_writer):
    writer = open_writer()
    for record_id in range(1, 101):
        writer.accept(record_id)
    with Glutton(disk):
        for record_id in range(1, 101):
            writer.run(record_id)
        free = disk.free

    assert free == 0
    assert_whole(writer, 100)
    writer.close()
    assert_whole(open_writer(), 100)


@on_a_disk_of_its_own
def test_a_full_disk_refuses_what_is_new_until_there_is_room(disk, open_writer):
    writer = open_writer()
    writer.accept(1)
    disk.fill()
    refused = refusal(writer.accept, 2)
    writer.run(1)
    refused_still = refusal(writer.history.require_room)
    disk.make_room()
    writer.history.require_room()
    writer.accept(2)
    writer.run(2)

    assert (refused.errno, refused_still.errno) == (errno.ENOSPC, errno.ENOSPC)
    assert "is full" in str(refused)
    assert_whole(writer, 2)


@on_a_disk_of_its_own
def test_as_many_are_accepted_as_there_is_room_for_the_ends_of(tmp_path, open_writer):
    disk = SmallDisk(tmp_path / "disk", 4 * MIB)
    writer = open_writer()
    last = accept_all_there_is_room_for(writer)
    disk.fill()
    for record_id in range(1, last + 1):
        writer.run(record_id)

    assert last > 10
    assert_whole(writer, last)


@on_a_disk_of_its_own
def test_a_result_that_is_too_large_for_the_room_leaves_that_of_others(disk, open_writer):
    writer = open_writer()
    for record_id in range(1, 17):
        writer.accept(record_id)
    disk.fill()
    refused = [refusal(writer.end, n, result="r" * MIB).errno for n in range(1, 17)]
    for record_id in range(1, 17):
        writer.run(record_id)

    assert refused == [errno.ENOSPC] * 16
    assert_whole(writer, 16)


@on_a_disk_of_its_own
def test_long_records_have_their_own_length_set_aside(tmp_path, open_writer):
    disk = SmallDisk(tmp_path / "disk", 64 * MIB)
    writer = open_writer()
    arguments = "a" * MIB
    for record_id in (1, 2, 3):
        writer.accept(record_id, arguments=arguments)
    disk.fill()
    for record_id in (1, 2, 3):
        writer.move(record_id, "PREPARING", arguments=arguments)
        writer.move(record_id, "READY", arguments=arguments)
        writer.end(record_id, arguments=arguments)

    assert_whole(writer, 3)


@on_a_disk_of_its_own
@pytest.mark.parametrize("how", ["killed", "closed"])
def test_a_server_that_starts_on_a_full_disk_takes_up_what_was_accepted(disk, open_writer, how):
    child = os.fork()
    if child == 0:
        writer = open_writer()
        for record_id in (1, 2, 3):
            writer.accept(record_id)
        if how == "closed":
            writer.close()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with Glutton(disk):
        writer = open_writer()
        for record_id in (1, 2, 3):
            writer.run(record_id)
        refused = refusal(writer.accept, 4)

    assert refused.errno == errno.ENOSPC
    assert_whole(writer, 3)


@on_a_disk_of_its_own
def test_a_first_start_on_a_full_disk_says_so_and_leaves_nothing_behind(disk, open_writer):
    disk.fill()
    refused = refusal(open_writer)
    disk.make_room()
    writer = open_writer()
    writer.accept(1)

    assert refused.errno == errno.ENOSPC
    assert [path.name for path in disk.path.iterdir() if "unreadable" in path.name] == []


@on_a_disk_of_its_own
def test_many_years_on_a_disk_cost_no_more_room_than_the_bound(disk, open_writer):
    writer = open_writer(keep=100)
    for record_id in range(1, 201):
        writer.accept(record_id)
        writer.run(record_id)
    half = disk.free
    for record_id in range(201, 1001):
        writer.accept(record_id)
        writer.run(record_id)

    assert half - disk.free < 3 * MIB


@on_a_disk_of_its_own
def test_a_read_only_directory_is_an_os_error_that_says_so(tmp_path, open_writer):
    writer = open_writer()
    writer.accept(1)
    writer.close()
    make_read_only(tmp_path / "disk")

    assert "Read-only file system" in str(refusal(open_writer))


@on_a_disk_of_its_own
def test_a_new_history_in_a_read_only_directory_is_an_os_error_that_says_so(tmp_path, open_writer):
    (tmp_path / "disk").mkdir()
    make_read_only(tmp_path / "disk")

    assert "Read-only file system" in str(refusal(open_writer))


def test_a_directory_that_we_may_not_write_is_an_os_error_that_says_so(tmp_path, open_writer):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "disk").mkdir(mode=0o500)

    assert "Permission denied" in str(refusal(open_writer))


# --- Where nothing may be mounted: files that may not grow


@pytest.fixture
def no_file_grows():
    """Called with a length: no file of this process may become longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda length: resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_ends_are_recorded_in_files_that_may_not_grow(tmp_path, open_writer, no_file_grows):
    writer = open_writer()
    for record_id in range(1, 41):
        writer.accept(record_id)
    length = max(path.stat().st_size for path in (tmp_path / "disk").iterdir())
    no_file_grows(length)
    for record_id in range(1, 41):
        writer.run(record_id)
    refused = refusal(writer.accept, 41, arguments="a" * 4 * MIB)
    writer.close()
    no_file_grows(resource.RLIM_INFINITY)

    assert refused.errno in (errno.EFBIG, errno.ENOSPC)
    assert_whole(open_writer(), 40)


def test_a_disk_that_refuses_leaves_what_was_there(open_writer, no_file_grows):
    writer = open_writer()
    writer.accept(1)
    no_file_grows(64 * 1024)
    refused = refusal(writer.move, 1, "RUNNING", text="x" * 200_000)
    no_file_grows(resource.RLIM_INFINITY)
    writer.end(1)

    assert refused.errno in (errno.EFBIG, errno.ENOSPC)
    assert_whole(writer, 1)


def test_a_history_that_is_taken_away_takes_nothing_new(tmp_path, open_writer):
    writer = open_writer()
    writer.accept(1)
    (tmp_path / "disk" / "activities.db").rename(tmp_path / "elsewhere")

    assert "taken away" in str(refusal(writer.accept, 2))
    assert "taken away" in str(refusal(writer.history.require_room))


def test_a_disk_of_unknown_size_is_not_full(open_writer, monkeypatch):
    writer = open_writer()
    told = os.statvfs("/")

    class Unknown:
        f_blocks = f_bavail = f_bfree = 0
        f_frsize, f_flag = told.f_frsize, 0

    monkeypatch.setattr(os, "fstatvfs", lambda _: Unknown)
    writer.accept(1)

    assert writer.states() == {1: "REQUESTED"}


def test_room_is_set_aside_in_steps_and_not_for_each_activity(open_writer, monkeypatch):
    taken = []
    real = os.posix_fallocate
    monkeypatch.setattr(os, "posix_fallocate", lambda *args: (taken.append(args), real(*args))[1])
    writer = open_writer()
    for record_id in range(1, 101):
        writer.accept(record_id)
        writer.end(record_id)

    assert len(taken) < 100 * sqlite_history.PAGES_PER_RECORD / 60


def test_a_passing_error_of_the_disk_costs_no_result(tmp_path, monkeypatch):
    history = SqliteHistory(tmp_path / "history.db")
    history.append(1, {"state": "RUNNING"}, None, finished=False, durable=True, reserve=True)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(history._room, "require", fail)
        with pytest.raises(OSError, match="disk I/O error") as caught:  # the journal tries again
            history.append(1, {"result": "r" * 200_000}, None, finished=True, durable=True)
    assert caught.value.errno not in (errno.ENOSPC, errno.EFBIG)
    history.append(1, {"result": "r" * 200_000}, None, finished=True, durable=True)

    assert history.record(1) == {"result": "r" * 200_000}
