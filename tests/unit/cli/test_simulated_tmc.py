"""The launcher's simulators: which devices there are, and how scripts are told of them."""

import re
from pathlib import Path

import pytest

from ska_oso_activity.cli.stack.description import Places, Telescope, our_devices
from ska_oso_activity.cli.stack.launcher import MODULES
from ska_oso_activity.cli.stack.tmc import Tmc, TmcNames

SOURCES = Path(__file__).parents[3] / "src"
EXECUTOR = our_devices(Telescope.MID, Places(Path("/state"), Path("/oda")))[0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            TmcNames.NEW,
            {
                *("mid-tmc/central-node/0", "mid-tmc/subarray/01"),
                *("low-tmc/central-node/0", "low-tmc/subarray/01"),
            },
        ),
        (
            TmcNames.OLD,
            {
                *("ska_mid/tm_central/central_node", "ska_mid/tm_subarray_node/1"),
                *("ska_low/tm_central/central_node", "ska_low/tm_subarray_node/1"),
            },
        ),
    ],
)
def test_devices_have_the_names_of_tmc(names, expected):
    devices = Tmc(1, names).devices()

    assert {device.name for device in devices} == expected
    assert {device.server for device in devices} == {"TmcSimulator/01"}


def test_there_are_as_many_subarrays_as_asked_for():
    names = [device.name for device in Tmc(16).devices()]

    assert names.count("mid-tmc/central-node/0") == 1
    assert names[16] == "mid-tmc/subarray/16"
    assert len(names) == 2 * 17


def test_classes_and_properties_are_those_of_the_server():
    server = SOURCES.joinpath(*MODULES["TmcSimulator"].split(".")).with_suffix(".py").read_text()
    base = (SOURCES / "ska_oso_activity" / "simulators" / "tmc_device.py").read_text()

    for device in Tmc(1, delay=2.0).devices():
        assert f"    {device.device_class}," in server
        assert device.properties == {"DefaultDelay": ["2.0"]}
    assert "DefaultDelay = device_property" in base


def test_without_a_delay_the_property_is_not_set():
    assert all(device.properties == {"DefaultDelay": []} for device in Tmc(1).devices())


def test_scripts_find_the_devices_by_either_kind_of_name():
    properties = Tmc(1, TmcNames.OLD).known_to(EXECUTOR).properties

    assert properties["LowEnvironment"] == [
        "SKA_TELESCOPE=SKA-low",
        "CENTRALNODE_TRL=ska_low/tm_central/central_node",
        "CENTRALNODE_FQDN=ska_low/tm_central/central_node",
        "SUBARRAYNODE_TRL_PREFIX=ska_low/tm_subarray_node",
        "SUBARRAYNODE_FQDN_PREFIX=ska_low/tm_subarray_node",
    ]
    assert properties["StateDirectory"] == EXECUTOR.properties["StateDirectory"]


def test_the_new_names_are_those_that_scripts_are_told_of_anyway():
    source = (SOURCES / "ska_oso_activity" / "devices" / "script_execution.py").read_text()
    defaults = re.findall(r'_telescope_variables\("(.*?)", "(.*?)", "(.*?)"\)', source)

    for telescope, (name, central_node, subarray) in zip(Telescope, defaults, strict=True):
        assert name == f"SKA-{telescope.value}"
        assert central_node == TmcNames.NEW.central_node(telescope)
        assert subarray == TmcNames.NEW.subarray_prefix(telescope)
