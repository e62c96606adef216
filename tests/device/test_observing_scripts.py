"""The shipped observing scripts, run as activities on simulated telescopes."""

import json
import shutil
from pathlib import Path

import pytest
import tango

from ska_oso_activity import samples
from tests.device.client import Client, Recorder, until
from tests.device.stack import SCRIPT_EXECUTION, SHARED, Stack
from tests.unit.observing.blocks import NEWEST, OURS

SUCCESS = ["REQUESTED", "PREPARING", "READY", "RUNNING", "SUCCEEDED"]
SCRIPTS = ("allocate", "observe", "allocate_and_observe", "release")
NO_DATA = "the real blocks are not kept beside this checkout (../shared/data/sbd)"
TELESCOPE = {"ska_mid": "mid", "ska_low": "low"}


@pytest.fixture
def site(telescope_stack):
    """The stack, with the shipped scripts among its own."""
    return Site(telescope_stack)


class Site:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.client = Client()
        copied = samples.install(stack.directory / "samples")
        for script in copied.scripts.glob("*.py"):
            shutil.copy(script, stack.scripts)

    def block(self, path: Path) -> tuple[str, str]:
        """Put a block into the archive with our scripts as its activities; its id and telescope."""
        block = json.loads(path.read_text(encoding="utf-8"))
        block["sbd_id"] = f"sbd-{path.stem.replace('.', '-')}-{path.parent.name[:7]}"
        block["activities"] = {
            name: {"kind": "filesystem", "path": (self.stack.scripts / f"{name}.py").as_uri()}
            for name in SCRIPTS
        }
        self.stack.write_block(block["sbd_id"], json.dumps(block).encode())
        return block["sbd_id"], TELESCOPE[block["telescope"]]

    def run(self, sbd_id, script, subarray=1, seconds=0.1, **kwargs):
        if script in ("observe", "allocate_and_observe"):
            kwargs["seconds_per_scan"] = seconds
        return self.client.run(sbd_id, **self._request(script, subarray, kwargs))

    def begin(self, sbd_id, script, subarray=1, **kwargs):
        return self.client.start(sbd_id, **self._request(script, subarray, kwargs))

    def send(self, sbd_id, script, subarray, **kwargs):
        """Begin, and wait for nothing; the command's id."""
        request = {"sbd_id": sbd_id, **self._request(script, subarray, kwargs)}
        return self.client.send("RunActivity", request)

    @staticmethod
    def _request(script, subarray, kwargs):
        given = {"main": {"kwargs": kwargs}}
        return {"activity_name": script, "subarray_id": subarray, "script_args": given}

    def set_abort(self, **arguments) -> None:
        """Make the shipped abort.py the abort script."""
        properties = {
            "AbortScript": [str(self.stack.scripts / "abort.py")],
            "AbortScriptArgs": [json.dumps(arguments)],
        }
        tango.Database().put_device_property(SCRIPT_EXECUTION, properties)
        self.client.executor.Init()


def subarray(telescope, number=1):
    return tango.DeviceProxy(f"{telescope}-tmc/subarray/{number:02d}")


def obs_states(recorder):
    """The names of the obsStates that came after the subscription."""
    names = ["EMPTY", "RESOURCING", "IDLE", "CONFIGURING", "READY", "SCANNING", "ABORTING"]
    names += ["ABORTED", "RESETTING", "FAULT", "RESTARTING"]
    return [names[int(value)] for value in recorder.values("obsState")]


def observed(recorder, ends):
    """obsStates, once the last has come."""
    return recorder.wait(
        lambda: (states := obs_states(recorder))[-1:] == [ends] and states, f"obsState {ends}"
    )


@pytest.mark.parametrize("name", [*OURS, *NEWEST])
def test_a_block_is_observed_from_empty_to_empty(site, name):
    path = OURS.get(name) or SHARED / "data" / "sbd" / name
    if not path.is_file():
        pytest.skip(NO_DATA)
    sbd_id, telescope = site.block(path)

    with Recorder(subarray(telescope), "obsState") as recorder:
        run = site.run(sbd_id, "allocate_and_observe")

        assert run.states == SUCCESS, run.activity["error"]
        states = observed(recorder, "EMPTY")
    result = run.activity["result"]
    assert states.count("RESOURCING") == 2
    assert states.count("CONFIGURING") == states.count("SCANNING") == result["pointings"]
    assert run.activity["progress"] == 100
    assert (result["subarray_id"], result["scans"] > 0) == (1, True)


