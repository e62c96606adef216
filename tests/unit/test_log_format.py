"""A log line is one line in SKA's format, whatever its text says."""

import logging
import re
import sys

import pytest

from ska_oso_activity.devices.log_format import SkaFormatter
from ska_oso_activity.devices.logging_targets import BadTarget, read_targets

LINE = re.compile(
    r"1\|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\|[A-Z]+\|[^|]*\|[^|]*\|[^|]*#\d+\|[^|]*\|.*"
)


def record(text: str, *args: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("a.b", logging.WARNING, "/x/y.py", 12, text, args, None, "main")
    made.created, made.msecs, made.threadName = 1795559129.25, 250.0, "publisher"
    vars(made).update(more)
    return made


def test_a_line_has_the_eight_fields():
    assert SkaFormatter("tango-device:a/b/c").format(record("hello %s", "you")) == (
        "1|2026-11-24T22:25:29.250Z|WARNING|publisher|main|y.py#12|tango-device:a/b/c|hello you"
    )


def test_a_record_may_have_tags_of_its_own():
    assert "|activity:7|" in SkaFormatter("device").format(record("x", tags="activity:7"))


@pytest.mark.parametrize("text", ["a\n1|2026|FATAL", "a\r\x1b[2Jb", "a\x00\x85\u2028b", "a|b"])
def test_no_text_makes_a_second_line_or_moves_the_terminal(text: str):
    lines = SkaFormatter().format(record(text)).splitlines()

    assert len(lines) == 1
    assert LINE.fullmatch(lines[0])
    assert lines[0].isprintable()


def test_a_field_cannot_hold_the_separator():
    line = SkaFormatter().format(record("x", threadName="a|b", tags="c|d"))

    assert line.count("|") == 7


def test_the_lines_of_a_traceback_cannot_pass_for_records():
    try:
        raise ValueError("first\n1|2026-11-24T22:25:29.250Z|FATAL|forged")
    except ValueError:
        made = record("failed", exc_info=sys.exc_info())

    lines = SkaFormatter().format(made).split("\n")

    assert len(lines) > 3
    assert all(line.startswith("    ") for line in lines[1:])


def test_targets_are_completed_and_listed_once():
    given = ["console", " console::cout", "", "file", "tango", "syslog::udp://h:514"]

    assert read_targets(given, "a/b/c") == [
        *("console::cout", "file::a_b_c.log", "tango::logger", "syslog::udp://h:514")
    ]


@pytest.mark.parametrize(
    "texts", [["mail::x"], ["syslog"], ["syslog::http://x"], ["syslog::udp://h:99999"],
              ["file::a", "file::b", "file::c", "file::d", "file::e"]],
)  # fmt: skip
def test_bad_targets_are_refused(texts: list[str]):
    with pytest.raises(BadTarget):
        read_targets(texts, "a/b/c")
