"""`ska-oso-activity up --simulate-tmc`: scripts find a telescope that they can drive."""

import json
import os
import signal
import subprocess
import sys

import pytest

from ska_oso_activity.samples import install
from tests.system.processes import CLI, START_LIMIT, wait_until

ASSIGNS = """
import json, os, threading
import tango

INTERFACE = {
    "SKA-mid": "ska-tmc-assignresources/2.1", "SKA-low": "ska-low-tmc-assignresources/4.0",
}

def main(suffix, **kwargs):
    central_node = tango.DeviceProxy(os.environ["CENTRALNODE_TRL"])
    name = os.environ["SUBARRAYNODE_TRL_PREFIX"] + "/" + suffix
    subarray = tango.DeviceProxy(name)
    idle = threading.Event()

    def arrived(event):
        if not event.err and event.attr_value.value == 2:
            idle.set()

    subarray.subscribe_event("obsState", tango.EventType.CHANGE_EVENT, arrived)
    argument = {
        "interface": "https://schema.skao.int/" + INTERFACE[os.environ["SKA_TELESCOPE"]],
        "subarray_id": int(suffix),
        "dish": {"receptor_ids": ["SKA001"]},
        "sdp": {},
        "mccs": {"subarray_beams": [{"subarray_beam_id": 1}]},
    }
    central_node.AssignResources(json.dumps(argument))
    if not idle.wait(20):
        raise TimeoutError(str(subarray.obsState))
    print("IDLE:", name, flush=True)
"""
BOTH = [
    *("mid-tmc/central-node/0", "mid-tmc/subarray/01", "mid-tmc/subarray/02"),
    *("low-tmc/central-node/0", "low-tmc/subarray/01", "low-tmc/subarray/02"),
]
BOTH_OLD = [
    *("ska_mid/tm_central/central_node", "ska_mid/tm_subarray_node/1"),
    *("ska_low/tm_central/central_node", "ska_low/tm_subarray_node/1"),
]


@pytest.fixture
def site(tmp_path):
    """The samples, and an activity `assign` of Mid and one of Low that drive TMC."""
    samples = install(tmp_path / "site")
    script = samples.scripts / "assigns.py"
    script.write_text(ASSIGNS)
    for sbd_id in (samples.mid_sbd_id, samples.low_sbd_id):
        file = samples.oda / "sbd" / sbd_id / "1.json"
        block = json.loads(file.read_text())
        for suffix in ("1", "02"):
            block["activities"][f"assign-{suffix}"] = {
                "kind": "filesystem",
                "path": script.as_uri(),
                "function_args": {"main": {"args": [], "kwargs": {"suffix": suffix}}},
            }
        file.write_text(json.dumps(block))
    return samples


def run(stack, sbd_id, activity):
    ran = stack.run("run", sbd_id, activity, "--subarray", "1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_scripts_of_both_telescopes_find_theirs_and_it_comes_back_when_killed(up, site):
    stack = up("--simulate-tmc", "--oda", site.oda, "--scripts", site.scripts)
    assert stack.ready["tmc"] == BOTH

    mid = run(stack, site.mid_sbd_id, "assign-02")
    low = run(stack, site.low_sbd_id, "assign-02")
    victim = stack.child("simulators.server")
    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: stack.child("simulators.server") not in {None, victim},
        START_LIMIT,
        "it is not started again",
    )
    # The new one's subarrays are EMPTY, so that resources can be assigned to them.
    wait_until(
        lambda: stack.run("run", site.mid_sbd_id, "assign-02", "--subarray", "1").returncode == 0,
        START_LIMIT,
        "the simulators do not answer again",
    )

    assert "IDLE: mid-tmc/subarray/02" in mid
    assert "IDLE: low-tmc/subarray/02" in low
    assert "TmcSimulator/01 ended (signal SIGKILL); started again in 0.2 s" in stack.said()


OBS_STATE = "import tango; print(tango.DeviceProxy('mid-tmc/subarray/01').obsState.name)"


def test_a_stop_aborts_the_subarray_by_our_script_where_there_is_no_other(up, site):
    (site.scripts / "abort.py").unlink()
    stack = up("--simulate-tmc", "--oda", site.oda, "--scripts", site.scripts)
    arguments = ("--script-args", json.dumps({"main": {"kwargs": {"seconds_per_scan": 100}}}))
    words = ("run", site.mid_sbd_id, "allocate_and_observe", "--subarray", "1", *arguments)
    with subprocess.Popen(
        [*CLI, *words], env=stack.environment, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout
        assert any("mid-tmc/subarray/01 is SCANNING" in line for line in client.stdout)
        stopped = stack.run("stop", "--subarray", "1")
        client.communicate(timeout=60)
    obs_state = subprocess.run(
        [sys.executable, "-c", OBS_STATE],
        env=stack.environment,
        check=True,
        capture_output=True,
        text=True,
    )

    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "STOPPED; the abort script was run" in stopped.stdout
    assert client.returncode == 3
    assert obs_state.stdout == "ABORTED\n"


def test_names_numbers_and_delays_can_be_chosen_anew_at_each_start(up, site, left):
    options = ("--simulate-tmc", "--oda", site.oda, "--scripts", site.scripts)
    up(*options).end()

    stack = up(*options, "--tmc-names", "old", "--subarrays", "1", "--tmc-delay", "0")
    mid = run(stack, site.mid_sbd_id, "assign-1")
    code = stack.end()

    assert stack.ready["tmc"] == BOTH_OLD
    assert "IDLE: ska_mid/tm_subarray_node/1" in mid
    assert code == 0
    assert left() == []


def test_without_the_option_there_are_none(up):
    stack = up()

    assert stack.ready["tmc"] == []
    assert stack.child("simulators.server") is None
