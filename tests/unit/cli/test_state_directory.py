import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ska_oso_activity.cli.errors import LaunchError
from ska_oso_activity.cli.stack.state_directory import LOG_LIMIT, state_directory


def test_it_is_made_for_its_owner_alone(tmp_path):
    state = state_directory(tmp_path / "deep" / "state")

    with state.occupied():
        assert stat.S_IMODE(state.path.stat().st_mode) == 0o700


def test_a_relative_path_is_resolved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert state_directory(Path("here/../state")).path == tmp_path / "state"


def test_a_second_holder_is_refused_and_told_who_has_it(tmp_path):
    state = state_directory(tmp_path)

    with state.occupied():
        second = state.occupied()
        with pytest.raises(LaunchError, match=f"in use.*process {os.getpid()}"):
            second.__enter__()


def test_it_is_free_again_afterwards(tmp_path):
    state = state_directory(tmp_path)
    with state.occupied():
        pass

    with state.occupied():
        pass


def test_a_child_does_not_hold_it(tmp_path):
    state = state_directory(tmp_path)

    with state.occupied():
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with state.occupied():
            assert child.poll() is None
    finally:
        child.communicate()


def test_a_path_too_long_for_sqlite_is_refused(tmp_path):
    with pytest.raises(LaunchError, match="400 are possible"):
        state_directory(tmp_path / ("x" * 200) / ("y" * 200))


def test_a_path_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(LaunchError, match="cannot be used"):
        state_directory(tmp_path / "file" / "state").occupied().__enter__()


def test_a_large_log_is_put_aside(tmp_path):
    state = state_directory(tmp_path)
    (tmp_path / "logs").mkdir()
    os.truncate(os.open(state.log("Big"), os.O_CREAT | os.O_WRONLY), LOG_LIMIT + 1)
    state.log("Small").write_text("kept")

    with state.occupied():
        assert not state.log("Big").exists()
        assert (tmp_path / "logs" / "Big.log.1").stat().st_size == LOG_LIMIT + 1
        assert state.log("Small").read_text() == "kept"
