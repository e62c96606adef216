"""The output log: numbered, bounded, readable while it is written."""

from __future__ import annotations

import os

import pytest

from ska_oso_activity.script_host.output import READ_LIMIT, OutputReader, OutputWriter


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "output" / "7"


def write(folder, count, *, limit=1024 * 1024, text="line {}", batch=1):
    writer = OutputWriter(folder, limit)
    for first in range(0, count, batch):
        writer.write([("stdout", text.format(n)) for n in range(first, first + batch)])
    writer.close()
    return writer


def texts(lines):
    return [line["text"] for line in lines]


def test_lines_are_read_back_by_offset(folder):
    write(folder, 10)
    reader = OutputReader(folder)

    lines, next_offset, dropped = reader.read(3, 4)

    assert texts(lines) == ["line 3", "line 4", "line 5", "line 6"]
    assert [line["n"] for line in lines] == [3, 4, 5, 6]
    assert (next_offset, dropped) == (7, 0)
    assert texts(reader.tail(2)) == ["line 8", "line 9"]
    assert set(lines[0]) == {"n", "stream", "time", "text"}


def test_there_is_nothing_to_read_before_the_first_line_and_after_the_last(folder):
    assert OutputReader(folder).read(0, 10) == ([], 0, 0)
    assert OutputReader(folder).tail(50) == []
    write(folder, 3)

    assert OutputReader(folder).read(3, 10) == ([], 3, 0)
    assert OutputReader(folder).read(99, 10) == ([], 99, 0)


def test_the_oldest_lines_are_dropped_at_the_bound_and_counted(folder):
    limit = 64 * 1024
    write(folder, 5000, limit=limit, text="x" * 40 + " {}")
    reader = OutputReader(folder)

    size = sum(path.stat().st_size for path in folder.iterdir())
    lines, _, dropped = reader.read(0, 10_000)

    assert size <= limit
    assert size > limit / 2
    assert lines[0]["n"] == dropped > 0
    assert [line["n"] for line in lines] == list(range(dropped, 5000))
    assert reader.read(0, 1)[1] == dropped + 1
    assert texts(reader.tail(1)) == ["x" * 40 + " 4999"]


def test_a_tail_goes_over_several_segments(folder):
    write(folder, 400, limit=64 * 1024, text="x" * 100 + " {}")

    assert [line["n"] for line in OutputReader(folder).tail(200)] == list(range(200, 400))


def test_a_read_of_long_lines_comes_in_parts(folder):
    write(folder, 40, limit=16 * 1024 * 1024, text="x" * 60_000 + "{}")
    reader = OutputReader(folder)

    lines, next_offset, _ = reader.read(0, 40)

    assert len(lines) == next_offset == READ_LIMIT // 60_000 + 1
    assert texts(reader.read(next_offset, 1)[0]) == ["x" * 60_000 + str(next_offset)]


def test_a_torn_last_line_is_not_there_yet(folder):
    write(folder, 3)
    segment = folder / "0.jsonl"
    for end in range(segment.stat().st_size, 0, -1):
        os.truncate(segment, end)

        lines, _, _ = OutputReader(folder).read(0, 10)

        assert [line["n"] for line in lines] == list(range(len(lines)))


def test_any_text_is_one_line_of_ascii(folder):
    text = 'tab\t, nul\0, quote", line\u2028 and \N{GREEK SMALL LETTER PI}'
    OutputWriter(folder).write([("log", text)])

    assert (folder / "0.jsonl").read_bytes().isascii()
    assert texts(OutputReader(folder).tail(1)) == [text]


def test_a_disk_that_takes_nothing_costs_lines_and_no_more(folder, tmp_path, caplog):
    writer = OutputWriter(folder)
    writer.write([("stdout", "before")])
    folder.rename(tmp_path / "aside")
    folder.write_text("in the way of new segments")
    writer.close()

    writer.write([("stdout", "lost")])

    assert "1 lines of output are lost" in caplog.text
    folder.unlink()
    (tmp_path / "aside").rename(folder)
    writer.write([("stdout", "after")])
    assert [(line["n"], line["text"]) for line in OutputReader(folder).tail(5)] == [
        (0, "before"),
        (2, "after"),
    ]


def test_half_a_line_that_a_full_disk_took_is_taken_back(folder, monkeypatch):
    writer = OutputWriter(folder)
    writer.write([("stdout", "before")])
    write_all = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write_all(fd, data[:10]))
    writer.write([("stdout", "lost")])
    monkeypatch.undo()

    writer.write([("stdout", "after")])

    assert texts(OutputReader(folder).tail(5)) == ["before", "after"]


def test_a_writer_that_was_closed_goes_on_where_it_was(folder):
    writer = OutputWriter(folder)
    for text in ("first process", "second process"):
        writer.write([("stderr", text)])
        writer.close()

    lines, _, dropped = OutputReader(folder).read(0, 10)

    assert [(line["n"], line["text"]) for line in lines] == [
        (0, "first process"),
        (1, "second process"),
    ]
    assert dropped == 0


def test_a_damaged_line_is_dropped_alone(folder):
    write(folder, 5)
    (segment,) = folder.iterdir()
    whole = segment.read_bytes().split(b"\n")
    whole[1] = b'{"n":1,"stream":"std{"n":1}'
    whole[3] = b'{"n":x,"stream":"stdout","time":"","text":""}'
    segment.write_bytes(b"\n".join(whole))
    reader = OutputReader(folder)

    assert texts(reader.read(0, 10)[0]) == ["line 0", "line 2", "line 4"]
    assert texts(reader.tail(10)) == ["line 0", "line 2", "line 4"]
