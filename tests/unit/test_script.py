"""What scripts may import: the same script runs inside and outside an activity."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from ska_oso_activity import script


class FakeReporter:
    subarray_id = 5

    def __init__(self):
        self.reports = []

    def announce(self, message):
        self.reports.append(message)

    def progress(self, percent, message):
        self.reports.append((percent, message))


@pytest.fixture
def reporter():
    reporter = FakeReporter()
    script.report_to(reporter)
    yield reporter
    script.report_to(None)


def test_in_an_activity_reports_go_to_who_runs_the_script(reporter):
    script.announce("configuring")
    script.progress(0.25, "scan 1")
    script.progress(1)

    assert reporter.reports == ["configuring", (25.0, "scan 1"), (100.0, "")]
    assert script.subarray_id() == 5


def test_by_hand_reports_go_to_the_log(caplog):
    caplog.set_level(logging.INFO)

    script.announce("configuring")
    script.progress(0.25, "scan 1")

    assert "configuring" in caplog.text
    assert "25 % scan 1" in caplog.text
    assert script.subarray_id() is None


@pytest.mark.parametrize("fraction", [-0.1, 1.1, 50, float("nan"), float("inf")])
def test_progress_is_a_fraction(fraction, reporter):
    with pytest.raises(ValueError, match="between 0 and 1"):
        script.progress(fraction)

    assert reporter.reports == []


@pytest.mark.parametrize("prefix", ["", "file://", "file://localhost"])
def test_a_block_is_read_from_a_path_or_a_uri(tmp_path, prefix):
    path = tmp_path / "block 1.json"
    path.write_text('{"sbd_id": "sbd-1"}')
    reference = f"{prefix}{path}" if not prefix else f"{prefix}{path}".replace(" ", "%20")

    assert script.load_scheduling_block(reference) == {"sbd_id": "sbd-1"}


def test_a_path_is_taken_as_it_is(tmp_path):
    path = tmp_path / "50%20.json"
    path.write_text("{}")

    assert script.load_scheduling_block(str(path)) == {}


@pytest.mark.parametrize("reference", ["oda://sbd-1", "https://x/y.json", "file://host/x.json"])
def test_other_references_are_refused(reference):
    with pytest.raises(ValueError, match="path or a file:// URI"):
        script.load_scheduling_block(reference)


def test_what_is_not_a_block_is_refused(tmp_path):
    (tmp_path / "list.json").write_text("[]")

    with pytest.raises(ValueError, match="list"):
        script.load_scheduling_block(str(tmp_path / "list.json"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"scan_duration_ms": NaN}', "NaN is not JSON"),
        (b'{"x": [-Infinity]}', "-Infinity is not JSON"),
        (b'{"x": 1e999}', "1e999 is too large"),
        (b'{"x": 1, "x": 2}', "'x' appears twice"),
        (b'{"x": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"x": "\xff"}', "can't decode byte"),
        (b'\xef\xbb\xbf{"x": 1}', "BOM"),
        (b'{"x": ' + b"9" * 5000 + b"}", "holds no Scheduling Block"),
        (b"{", "line 1 column 2"),
    ],
)
def test_doubtful_json_is_refused_with_the_files_name(tmp_path, content, why):
    path = tmp_path / "block.json"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=why) as caught:
        script.load_scheduling_block(str(path))

    assert str(caught.value).startswith(f"{path} holds no Scheduling Block: ")


def test_it_imports_nothing_of_ours():
    code = (
        "import sys, ska_oso_activity.script;"
        "print(*[name for name in sys.modules if name.startswith('ska_oso_activity')])"
    )

    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert printed.split() == ["ska_oso_activity", "ska_oso_activity.script"]
