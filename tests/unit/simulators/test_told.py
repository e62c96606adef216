"""What the simulators are told - arguments, delays, defects - is read whole or refused in words."""

import contextlib
import json
import threading
from typing import Any

import pytest

from ska_oso_activity.simulators.answers import BadArgument
from ska_oso_activity.simulators.arguments import (
    READERS,
    Resources,
    Telescope,
    read_assign,
    read_configure,
    read_object,
    read_release,
    read_scan,
    read_subarray_id,
)
from ska_oso_activity.simulators.faults import HEALTHY, FaultType, read_defect
from ska_oso_activity.simulators.obs_state import ObsState
from ska_oso_activity.simulators.timing import Delays, ThreadTimers
from tests.unit.adapters.shared_data import SHARED
from tests.unit.simulators.bench import ARGUMENTS, CONFIGURE, RELEASE, SCAN

SAMPLES = SHARED / "cdm"
SCHEMA = "https://schema.skao.int"
KINDS = {
    "assign": "AssignResources",
    "release": "ReleaseResources",
    "configure": "Configure",
    "scan": "Scan",
}


def samples():
    files = sorted(SAMPLES.glob("*.json"))
    if not files:
        skip = pytest.mark.skip(reason="the shared data is not beside this checkout")
        return [pytest.param(None, marks=skip, id="no data")]
    return [pytest.param(file, id=file.stem) for file in files]


# --- Arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize("file", samples())
def test_what_ska_sends_is_accepted_by_its_telescope_and_refused_by_the_other(file):
    name = file.stem.lower()
    command = next(command for kind, command in KINDS.items() if f"_{kind}" in name)
    telescope = Telescope.LOW if "_low" in name else Telescope.MID
    other = Telescope.MID if telescope is Telescope.LOW else Telescope.LOW
    text = file.read_text()

    read = READERS[command](telescope, text)

    if command in {"AssignResources", "ReleaseResources"}:
        assert read_subarray_id(text) == 1
        assert read.names or read.everything
    elif command == "Configure":
        assert read == json.loads(text)["tmc"]["scan_duration"]
    with pytest.raises(BadArgument, match="is expected"):
        READERS[command](other, text)


def test_resources_of_low_are_apertures_or_else_beams():
    beams = [
        {"subarray_beam_id": 1, "apertures": [{"aperture_id": "AP001.01"}]},
        {"subarray_beam_id": 2},
    ]
    argument = {
        "interface": f"{SCHEMA}/ska-low-tmc-assignresources/4.0",
        "mccs": {"subarray_beams": beams},
    }

    assert read_assign(Telescope.LOW, json.dumps(argument)).names == ("AP001.01", "beam 2")


def test_release_names_a_part_or_all():
    some = {**RELEASE, "release_all": False, "receptor_ids": ["SKA001"]}

    assert read_release(Telescope.MID, json.dumps(RELEASE)) == Resources((), everything=True)
    assert read_release(Telescope.MID, json.dumps(some)) == Resources(("SKA001",))
    with pytest.raises(BadArgument, match="either release_all must be true"):
        read_release(Telescope.MID, json.dumps({**RELEASE, "release_all": False}))


@pytest.mark.parametrize(
    ("tmc", "why"),
    [
        ({}, "scan_duration is missing"),
        ({"scan_duration": "10"}, "must be seconds, not '10'"),
        ({"scan_duration": -1}, "must be seconds, not -1"),
        ({"scan_duration": True}, "must be seconds, not True"),
        (3, "tmc must be an object"),
    ],
)
def test_a_configuration_must_say_how_long_scans_last(tmc, why):
    with pytest.raises(BadArgument, match=why):
        read_configure(Telescope.MID, json.dumps({**CONFIGURE, "tmc": tmc}))


def test_a_configuration_must_have_what_its_telescope_needs():
    without = {key: value for key, value in CONFIGURE.items() if key != "dish"}
    with pytest.raises(BadArgument, match="the key dish is missing; there are interface, tmc"):
        read_configure(Telescope.MID, json.dumps(without))


@pytest.mark.parametrize("scan_id", [None, -1, "1", 1.5, True])
def test_a_scan_needs_a_number(scan_id):
    with pytest.raises(BadArgument, match="scan_id must be a whole number"):
        read_scan(Telescope.MID, json.dumps({**SCAN, "scan_id": scan_id}))


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"a": NaN}', '{"a": 1, "a": 2}'])
def test_only_json_objects_are_arguments(text):
    with pytest.raises(BadArgument, match="the argument is not"):
        read_object(text)


