"""Messages between host and server, and between host and script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.script_host.frames import GREETING, PIECE_BYTES, Assembler, packets
from ska_oso_activity.script_host.messages import LineReader, NotAMessage, encode
from ska_oso_activity.script_host.request import LaunchRequest

TOKEN = bytes(range(16))


@given(st.lists(st.dictionaries(st.text(), st.text())), st.integers(1, 50))
def test_messages_come_through_however_the_stream_is_cut(messages, size):
    stream = b"".join(map(encode, messages))
    reader = LineReader()

    received = []
    for start in range(0, len(stream), size):
        received += reader.feed(stream[start : start + size])

    assert received == messages


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b"\xff\n", b"[" * 100_000 + b"\n"])
def test_a_stream_that_is_not_ours_is_refused(line):
    with pytest.raises(NotAMessage):
        LineReader().feed(line)


def test_a_line_without_end_is_refused():
    reader = LineReader(limit=100)
    reader.feed(b"x" * 60)

    with pytest.raises(NotAMessage, match="longer"):
        reader.feed(b"x" * 60)


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, 10 * PIECE_BYTES + 5])
def test_a_message_of_any_size_goes_in_packets(size):
    message = {"kind": "outcome", "result": "x" * size}
    assembler = Assembler(TOKEN)

    answers = [assembler.feed(packet) for packet in packets(message, TOKEN)]

    assert answers == [None] * (len(answers) - 1) + [message]


@given(st.binary(max_size=60))
def test_packets_without_the_token_mean_nothing_even_in_between(junk):
    assembler = Assembler(TOKEN)
    first, last = packets({"text": "x" * PIECE_BYTES}, TOKEN)

    assert assembler.feed(junk) is None
    assert assembler.feed(first) is None
    assert assembler.feed(junk) is None
    assert assembler.feed(last) == {"text": "x" * PIECE_BYTES}


def test_the_token_towards_the_script_is_not_the_one_from_it():
    (packet,) = packets({"kind": "outcome"}, GREETING)

    assert Assembler(TOKEN).feed(packet) is None


@pytest.mark.parametrize("payload", [b"", b"nonsense", b"[1]", b"\xff", b"[" * 20_000])
def test_packets_with_the_token_and_nonsense_are_ignored(payload):
    assert Assembler(TOKEN).feed(TOKEN + b"." + payload) is None


def test_a_launch_is_read_as_it_was_written():
    request = LaunchRequest(
        procedure_id=7,
        script_path="/scripts/observe.py",
        init=ProcedureInput((1,), {"a": 2}),
        block_path="/sbs/b.json",
        subarray_id=3,
        environment={"A": "b"},
        python="/venv/bin/python",
        grace=1.5,
    )

    assert LaunchRequest.from_json(request.to_json() | {"of a later release": 1}) == request


def test_a_launch_of_an_older_release_is_understood():
    request = LaunchRequest.from_json({"procedure_id": 7, "script_path": "/scripts/observe.py"})

    assert request == LaunchRequest(7, "/scripts/observe.py")
