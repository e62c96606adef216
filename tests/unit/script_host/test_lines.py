"""Pieces of output become lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ska_oso_activity.script_host.lines import CUT, WRITERS, LineJoiner, StreamLines


def test_pieces_are_joined_into_lines():
    joiner = LineJoiner()

    assert joiner.feed(b"one\ntw") == ["one"]
    assert joiner.feed(b"o\n\nthr") == ["two", ""]
    assert joiner.feed(b"ee") == []
    assert joiner.finish() == ["three"]
    assert joiner.finish() == []


def test_carriage_returns_at_the_end_of_a_line_go():
    assert LineJoiner().feed(b"one\r\ntwo\rthree\n") == ["one", "two\rthree"]


def test_a_long_line_is_told_once_and_cut():
    joiner = LineJoiner(limit=8)

    assert joiner.feed(b"12345") == []
    assert joiner.feed(b"67890") == ["12345678" + CUT]
    assert joiner.feed(b"more of it") == []
    assert joiner.feed(b"end\nnext\n") == ["next"]


def test_a_line_of_just_the_limit_is_whole():
    assert LineJoiner(limit=8).feed(b"12345678\n") == ["12345678"]


def test_what_is_not_text_is_shown_as_escapes():
    assert LineJoiner().feed(b"\xff\xc3\xa4\n") == ["\\xff\N{LATIN SMALL LETTER A WITH DIAERESIS}"]


@given(st.lists(st.binary(max_size=40)), st.integers(1, 20))
def test_however_it_is_cut_into_pieces_the_lines_are_the_same(pieces, limit):
    whole = LineJoiner(limit)
    expected = whole.feed(b"".join(pieces)) + whole.finish()

    joiner = LineJoiner(limit)
    lines = [line for piece in pieces for line in joiner.feed(piece)] + joiner.finish()

    assert lines == expected


def test_pieces_of_several_writers_are_not_mixed():
    lines = StreamLines()

    assert lines.feed(1, b"one ") == []
    assert lines.feed(2, b"two ") == []
    assert lines.feed(1, b"and one\n") == ["one and one"]
    assert lines.feed(2, b"and two\n") == ["two and two"]
    assert lines.feed(3, b"three") + lines.feed(4, b"four") == []
    assert lines.finish() == ["three", "four"]


def test_who_left_a_line_unfinished_longest_ago_is_no_longer_waited_for():
    lines = StreamLines()

    told = [lines.feed(writer, b"from %d" % writer) for writer in range(WRITERS + 1)]

    assert told == [[]] * WRITERS + [["from 0"]]


def test_an_overlong_line_of_one_writer_stays_cut_among_those_of_others():
    lines = StreamLines()
    lines.feed(1, b"x" * 100_000)

    assert lines.feed(2, b"two\n") == ["two"]
    assert lines.feed(1, b"still the long line\nnext\n") == ["next"]