def test_one_scan_passes_each_state_once(site):
    path = SHARED / "data" / "sbd" / NEWEST[1]
    if not path.is_file():
        pytest.skip(NO_DATA)
    sbd_id, telescope = site.block(path)

    with Recorder(subarray(telescope), "obsState") as recorder:
        run = site.run(sbd_id, "allocate_and_observe")

        assert run.states == SUCCESS, run.activity["error"]
        assert observed(recorder, "EMPTY") == [
            *("RESOURCING", "IDLE", "CONFIGURING", "READY", "SCANNING", "READY", "IDLE"),
            *("RESOURCING", "EMPTY"),
        ]


@pytest.mark.parametrize("telescope", ["mid", "low"])
def test_the_steps_can_be_activities_of_their_own(site, telescope):
    sbd_id, _ = site.block(OURS[telescope])

    runs = [site.run(sbd_id, script, subarray=2) for script in ("allocate", "observe", "release")]

    assert [run.states for run in runs] == [SUCCESS] * 3, [run.activity["error"] for run in runs]
    assert len(runs[0].activity["result"]["receptors"]) == 4
    assert runs[2].activity["result"] == {"subarray_id": 2, "obs_state": "EMPTY"}


def test_observing_again_can_go_on_counting_scans(site):
    sbd_id, telescope = site.block(OURS["low"])
    device = subarray(telescope, 2)
    device.ClearHistory()

    runs = [
        site.run(sbd_id, "allocate", subarray=2),
        site.run(sbd_id, "observe", subarray=2),
        site.run(sbd_id, "observe", subarray=2, first_scan_id=6),
        site.run(sbd_id, "release", subarray=2),
    ]

    assert [run.states for run in runs] == [SUCCESS] * 4, [run.activity["error"] for run in runs]
    sent = [each for each in json.loads(device.History) if each["command"] == "Scan"]
    assert [json.loads(each["args"])["scan_id"] for each in sent] == list(range(1, 11))


def test_sixteen_subarrays_observe_at_once(site):
    sbd_id, telescope = site.block(OURS["low"])

    begun = [
        site.send(sbd_id, "allocate_and_observe", subarray=number, seconds_per_scan=0.2)
        for number in range(1, 17)
    ]
    runs = [site.client.finish(command_id) for command_id in begun]

    assert [run.states for run in runs] == [SUCCESS] * 16, [run.activity["error"] for run in runs]
    results = [run.activity["result"] for run in runs]
    assert [each["subarray_id"] for each in results] == list(range(1, 17))
    assert {(each["scans"], each["obs_state"]) for each in results} == {(5, "EMPTY")}
    assert {subarray(telescope, n).obsState for n in range(1, 17)} == {0}


def test_allocating_twice_the_wrong_way_is_refused_in_words(site):
    sbd_id, telescope = site.block(OURS["mid"])

    run = site.run(sbd_id, "observe")

    assert run.states[-1] == "FAILED"
    error = run.activity["error"]
    assert "mid-tmc/subarray/01" in str(error)
    assert "IDLE or READY, and it is EMPTY" in str(error)
    assert subarray(telescope).obsState == 0


@pytest.mark.parametrize(("restart", "ends"), [(False, "ABORTED"), (True, "EMPTY")])
@pytest.mark.parametrize("telescope", ["mid", "low"])
def test_a_stop_in_mid_scan_aborts_the_subarray(site, telescope, restart, ends):
    sbd_id, _ = site.block(OURS[telescope])
    site.set_abort(restart=restart)

    with Recorder(subarray(telescope), "obsState") as recorder:
        event = site.begin(sbd_id, "allocate_and_observe", seconds_per_scan=100)
        observed(recorder, "SCANNING")
        code, text = site.client.stop(activity_id=event["activity_id"])
        states = observed(recorder, ends)

    activity = site.client.get(event["activity_id"])
    assert (code, activity["state"]) == (0, "STOPPED"), text
    assert activity["abort"]["state"] == "COMPLETE", activity["abort"]
    assert states[-2:] == (["RESTARTING", "EMPTY"] if restart else ["ABORTING", "ABORTED"])
    site.set_abort(restart=True)
    if not restart:
        subarray(telescope).Restart()
        with Recorder(subarray(telescope), "obsState") as recorder:
            recorder.wait(lambda: recorder.events[-1].value == 0, "EMPTY")
    run = site.run(sbd_id, "allocate_and_observe", seconds=0.02)
    assert run.states == SUCCESS, run.activity["error"]


