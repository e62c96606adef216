"""The client commands against the real devices, as an operator types them."""

import json
import os
import signal
import subprocess

import pytest

from ska_oso_activity.samples import install
from tests.system.processes import CLI, START_LIMIT, ours, wait_until

WAITER = """
import time, pathlib
from ska_oso_activity import script

def main(file, seconds=30):
    script.announce("waiting")
    print("first line", flush=True)
    deadline = time.monotonic() + seconds
    while not pathlib.Path(file).exists():
        assert time.monotonic() < deadline, "nobody came"
        time.sleep(0.02)
    print("last line", flush=True)
    script.progress(0.9, "done waiting")
    return "gone"
"""


@pytest.fixture
def site(tmp_path):
    """The samples, and an activity `wait` that ends when a file is there."""
    samples = install(tmp_path / "site")
    (samples.scripts / "waiter.py").write_text(WAITER)
    file = samples.oda / "sbd" / samples.mid_sbd_id / "1.json"
    block = json.loads(file.read_text())
    block["activities"]["wait"] = {
        "kind": "filesystem",
        "path": (samples.scripts / "waiter.py").as_uri(),
        "function_args": {"main": {"kwargs": {"file": str(tmp_path / "go")}}},
    }
    file.write_text(json.dumps(block))
    return samples


@pytest.fixture
def stack(up, site):
    return up("--oda", site.oda, "--scripts", site.scripts)


def start_client(stack, *words):
    return subprocess.Popen(
        [*CLI, *words],
        env=stack.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(client, words):
    """The lines of a client up to the one that holds `words`."""
    lines = []
    for line in client.stdout:
        lines.append(line)
        if words in line:
            return lines
    pytest.fail(f"no {words!r} in {lines} {client.stderr.read()}")


def test_a_run_is_followed_through_a_restart_of_the_device(stack, site, tmp_path):
    client = start_client(stack, "run", site.mid_sbd_id, "wait", "--subarray", "1")
    seen = read_until(client, "first line")
    victim = stack.child("activity_device")

    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: stack.child("activity_device") not in {None, victim}, START_LIMIT, "gone")
    (tmp_path / "go").touch()
    rest, err = client.communicate(timeout=60)

    told = "".join(seen) + rest
    assert client.returncode == 0, told + err
    assert told.count("| first line") == told.count("| last line") == 1
    assert told.count("-> SUCCEEDED") == 1
    assert 'result: "gone"' in told


def test_output_is_followed_through_a_restart_of_the_executor(stack, site, tmp_path):
    client = start_client(stack, "run", site.mid_sbd_id, "wait", "--subarray", "1")
    seen = read_until(client, "first line")
    victim = stack.child("devices.script_execution")

    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: stack.child("devices.script_execution") not in {None, victim}, START_LIMIT, "gone"
    )
    (tmp_path / "go").touch()
    rest, err = client.communicate(timeout=60)

    told = "".join(seen) + rest
    assert client.returncode == 0, told + err
    assert told.count("| first line") == told.count("| last line") == 1


def test_ctrl_c_detaches_and_stop_stops(up, site):
    # The abort script, which is there, needs a telescope.
    tmc = ("--simulate-tmc", "--subarrays", "4", "--tmc-delay", "0.05")
    stack = up("--oda", site.oda, "--scripts", site.scripts, *tmc)
    client = start_client(stack, "run", site.mid_sbd_id, "wait", "--subarray", "4")
    read_until(client, "first line")
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=10)
    listed = stack.run("list", "--state", "running")

    stopped = stack.run("stop", "--subarray", "4")

    assert client.returncode == 130
    assert "`ska-oso-activity stop 1`" in err
    assert "RUNNING" in listed.stdout
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "Activity 1 STOPPED" in stopped.stdout


def test_a_run_that_is_stopped_exits_with_3(stack, site):
    client = start_client(stack, "run", site.mid_sbd_id, "wait", "--subarray", "4")
    read_until(client, "first line")

    stack.run("stop", "1", "--no-abort")
    client.communicate(timeout=30)

    assert client.returncode == 3


