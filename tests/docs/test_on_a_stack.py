"""The tutorial and the Python clients of the pages do on a real stack what the pages say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ska_oso_activity.cli.stack.background import stack_in_background
from tests.docs.pages import DOCS, ROOT, blocks

TUTORIAL = DOCS / "tutorial" / "first-activity.md"
CLIENTS = DOCS / "how-to" / "run-from-python.md"
RUN = ["NONE -> REQUESTED", "REQUESTED -> PREPARING", "PREPARING -> READY", "READY -> RUNNING"]
RUN += ["RUNNING -> SUCCEEDED 5 of 5"]


@dataclass(frozen=True)
class Folder:
    """The reader's folder, and where their stack is."""

    path: Path
    tango_host: str

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the folder, as the reader does."""
        environment = {**os.environ, "TANGO_HOST": self.tango_host, "COLUMNS": "100"}
        return subprocess.run(
            words,
            cwd=self.path,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `ska-oso-activity`."""
        return self.run(sys.executable, "-m", "ska_oso_activity.cli", *words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder that a reader makes who follows the tutorial, and a stack that uses it."""
    directory = tmp_path_factory.mktemp("tutorial")
    typed = [block.text for block in blocks("console", TUTORIAL)]
    for text in typed[1], next(text for text in typed if "<<END" in text):
        commands = re.sub(r"^\$ ", "", text, flags=re.MULTILINE)
        where = directory if "mkdir" in text else directory / "first"
        subprocess.run(["bash", "-e", "-c", commands], cwd=where, check=True)
    first = directory / "first"
    (script,) = blocks("python", TUTORIAL)
    (first / "scripts" / "count.py").write_text(script.text)
    options = ["--port", "0", "--oda", str(first / "oda"), "--scripts", str(first / "scripts")]
    with stack_in_background(options, directory) as tango_host:
        yield Folder(first, tango_host)


def test_the_tutorial_shows_what_a_reader_sees(folder):
    described = folder.command("describe", "sbd-first-00001")
    ran = folder.command("run", "sbd-first-00001", "count", "--subarray", "1")

    assert "sbd-first-00001 version 1, ska_mid" in described.stdout
    assert ran.returncode == 0, ran.stderr
    shown = next(
        each.text
        for each in blocks("console", TUTORIAL)
        if "run sbd-first-00001 count" in each.text
    )
    assert _told(ran.stdout) == _told(shown)


def _told(text: str) -> list[str]:
    """The lines of a run without what differs each time; output and state changes may swap."""
    lines = [
        re.sub(r"\d\d:\d\d:\d\d\.\d+|^\[\d+\]|Activity \d+", "", line) for line in text.split("\n")
    ]
    lines = [line.strip() for line in lines if not line.startswith("$") and "sbi-local" not in line]
    return sorted(filter(None, lines))


def test_the_tutorials_way_to_stop_works(folder):
    args = '{"main": {"kwargs": {"counts": 1000}}}'
    words = ["run", "sbd-first-00001", "count", "--subarray", "1", "--script-args", args]
    environment = {**os.environ, "TANGO_HOST": folder.tango_host}
    client = subprocess.Popen(
        [sys.executable, "-m", "ska_oso_activity.cli", *words],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with client:
        assert client.stdout
        assert any("READY -> RUNNING" in line for line in client.stdout)
        stopped = folder.command("stop", "--subarray", "1")
        client.communicate(timeout=60)

    assert stopped.returncode == 0, stopped.stderr
    assert re.search(r"Activity \d+ STOPPED; no abort script was run", stopped.stdout)
    assert client.returncode == 3
    assert "STOPPED" in folder.command("list").stdout


def test_the_client_without_the_library_sees_a_run(folder):
    *_, plain = blocks("python", CLIENTS)

    done = folder.run(sys.executable, "-c", plain.text)

    assert done.stderr == ""
    assert [line.strip() for line in done.stdout.splitlines()] == RUN


def test_the_client_with_the_library_sees_a_run(folder):
    first, *_ = blocks("python", CLIENTS)

    done = folder.run(sys.executable, "-c", first.text)

    assert done.returncode == 0, done.stderr
    *states, result = done.stdout.splitlines()
    assert [line.strip() for line in states] == RUN
    assert "'counted': 5" in result


def test_the_client_that_may_be_killed_goes_on_where_it_was(folder):
    _, _, sure, *_ = blocks("python", CLIENTS)

    done = [folder.run(sys.executable, "-c", sure.text) for _ in range(2)]

    assert [each.stderr for each in done] == ["", ""]
    assert [line.strip() for line in done[0].stdout.splitlines()] == RUN
    assert done[1].stdout == ""


def test_the_clients_that_stop_and_that_do_not_wait_do_as_the_page_says(folder):
    _, stopping, _, threaded, unwaiting, _ = blocks("python", CLIENTS)

    ran = [folder.run(sys.executable, "-c", each.text) for each in (threaded, unwaiting)]
    stopped = folder.run(sys.executable, "-c", stopping.text)

    assert [each.stderr for each in (*ran, stopped)] == ["", "", ""]
    for each in ran:
        assert each.stdout.splitlines()[-1] == "['SUCCEEDED', 'SUCCEEDED']"
    assert stopped.stdout.splitlines()[0] == "nothing runs there"
    assert stopped.stdout.splitlines()[1].endswith(" SUCCEEDED")


def test_the_clients_of_readme_and_how_to_are_the_same():
    *_, short = blocks("python", CLIENTS)
    readme = next(each for each in blocks("python", ROOT / "README.md") if "tango" in each.text)

    assert _without_request(readme.text) == _without_request(short.text)


def _without_request(text: str) -> str:
    without, times = re.subn(r"^request = \{.*?\}$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert times == 1
    return without


def test_what_the_page_on_validation_shows_is_what_comes(folder):
    args = '{"main": {"kwargs": {"speed": 3}}}'

    answer = folder.command("validate", "sbd-first-00001", "count", "--script-args", args)

    assert answer.returncode == 1
    shown = (DOCS / "how-to" / "validate.md").read_text()
    findings = [line.strip() for line in answer.stdout.splitlines() if "SCRIPT_ERROR" in line]
    assert len(findings) == 2
    assert all(each in shown for each in findings)
