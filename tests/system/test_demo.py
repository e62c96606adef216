"""`make demo` in small: the same command, with short scans."""

import json
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.system.processes import CLI, ours

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "sbd"
NO_DATA = "the real blocks are not kept beside this checkout (../shared/data/sbd)"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The directory of temporary directories, to see what is left in it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_mid_and_a_low_block_are_observed_side_by_side(temporary):
    demo = ours("demo", "--seconds-per-scan", "0.1")

    assert demo.returncode == 0, demo.stdout + demo.stderr
    for number in (1, 2):
        assert f"subarray {number}  " in demo.stdout
    assert demo.stdout.count("RUNNING -> SUCCEEDED") == 2
    assert demo.stdout.count("obs_state: EMPTY") == 2
    assert "All SUCCEEDED" in demo.stdout
    assert "UNKNOWN" not in demo.stdout
    assert list(temporary.iterdir()) == []


def test_the_viewer_sees_what_each_subarray_is_doing(temporary):
    demo = ours("demo", "--seconds-per-scan", "0.1")

    for name, pointings in ("mid-tmc/subarray/01", 6), ("low-tmc/subarray/02", 5):
        states = re.findall(rf"{name} is ([A-Z]+)$", demo.stdout, re.MULTILINE)
        assert states.count("CONFIGURING") == states.count("SCANNING") == pointings
        assert states.count("RESOURCING") == 2
        assert states[-1] == "EMPTY"


@pytest.mark.parametrize(
    ("name", "scans"),
    [
        ("services-16.3.1_mid_single_scan_with_constraints.json", 1),
        ("services-16.3.1_expected_low_sbd.json", 6),
    ],
)
def test_our_script_observes_the_newest_real_blocks(temporary, name, scans):
    if not REAL.is_dir():
        pytest.skip(NO_DATA)

    demo = ours("demo", "--block", str(REAL / name), "--sample-script", "--seconds-per-scan", "0.1")

    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert f"scans: {scans}" in demo.stdout
    assert "obs_state: EMPTY" in demo.stdout


def test_our_script_says_what_it_cannot_do_with_an_old_block(temporary):
    if not REAL.is_dir():
        pytest.skip(NO_DATA)
    block = REAL / "oet-6.1.0_mid_sb_example.json"

    demo = ours("demo", "--block", str(block), "--activity", "observe", "--sample-script")

    assert demo.returncode == 1
    assert "csp_configurations[csp config 123]" in demo.stdout
    assert "supported: midcbf" in demo.stdout
    assert "Traceback" not in demo.stdout


def test_a_block_of_ones_own_is_run_by_the_script_beside_it(temporary, tmp_path_factory):
    own = tmp_path_factory.mktemp("own")
    (own / "mine.py").write_text("def main(sb_json): return open(sb_json).read()[:1]\n")
    activities = {"mine": {"kind": "filesystem", "path": "file:///elsewhere/mine.py"}}
    (own / "block.json").write_text(json.dumps({"sbd_id": "sbd-own-1", "activities": activities}))

    demo = ours("demo", "--block", str(own / "block.json"), "--activity", "mine")

    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "/elsewhere/mine.py does not exist here" in demo.stderr


def test_an_activity_that_fails_makes_the_demo_fail(temporary, tmp_path_factory):
    own = tmp_path_factory.mktemp("own")
    (own / "mine.py").write_text("def main(): raise ValueError('no telescope')\n")
    activities = {"mine": {"kind": "filesystem", "path": (own / "mine.py").as_uri()}}
    (own / "block.json").write_text(json.dumps({"activities": activities}))

    demo = ours("demo", "--block", str(own / "block.json"))

    assert demo.returncode == 1
    assert "ValueError: no telescope" in demo.stdout


def test_ctrl_c_stops_everything_and_leaves_nothing(temporary):
    demo = subprocess.Popen([*CLI, "demo"], stdout=subprocess.PIPE, text=True)
    assert demo.stdout
    for line in demo.stdout:
        if "-> RUNNING" in line:
            break

    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=30)

    assert demo.returncode == 130
    assert list(Path(temporary).iterdir()) == []


DEVICES = "ska_oso_activity.devices."
SURVIVED = (f"{DEVICES}activity_device", f"{DEVICES}script_execution", "databaseds", "fork server")


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def demo_in_which_is_killed(part: str) -> "subprocess.CompletedProcess[str]":
    """Run the demo, and SIGKILL the process with `part` in its command line once both scan."""
    demo = subprocess.Popen(
        [*CLI, "demo", "--seconds-per-scan", "0.5"], stdout=subprocess.PIPE, text=True
    )
    assert demo.stdout
    seen = []
    while not all(f"subarray/0{number} is SCANNING" in "".join(seen) for number in (1, 2)):
        seen.append(demo.stdout.readline())
        assert seen[-1], "".join(seen)
    found = []
    while not found:  # the fork server shows its name once it is ready
        found = [
            each
            for each in psutil.Process(demo.pid).children(recursive=True)
            if part in command_line(each)
        ]
    found[0].kill()
    rest, _ = demo.communicate(timeout=60)
    return subprocess.CompletedProcess(demo.args, demo.returncode, "".join(seen) + rest)


@pytest.mark.parametrize("part", SURVIVED)
def test_killing_one_of_our_processes_loses_nothing(temporary, part):
    demo = demo_in_which_is_killed(part)

    assert demo.returncode == 0, demo.stdout
    assert demo.stdout.count("-> SUCCEEDED") == 2
    assert "All SUCCEEDED" in demo.stdout
    assert list(temporary.iterdir()) == []


def test_killing_the_simulators_fails_the_activities_and_says_which_device_it_was(temporary):
    demo = demo_in_which_is_killed("ska_oso_activity.simulators.server")

    assert demo.returncode == 1
    for name in ("mid-tmc/subarray/01", "low-tmc/subarray/02"):
        failed = rf"RUNNING -> FAILED  SCRIPT_ERROR: (ConnectionLost|SubarrayAstray): {name} "
        assert re.search(failed, demo.stdout), demo.stdout
    assert list(temporary.iterdir()) == []


def test_killing_the_script_host_loses_its_scripts_and_says_so(temporary):
    demo = demo_in_which_is_killed("ska_oso_activity.script_host")

    assert demo.returncode == 1
    assert demo.stdout.count("-> FAILED  EXECUTOR_LOST") == 2
    assert list(temporary.iterdir()) == []
