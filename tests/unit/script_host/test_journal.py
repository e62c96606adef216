"""Events wait for their server, in order and in bounded memory."""

from __future__ import annotations

import json

import pytest

from ska_oso_activity.script_host.directory import HostDirectory
from ska_oso_activity.script_host.journal import Journal, read_ends


@pytest.fixture
def directory(tmp_path):
    directory = HostDirectory(tmp_path / "host")
    directory.create()
    return directory


def told(journal, after=0):
    events = [json.loads(event.line) for event in journal.after(after)]
    return [(event["procedure_id"], event["n"], event["kind"]) for event in events]


def test_events_are_kept_in_order_until_acknowledged(directory):
    journal = Journal(directory)
    journal.append(7, "state", {"state": "IDLE"})
    journal.append(8, "state", {"state": "IDLE"})
    last = journal.append(7, "state", {"state": "LOADING"})

    assert told(journal) == [(7, 1, "state"), (8, 1, "state"), (7, 2, "state")]
    assert told(journal, after=last.order) == []
    journal.acknowledge(7, 1)
    assert told(journal) == [(8, 1, "state"), (7, 2, "state")]
    assert journal.procedures() == {7, 8}


def test_of_progress_messages_and_output_the_newest_is_kept(directory):
    journal = Journal(directory)
    for number in range(1000):
        journal.append(7, "progress", {"progress": number})
        journal.append(7, "message", {"message": str(number)})
        journal.append(7, "output", {"next": number})
    journal.append(8, "output", {"next": 1})

    events = [json.loads(event.line) for event in journal.after(0)]

    assert [event.get("progress") for event in events] == [999, None, None, None]
    assert told(journal) == [
        (7, 2998, "progress"),
        (7, 2999, "message"),
        (7, 3000, "output"),
        (8, 1, "output"),
    ]


def test_ends_outlive_the_host_until_acknowledged(directory):
    first = Journal(directory)
    first.append(7, "state", {"state": "IDLE"})
    first.append(7, "end", {"state": "COMPLETE", "result": 5})
    assert list(read_ends(directory)) == []
    first.write_end(7)

    second = Journal(directory)

    assert told(second) == [(7, 1, "state"), (7, 2, "end")]
    assert [messages[-1]["result"] for messages in read_ends(directory)] == [5]
    second.acknowledge(7, 2)
    assert told(Journal(directory)) == []


def test_a_torn_end_is_skipped(directory, caplog):
    journal = Journal(directory)
    journal.append(7, "state", {"state": "IDLE"})
    journal.append(7, "end", {"state": "COMPLETE"})
    journal.append(8, "end", {"state": "FAILED"})
    journal.write_ends()
    whole = directory.end_of(7).read_bytes()
    for size in range(len(whole) - 1):  # also whole lines without the last, which is the end
        directory.end_of(7).write_bytes(whole[:size])

        assert told(Journal(directory)) == [(8, 1, "end")]


def test_an_end_that_the_disk_does_not_take_is_kept_in_memory(directory, caplog):
    directory.ends.rmdir()
    journal = Journal(directory)

    journal.append(7, "end", {"state": "COMPLETE"})
    journal.write_ends()

    assert told(journal) == [(7, 1, "end")]
    assert "memory only" in caplog.text


def test_a_forgotten_procedure_leaves_nothing(directory):
    journal = Journal(directory)
    journal.append(7, "end", {"state": "COMPLETE"})
    journal.write_ends()

    journal.forget(7)

    assert told(journal) == []
    assert list(read_ends(directory)) == []


def test_an_end_that_is_acknowledged_in_time_costs_no_file(directory):
    journal = Journal(directory)
    journal.append(7, "end", {"state": "COMPLETE"})
    journal.acknowledge(7, 1)

    journal.write_end(7)
    journal.write_ends()

    assert list(directory.ends.iterdir()) == []
