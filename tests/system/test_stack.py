"""`ska-oso-activity up` with the real devices: what it promises in section 6 of the interface."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from ska_oso_activity.cli.stack.processes import descendants
from ska_oso_activity.samples import install
from tests.system.processes import (
    CLI,
    LEFT_ALIVE_LIMIT,
    START_LIMIT,
    listening_addresses,
    ours,
    wait_until,
)

SLEEPER = """
import subprocess, time

def main(**kwargs):
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    print("sleeping", flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def site(tmp_path):
    """The samples, and an activity `sleep` with a grandchild in a session of its own."""
    samples = install(tmp_path / "site")
    (samples.scripts / "sleeper.py").write_text(SLEEPER)
    file = samples.oda / "sbd" / samples.mid_sbd_id / "1.json"
    block = json.loads(file.read_text())
    script = (samples.scripts / "sleeper.py").as_uri()
    block["activities"]["sleep"] = {"kind": "filesystem", "path": script}
    file.write_text(json.dumps(block))
    return samples


def options_of(site):
    return ("--oda", site.oda, "--scripts", site.scripts)


def start_sleeping(stack, site):
    """Run the activity `sleep` and come back when its script sleeps."""
    client = subprocess.Popen(
        [*CLI, "run", site.mid_sbd_id, "sleep", "--subarray", "5"],
        env=stack.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdout
    for line in client.stdout:
        if "| sleeping" in line:
            break
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=10)
    assert client.returncode == 130


@pytest.mark.parametrize("state", ["state", "x" * 90 + "/" + "y" * 90 + "/state"])
def test_it_says_where_the_devices_are_and_runs_an_activity(up, site, tmp_path, state):
    stack = up("--state-dir", state, *options_of(site))

    ran = stack.run("run", site.mid_sbd_id, "hello", "--subarray", "1", "--json")

    assert {**stack.ready, "tango_host": ""} == {
        "ready": True,
        "tango_host": "",
        "activity": ["mid-oso/activity/01"],
        "script_execution": ["mid-oso/script-execution/01"],
        "tmc": [],
    }
    assert str(stack.ready["tango_host"]).startswith("127.0.0.1:")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1])["summary"]["state"] == "SUCCEEDED"
    assert (tmp_path / state / "tango.db").is_file()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_scripts_too(up, site, left, number):
    stack = up(*options_of(site))
    start_sleeping(stack, site)

    assert stack.end(number) == 0
    assert left() == []


def test_scripts_clean_up_when_the_stack_is_stopped_and_the_history_says_so(up, site, tmp_path):
    cleaned = tmp_path / "cleaned"
    polite = (
        f"    try:\n        time.sleep(1000)\n    finally:\n        open({str(cleaned)!r}, 'w')\n"
    )
    text = SLEEPER.replace("    time.sleep(1000)\n", polite)
    (site.scripts / "sleeper.py").write_text(text)
    stack = up("--state-dir", "state", *options_of(site))
    start_sleeping(stack, site)
    assert stack.end() == 0

    again = up("--state-dir", "state", *options_of(site))
    listed = again.run("list", "--json").stdout
    assert cleaned.exists()
    assert '"STOPPED"' in listed
    assert "EXECUTOR_LOST" not in listed


def test_killed_outright_it_takes_all_with_it(up, site, left):
    stack = up(*options_of(site))
    start_sleeping(stack, site)

    stack.end(signal.SIGKILL)

    wait_until(lambda: not left(), LEFT_ALIVE_LIMIT, f"alive: {left()}")


@pytest.mark.parametrize("module", ["activity_device", "script_execution"])
def test_a_server_that_dies_is_started_again(up, site, module):
    stack = up(*options_of(site))
    victim = wait_until(lambda: stack.child(module), 1, "no such server")

    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: stack.child(module) not in {None, victim}, START_LIMIT, "it is not started again"
    )
    wait_until(
        lambda: stack.run("list").returncode == 0, START_LIMIT, "the device does not answer again"
    )
    ran = stack.run("run", site.mid_sbd_id, "hello", "--subarray", "1")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "ended (signal SIGKILL); started again in 0.2 s; its log: " in stack.said()


def test_a_database_that_dies_is_back_where_it_was(up, site):
    stack = up(*options_of(site))
    victim = stack.child("databaseds")

    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: stack.run("list").returncode == 0, START_LIMIT, "the database does not answer again"
    )

    assert stack.child("databaseds") != victim
    assert stack.run("run", site.mid_sbd_id, "hello", "--subarray", "1").returncode == 0


def test_a_state_directory_is_used_by_one_stack_at_a_time(up, tmp_path):
    up()

    second = ours("up", "--port", "0", cwd=tmp_path)

    assert second.returncode == 1
    assert "is in use by another `ska-oso-activity up`" in second.stderr
    assert second.stdout == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_all_binds_to_loopback(up, site, host):
    stack = up("--host", host, *options_of(site))
    assert stack.run("run", site.mid_sbd_id, "hello", "--subarray", "1").returncode == 0

    assert listening_addresses(descendants(stack.process.pid)) == {"127.0.0.1"}


def test_a_port_that_is_in_use_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        refused = ours("up", "--port", str(port), cwd=tmp_path)

    assert refused.returncode == 1
    assert f"127.0.0.1:{port} (Address already in use)" in refused.stderr


def test_options_rule_over_what_an_earlier_start_left(up, site, tmp_path):
    up("--telescope", "mid", *options_of(site)).end()

    stack = up("--telescope", "low", *options_of(site))
    ran = stack.run("run", site.low_sbd_id, "hello", "--subarray", "1")

    assert stack.ready["activity"] == ["low-oso/activity/01"]
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_all_durable_files_are_in_the_state_directory(up, site, tmp_path):
    before = set(tmp_path.rglob("*"))

    stack = up("--state-dir", "state", *options_of(site))
    assert stack.run("run", site.mid_sbd_id, "hello", "--subarray", "1").returncode == 0
    stack.end()

    made = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    elsewhere = {p for p in made if not p.is_relative_to(tmp_path / "state")}
    assert {p.relative_to(tmp_path).parts[:2] for p in elsewhere} <= {("stderr",), ("site", "oda")}
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert Path(tmp_path, "state", "logs", "ActivityDevice.log").is_file()
