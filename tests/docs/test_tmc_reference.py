"""The page on the TMC simulators says what the devices say: nothing is missing, none is made up."""

import re
from pathlib import Path

import pytest

from ska_oso_activity.devices.base import OsoDevice
from ska_oso_activity.simulators.faults import KEYS, FaultType
from ska_oso_activity.simulators.obs_state import RULES
from ska_oso_activity.simulators.server import CLASSES

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "tmc-simulator.md").read_text()
TANGO_OWN = {"Init", "State", "Status"}


def rows(heading):
    """The first cells of the table whose header begins with `heading`."""
    table = PAGE[PAGE.index(f"| {heading} |") :].split("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def of_simulators(of_class):
    """What the classes have beyond every device of ours."""
    return {
        name
        for device in CLASSES
        for name in set(of_class(device)) - set(of_class(OsoDevice)) - TANGO_OWN
    }


@pytest.mark.parametrize("kind", ["attr_list", "cmd_list", "device_property_list"])
def test_all_that_a_client_sees_is_on_the_page(kind):
    names = of_simulators(lambda device: getattr(device.TangoClassClass, kind))

    assert len(names) >= 6
    assert {name for name in names if f"`{name}`" not in PAGE} == set()


def test_classes_and_properties_on_the_page_are_there():
    classes = {name for row in rows("class") for name in re.findall(r"`(\w+)`", row[0])}
    properties = {row[0].strip("`") for row in rows("property")}

    assert classes == {device.__name__ for device in CLASSES}
    assert properties == of_simulators(lambda device: device.TangoClassClass.device_property_list)


def test_the_table_of_states_is_that_of_the_code():
    told = {row[0].strip("`"): row[1:] for row in rows("command | from | through")}

    assert set(told) == set(RULES)
    for command, (allowed, through, to) in told.items():
        rule = RULES[command]
        assert allowed.split(", ") == [state.name for state in sorted(rule.allowed)]
        assert through == (rule.through.name if rule.through is not None else "")
        assert to.split(",")[0] == rule.to.name


def test_faults_and_keys_are_those_of_the_code():
    assert [(int(row[0]), row[1].strip("`")) for row in rows("fault_type")] == [
        (fault.value, fault.name) for fault in FaultType
    ]
    assert {row[0].strip("`") for row in rows("key")} == KEYS