@pytest.mark.parametrize(
    ("command", "state"), [("AssignResources", "RESOURCING"), ("Configure", "CONFIGURING")]
)
def test_a_stop_in_the_middle_of_a_command_aborts_the_subarray(site, command, state):
    sbd_id, telescope = site.block(OURS["mid"])
    site.set_abort(restart=True)
    device = subarray(telescope)
    device.SetDelayInfo(json.dumps({command: 30}))

    with Recorder(device, "obsState") as recorder:
        event = site.begin(sbd_id, "allocate_and_observe")
        observed(recorder, state)
        code, text = site.client.stop(activity_id=event["activity_id"])
        observed(recorder, "EMPTY")

    device.ResetDelayInfo()
    activity = site.client.get(event["activity_id"])
    assert (code, activity["state"]) == (0, "STOPPED"), text
    assert activity["abort"]["state"] == "COMPLETE", activity["abort"]
    assert site.run(sbd_id, "allocate_and_observe", seconds=0.02).states == SUCCESS


def test_a_failure_has_the_words_of_tmc_and_the_next_activity_works_after_an_abort(site):
    sbd_id, telescope = site.block(OURS["mid"])
    device = subarray(telescope)
    site.set_abort(restart=True)
    fault = {"enabled": True, "fault_type": 5, "error_message": "SKA063 lost its pointing"}
    device.SetDefective(json.dumps({**fault, "commands": ["Configure"]}))

    run = site.run(sbd_id, "allocate_and_observe")

    device.SetDefective(json.dumps({"enabled": False, "fault_type": 0}))
    assert run.states[-1] == "FAILED"
    assert run.activity["reason"] == "SCRIPT_ERROR"
    assert "SKA063 lost its pointing" in run.activity["error"]
    assert "mid-tmc/subarray/01" in run.activity["error"]
    abort = site.client.prepare((site.stack.scripts / "abort.py").as_uri(), subarray_id=1)
    with Recorder(device, "obsState") as recorder:
        site.client.executor.StartProcess(
            json.dumps(
                {
                    "procedure_id": abort["procedure_id"],
                    "function": "main",
                    "args": {"kwargs": {"restart": True}},
                    "force_start": True,
                }
            )
        )
        recorder.wait(lambda: recorder.events[-1].value == 0, "EMPTY")
    again = site.run(sbd_id, "allocate_and_observe", seconds=0.02)
    assert again.states == SUCCESS, again.activity["error"]


def simulator(stack):
    """The process of the TMC simulators."""
    found = [each for each in stack.family() if "simulators.server" in " ".join(each.cmdline())]
    assert len(found) == 1
    return found[0]


def test_a_tmc_that_is_restarted_in_mid_scan_fails_the_activity(site):
    sbd_id, telescope = site.block(OURS["low"])
    site.set_abort(restart=True)
    with Recorder(subarray(telescope), "obsState") as recorder:
        event = site.begin(sbd_id, "allocate_and_observe", seconds_per_scan=100)
        observed(recorder, "SCANNING")

    simulator(site.stack).kill()
    run = site.client.finish(event["command_id"], seconds=60)

    assert run.states[-1] == "FAILED"
    assert "low-tmc/subarray/01" in run.activity["error"]
    assert "Scan" in run.activity["error"]
    until(lambda: is_there(telescope), "the simulators, started again", 60)
    again = site.run(sbd_id, "allocate_and_observe", seconds=0.02)
    assert again.states == SUCCESS, again.activity["error"]


def is_there(telescope):
    try:
        devices = [subarray(telescope, number) for number in (1, 2)]
        return all(device.read_attribute("obsState").value == 0 for device in devices)
    except tango.DevFailed:
        return False
