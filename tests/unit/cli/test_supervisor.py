"""Programs are started, started again and stopped. Forked: it takes signals and adopts orphans."""

import os
import signal
import sys
import threading

import pytest

from ska_oso_activity.cli.errors import LaunchError
from ska_oso_activity.cli.stack import supervisor as module
from ska_oso_activity.cli.stack.processes import descendants, describe_end
from ska_oso_activity.cli.stack.program import Program
from ska_oso_activity.cli.stack.supervisor import StopRequested, Supervisor

pytestmark = pytest.mark.forked


@pytest.fixture
def said():
    return []


@pytest.fixture
def supervisor(said):
    with Supervisor(said.append) as entered:
        yield entered


def program(tmp_path, code, name="the program"):
    return Program(name, (sys.executable, "-c", code), tmp_path / "log", tmp_path)


def wait_for_log(supervisor, tmp_path, words):
    supervisor.wait_for(
        lambda: words in (tmp_path / "log").read_text(), otherwise="not heard", seconds=10
    )


def test_a_program_that_ends_while_starting_is_told_with_its_last_words(supervisor, tmp_path):
    supervisor.start(program(tmp_path, "raise SystemExit('no such thing')"))

    with pytest.raises(LaunchError, match=r"exit code 1\); its log, .*/log, ends: no such thing"):
        supervisor.wait_for(lambda: False, otherwise="never", seconds=10)


def test_waiting_has_an_end(supervisor, tmp_path):
    service = supervisor.start(program(tmp_path, "import time; time.sleep(60)"))

    with pytest.raises(LaunchError, match="it is not up after 0 s; the logs: "):
        supervisor.wait_for(lambda: False, otherwise="it is not up", seconds=0.1)

    supervisor.stop(service)
    assert service.pid is None


def test_a_signal_ends_the_waiting(supervisor):
    os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StopRequested):
        supervisor.wait_for(lambda: False, otherwise="never", seconds=10)


def test_a_program_that_dies_is_started_again_until_a_signal_comes(supervisor, said, tmp_path):
    service = supervisor.start(
        program(tmp_path, "import os; print('up', flush=True); os.kill(os.getpid(), 9)")
    )

    def stop_after_three():
        while (tmp_path / "log").read_text().count("up") < 3:
            stopping.wait(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Event()
    thread = threading.Thread(target=stop_after_three)
    thread.start()
    supervisor.supervise()
    thread.join()
    supervisor.stop(service)

    log = tmp_path / "log"
    assert said[:2] == [
        f"the program ended (signal SIGKILL); started again in 0.2 s; its log: {log}",
        f"the program ended (signal SIGKILL); started again in 0.4 s; its log: {log}",
    ]
    assert descendants(os.getpid()) == set()


def test_a_program_that_ignores_sigterm_is_killed(supervisor, said, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STOP_LIMIT", 0.2)
    deaf = (
        "import signal, time; signal.signal(15, signal.SIG_IGN);"
        "print('up', flush=True); time.sleep(60)"
    )
    service = supervisor.start(program(tmp_path, deaf))
    wait_for_log(supervisor, tmp_path, "up")

    supervisor.stop(service)

    assert service.pid is None
    assert said == ["the program does not end on SIGTERM; it is killed"]


def test_what_outlives_its_program_is_waited_for_then_killed(
    supervisor, said, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "ORPHAN_LIMIT", 0.2)
    leaver = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c',"
        "'import os, time; os.fork(); time.sleep(60)'], start_new_session=True);"
        "print('up', flush=True); time.sleep(60)"
    )
    service = supervisor.start(program(tmp_path, leaver))
    wait_for_log(supervisor, tmp_path, "up")

    supervisor.stop(service)
    assert descendants(os.getpid()) != set()
    supervisor.end_orphans()

    assert descendants(os.getpid()) == set()
    assert "outlived" in said[0]


def test_an_end_is_described_by_code_or_signal():
    assert describe_end(0) == "exit code 0"
    assert describe_end(-signal.SIGSEGV) == "signal SIGSEGV"
    assert describe_end(-200) == "signal 200"
