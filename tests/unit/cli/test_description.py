"""One description of our devices: launcher, command line and files in tango_db agree."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ska_oso_activity.cli.errors import UsageError
from ska_oso_activity.cli.main import app
from ska_oso_activity.cli.stack.description import Places, Telescope, dsconfig, our_devices
from ska_oso_activity.cli.stack.launcher import MODULES

TANGO_DB = Path(__file__).parents[3] / "tango_db"
PLACES = Places(Path("/state"), Path("/oda"), (Path("/scripts"), Path("/more")), ("https://git/",))


@pytest.mark.parametrize("telescope", ["mid", "low"])
def test_the_files_in_tango_db_are_what_registration_prints(telescope):
    printed = CliRunner().invoke(app, ["registration", "--telescope", telescope])

    assert printed.stdout == (TANGO_DB / f"{telescope}.json").read_text()


def test_devices_are_named_for_their_telescope():
    assert [device.name for device in our_devices(Telescope.LOW, PLACES)] == [
        "low-oso/script-execution/01",
        "low-oso/activity/01",
    ]


def test_properties_follow_from_the_places():
    executor, activity = our_devices(Telescope.MID, PLACES)

    assert executor.properties == {
        "ScriptRoots": ["/scripts", "/more"],
        "Repositories": ["https://git/"],
        "StateDirectory": ["/state/script-execution"],
        "SchedulingBlockDirectory": ["/state/sbs"],
    }
    assert activity.properties == {
        "ScriptExecutionDevices": ["mid-oso/script-execution/01"],
        "SubarrayId": ["0"],
        "OdaDirectory": ["/oda"],
        "SchedulingBlockRoots": ["/oda", "/scripts", "/more"],
        "StateDirectory": ["/state/activity"],
    }


def test_every_property_is_one_that_the_device_class_has():
    for device in our_devices(Telescope.MID, PLACES):
        source = Path(__file__).parents[3].joinpath("src", *MODULES[device.device_class].split("."))
        text = source.with_suffix(".py").read_text()

        assert [
            name for name in device.properties if f" {name} = device_property" not in text
        ] == []


def test_properties_that_are_not_set_are_left_out_of_the_files():
    devices = our_devices(Telescope.MID, Places(Path("/state"), Path("/oda")))

    servers = dsconfig(devices)["servers"]

    of_executor = servers["ScriptExecution"]["01"]["ScriptExecution"]["mid-oso/script-execution/01"]
    assert set(of_executor["properties"]) == {"StateDirectory", "SchedulingBlockDirectory"}


def test_all_values_are_lists_of_strings_that_tango_can_hold():
    with pytest.raises(UsageError, match="latin-1"):
        our_devices(Telescope.MID, Places(Path("/Łódź"), Path("/oda")))


def test_an_abort_script_is_found_among_the_scripts(tmp_path):
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "abort.py").touch()
    places = Places(tmp_path, tmp_path, (tmp_path / "first", tmp_path / "second"))

    assert places.abort_script == tmp_path / "second" / "abort.py"
    assert Places(tmp_path, tmp_path).abort_script is None


def test_the_file_is_json_with_the_layout_of_dsconfig():
    document = json.loads((TANGO_DB / "mid.json").read_text())

    device = document["servers"]["ActivityDevice"]["01"]["ActivityDevice"]["mid-oso/activity/01"]
    assert device["properties"]["SubarrayId"] == ["0"]