BEAM = {"subarray_beam_id": 1}
ODD: list[Any] = [
    *(None, 1, "x", [], {}, [1], [None], {"subarray_beams": [3]}, {"receptor_ids": [1]}),
    *({"subarray_beams": [{**BEAM, "apertures": odd}]} for odd in (3, [3], [{}], None)),
]


@pytest.mark.parametrize("telescope", Telescope)
@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("replaced", ODD)
def test_odd_values_are_refused_or_left_and_never_break_the_reader(telescope, command, replaced):
    argument = json.loads(ARGUMENTS[command])
    if telescope is Telescope.LOW:
        argument["interface"] = argument["interface"].replace("/ska-", "/ska-low-")
    for key in (*argument, "mccs", "release_all", "receptor_ids"):
        text = json.dumps({**argument, key: replaced})
        with contextlib.suppress(BadArgument):
            READERS[command](telescope, text)


# --- Delays ----------------------------------------------------------------------------------


def test_delays_are_set_by_command_and_forgotten():
    delays = Delays(default=1.0)

    delays.set('{"Configure": 3, "Scan": 0.5}')
    delays.set('{"Scan": 0}')
    told = [delays.of(each) for each in ("Configure", "Scan", "End")]
    delays.reset()

    assert told == [3.0, 0.0, 1.0]
    assert delays.of("Configure") == 1.0


def test_jitter_adds_by_chance():
    delays = Delays(default=1.0, chance=lambda: 0.5)

    delays.set('{"jitter": 0.2, "default": 2}')

    assert delays.of("Scan") == 2.1
    assert json.loads(delays.describe()) == {"default": 2.0, "jitter": 0.2}


@pytest.mark.parametrize("text", ["", "3", "[]", '{"Scan": "1"}', '{"Scan": -1}', '{"Scan": true}'])
def test_what_is_no_delay_is_refused_and_changes_nothing(text):
    delays = Delays()
    with pytest.raises(BadArgument, match="an object of commands and seconds is expected"):
        delays.set(text)
    assert json.loads(delays.describe()) == {"default": 0.05, "jitter": 0.0}


def test_timers_ring_once_and_leave_no_thread():
    timers = ThreadTimers()
    rang = threading.Event()

    timers.after(0.0, rang.set)

    assert rang.wait(10)
    timers.close()


def test_closed_timers_do_not_ring_and_end_their_threads():
    timers = ThreadTimers()
    before = set(threading.enumerate())
    rang = threading.Event()
    timers.after(1000.0, rang.set)
    cancel = timers.after(1000.0, rang.set)
    ours = set(threading.enumerate()) - before
    assert len(ours) == 2

    cancel()
    timers.close()
    timers.after(0.0, rang.set)

    for thread in ours:
        thread.join(10)
        assert not thread.is_alive()
    assert not rang.is_set()


# --- Defects ---------------------------------------------------------------------------------


def test_a_defect_is_told_by_numbers_or_names():
    told = {
        "enabled": True,
        "fault_type": 5,
        "error_message": "stuck",
        "result": 3,
        "intermediate_state": 1,
        "target_obsstates": [3, "IDLE"],
        "hang": 4,
        "die_at": "READY",
    }

    defect = read_defect(json.dumps(told))

    assert defect.fault is FaultType.STUCK_IN_OBSSTATE
    assert (defect.message, defect.result) == ("stuck", 3)
    assert defect.intermediate_state is ObsState.RESOURCING
    assert defect.target_obsstates == (ObsState.CONFIGURING, ObsState.IDLE)
    assert (defect.hang, defect.die_at) == (4.0, ObsState.READY)


def test_a_defect_that_is_not_enabled_is_none():
    assert read_defect('{"enabled": false, "fault_type": 2}') is HEALTHY


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ('{"enabled": true, "fault": 1}', "unknown keys: fault; known: commands, die_at"),
        ('{"enabled": true, "fault_type": 9}', "9 is no FaultType; possible are 0 NONE"),
        ('{"enabled": true, "die_at": "HOME"}', "'HOME' is no ObsState; possible are 0 EMPTY"),
        ('{"enabled": true, "hang": "long"}', "hang is 'long'; seconds are expected"),
        ('{"enabled": true, "hang": -1}', "hang is -1; seconds are expected"),
    ],
)
def test_a_defect_that_makes_no_sense_is_refused(told, why):
    with pytest.raises(BadArgument, match=why):
        read_defect(told)
