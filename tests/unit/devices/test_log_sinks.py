"""Sinks that are slow or do not answer, without Tango devices."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from ska_oso_activity.devices import log_sinks
from ska_oso_activity.devices.log_sinks import BadTarget, Sink, SyslogSink, Unhurried

DEADLINE = 10.0


class SlowSink:
    """Takes a line only when it is let."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.asked = threading.Event()
        self.let = threading.Event()
        self.closed = threading.Event()
        self.fails = False

    def write(self, level: int, line: str) -> None:
        self.asked.set()
        assert self.let.wait(DEADLINE)
        if self.fails:
            raise OSError("gone")
        self.lines.append(line)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def sink() -> Iterator[SlowSink]:
    made = SlowSink()
    yield made
    made.let.set()
    assert made.closed.wait(DEADLINE), "the thread of the sink goes on"


def opened(open_sink: Callable[[], Sink]) -> Unhurried:
    handler = Unhurried(open_sink)
    handler.require_open(DEADLINE)
    return handler


def log(handler: logging.Handler, text: str) -> None:
    handler.handle(logging.LogRecord("a", logging.INFO, "a.py", 1, text, None, None))


def test_lines_arrive_in_order_also_those_from_before_the_close(sink: SlowSink):
    handler = opened(lambda: sink)
    for text in ("one", "two", "three"):
        log(handler, text)
    handler.close()

    sink.let.set()

    assert sink.closed.wait(DEADLINE)
    assert sink.lines == ["one", "two", "three"]


def test_what_a_sink_does_not_keep_up_with_is_left_out(
    sink: SlowSink, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(log_sinks, "QUEUED_LINES", 2)
    handler = opened(lambda: sink)
    log(handler, "one")
    assert sink.asked.wait(DEADLINE)

    for text in ("two", "three", "four"):
        log(handler, text)
    handler.close()  # finds room all the same

    sink.let.set()
    assert sink.closed.wait(DEADLINE)
    assert sink.lines == ["one", "two", "three"]


def test_a_closed_sink_that_fails_is_not_tried_with_every_line(sink: SlowSink):
    sink.fails = True
    handler = opened(lambda: sink)
    for _ in range(100):
        log(handler, "line")
    assert sink.asked.wait(DEADLINE)
    handler.close()

    sink.fails = True
    sink.let.set()

    assert sink.closed.wait(DEADLINE)
    assert sink.lines == []


def test_a_sink_that_takes_long_to_open_is_refused_and_closed_when_it_is_open(sink: SlowSink):
    answers = threading.Event()

    def open_sink() -> SlowSink:
        assert answers.wait(DEADLINE)
        return sink

    handler = Unhurried(open_sink)
    with pytest.raises(TimeoutError, match="has not answered"):
        handler.require_open(0.0)
    handler.close()
    assert not sink.closed.is_set()
    answers.set()

    assert sink.closed.wait(DEADLINE)


def test_flush_waits_for_what_is_still_to_be_sent(sink: SlowSink):
    sink.let.set()
    handler = opened(lambda: sink)
    log(handler, "the last words")

    handler.flush()

    assert sink.lines == ["the last words"]
    handler.close()


@pytest.mark.parametrize(
    ("name", "raised", "says"),
    [
        ("file:///no/such/socket", BadTarget, "no socket"),
        ("tcp://127.0.0.1:1", OSError, "refused"),
        ("udp://" + "a" * 70 + ":514", ValueError, "idna"),
    ],
)
def test_what_is_wrong_with_a_syslog_server_is_told_by_who_waits_for_it(
    name: str, raised: type[Exception], says: str
):
    handler = Unhurried(lambda: SyslogSink(name))

    with pytest.raises(raised, match=says):
        handler.require_open(DEADLINE)
    handler.close()


def test_a_syslog_server_that_no_longer_reads_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_sinks, "CONNECT_SECONDS", 0.05)
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        sink = SyslogSink(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        with server.accept()[0], pytest.raises(TimeoutError):
            sink.write(logging.INFO, "x" * 50_000_000)
        sink.close()


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, 47),
        (logging.INFO, 46),
        (logging.WARNING, 44),
        (logging.ERROR, 43),
        (logging.CRITICAL, 42),
    ],
)
def test_a_line_is_sent_with_its_priority(level: int, priority: int):
    """Facility 5, syslog, times 8, and the severity (RFC 5424, 6.2.1)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(DEADLINE)
        sink = SyslogSink(f"udp://127.0.0.1:{server.getsockname()[1]}")
        sink.write(level, "Kühl")
        sink.close()

        assert server.recv(100) == f"<{priority}>Kühl".encode() + b"\0"