def test_prepare_then_start(stack, site):
    prepared = stack.run("run", site.mid_sbd_id, "hello", "--subarray", "2", "--prepare-only")
    started = stack.run("start", "1", "--script-args", '{"main": {"kwargs": {"repeat": 3}}}')
    again = stack.run("start", "1")

    assert prepared.returncode == 0
    assert "Activity 1 READY" in prepared.stdout
    assert started.returncode == 0, started.stdout + started.stderr
    assert again.returncode == 2
    assert again.stderr.startswith("error: WRONG_STATE")


def test_the_same_request_id_runs_nothing_twice(stack, site):
    words = ("run", site.mid_sbd_id, "hello", "--subarray", "2", "--request-id", "mine", "--json")

    first, second = stack.run(*words), stack.run(*words)

    ends = [json.loads(ran.stdout.splitlines()[-1]) for ran in (first, second)]
    assert [end["summary"]["activity_id"] for end in ends] == [1, 1]
    assert second.returncode == 0


def test_looking_back(stack, site):
    ran = stack.run("run", site.mid_sbd_id, "hello", "--subarray", "2", "--comment", "for a test")
    assert ran.returncode == 0, ran.stdout + ran.stderr

    shown = stack.run("show", "1")
    output = stack.run("output", "1")
    followed = stack.run("output", "1", "-f")
    listed = stack.run("list", "--subarray", "2", "--json")
    other = stack.run("list", "--subarray", "3")

    assert "for a test" in shown.stdout
    assert "init was given" in shown.stdout
    assert output.stdout == followed.stdout
    assert "init was given 'Good evening' and '!'" in output.stdout.splitlines()
    assert [json.loads(line)["activity_id"] for line in listed.stdout.splitlines()] == [1]
    assert other.stdout == "No activities.\n"


def test_watch_tells_of_all_activities(stack, site):
    watch = start_client(stack, "watch")
    watch.stderr.readline()

    stack.run("run", site.mid_sbd_id, "hello", "--subarray", "2")
    told = "".join(read_until(watch, "-> SUCCEEDED"))
    watch.send_signal(signal.SIGINT)
    watch.communicate(timeout=10)

    assert "[1] hello on subarray 2" in told
    for state in ("REQUESTED", "PREPARING", "READY", "RUNNING"):
        assert f"-> {state}" in told
    assert watch.returncode == 130


def test_blocks_are_looked_into(stack, site):
    described = stack.run("describe", site.low_sbd_id)
    valid = stack.run("validate", site.mid_sbd_id, "observe", "--subarray", "1")
    invalid = stack.run("validate", site.mid_sbd_id, "nothing", "--json")
    missing = stack.run("describe", "sbd-missing")

    assert "observe" in described.stdout
    assert (valid.returncode, valid.stdout) == (0, "valid\n")
    assert invalid.returncode == 1
    assert json.loads(invalid.stdout)["findings"][0]["code"] == "ACTIVITY_NOT_FOUND"
    assert missing.returncode == 1
    assert "SB_NOT_FOUND" in missing.stderr


def test_refusals_are_one_sentence_and_exit_with_2(stack, site):
    refusals = [
        stack.run("run", "not an id", "observe"),
        stack.run("run", site.mid_sbd_id, "hello", "--script-args", "{"),
        stack.run("show", "99"),
        stack.run("stop", "99"),
        stack.run("stop"),
    ]

    for refusal in refusals:
        assert refusal.returncode == 2
        assert refusal.stderr.startswith("error: ")
        assert len(refusal.stderr.splitlines()) == 1
        assert refusal.stdout == ""


def test_a_device_that_is_away_is_told_with_exit_code_4(tmp_path):
    nobody = ours("list", env={**os.environ, "TANGO_HOST": "127.0.0.1:1"})

    assert nobody.returncode == 4
    assert "the Tango database 127.0.0.1:1 does not answer" in nobody.stderr
    assert len(nobody.stderr.splitlines()) == 1
