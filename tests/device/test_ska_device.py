"""Every row of the SKA device contract, on both devices: what clients of SKABaseDevice rely on."""

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
import tango
from tango import AttrDataFormat, AttrMemorizedType, AttrWriteType, CmdArgType

from tests.device.stack import ACTIVITY_DEVICE, SCRIPT_EXECUTION, Stack

# Typed in from contracts/ska-device.md; 128 executing and 32 queued commands.
STRING, ENUM, LONG64 = CmdArgType.DevString, CmdArgType.DevEnum, CmdArgType.DevLong64
IN_QUEUE = max(2 * 32 + 128, 32)
DEVICES = (ACTIVITY_DEVICE, SCRIPT_EXECUTION)
NUMBER = {"adminMode": 5, "controlMode": 2, "simulationMode": 2, "testMode": 2}
LABELS = {
    "loggingLevel": ["OFF", "FATAL", "ERROR", "WARNING", "INFO", "DEBUG"],
    "healthState": ["OK", "DEGRADED", "FAILED", "UNKNOWN"],
    "adminMode": ["ONLINE", "OFFLINE", "ENGINEERING", "NOT_FITTED", "RESERVED"],
    "controlMode": ["REMOTE", "LOCAL"],
    "simulationMode": ["FALSE", "TRUE"],
    "testMode": ["NONE", "TEST"],
}


@dataclass(frozen=True)
class Row:
    type: CmdArgType
    max_dim_x: int | None = None
    """None: a scalar."""
    write: bool = False
    memorised: bool = False


ATTRIBUTES = {
    "State": Row(CmdArgType.DevState),
    "Status": Row(STRING),
    "buildState": Row(STRING),
    "versionId": Row(STRING),
    "loggingLevel": Row(ENUM, write=True),
    "loggingTargets": Row(STRING, 4, write=True),
    "healthState": Row(ENUM),
    "adminMode": Row(ENUM, write=True, memorised=True),
    "controlMode": Row(ENUM, write=True, memorised=True),
    "simulationMode": Row(ENUM, write=True, memorised=True),
    "testMode": Row(ENUM, write=True, memorised=True),
    "commandedState": Row(STRING),
    "lrcProtocolVersions": Row(LONG64, 2),
    "_lrcEvent": Row(STRING, 2),
    "lrcQueue": Row(STRING, IN_QUEUE),
    "lrcExecuting": Row(STRING, 128 + 1),
    "lrcFinished": Row(STRING, 100),
    "longRunningCommandsInQueue": Row(STRING, IN_QUEUE),
    "longRunningCommandIDsInQueue": Row(STRING, IN_QUEUE),
    "longRunningCommandStatus": Row(STRING, 2 * IN_QUEUE),
    "longRunningCommandInProgress": Row(STRING, 128),
    "longRunningCommandProgress": Row(STRING, 2 * 128),
    "longRunningCommandResult": Row(STRING, 2),
}
VOID, LRC = CmdArgType.DevVoid, CmdArgType.DevVarLongStringArray
COMMANDS = {
    "On": (VOID, LRC),
    "Off": (VOID, LRC),
    "Standby": (VOID, LRC),
    "Reset": (VOID, LRC),
    "Abort": (VOID, LRC),
    "AbortCommands": (VOID, LRC),
    "CheckLongRunningCommandStatus": (STRING, STRING),
    "GetVersionInfo": (VOID, CmdArgType.DevVarStringArray),
    "Init": (VOID, VOID),
    "State": (VOID, CmdArgType.DevState),
    "Status": (VOID, STRING),
}
ROWS = [(device, name) for device in DEVICES for name in ATTRIBUTES]


@pytest.mark.parametrize(("device", "name"), ROWS)
def test_an_attribute_is_as_in_the_table(stack: Stack, device: str, name: str):
    row = ATTRIBUTES[name]
    proxy = tango.DeviceProxy(device)

    config = proxy.get_attribute_config_ex(name)[0]

    shape = (AttrDataFormat.SCALAR, 1) if row.max_dim_x is None else (
        AttrDataFormat.SPECTRUM, row.max_dim_x
    )  # fmt: skip
    assert name in proxy.get_attribute_list()
    assert config.name == name
    assert CmdArgType.values[config.data_type] == row.type
    assert (config.data_format, config.max_dim_x) == shape
    assert config.max_dim_y == 0
    assert config.writable == (AttrWriteType.READ_WRITE if row.write else AttrWriteType.READ)
    assert config.disp_level == tango.DispLevel.OPERATOR
    assert config.memorized == (
        AttrMemorizedType.MEMORIZED_WRITE_INIT if row.memorised else AttrMemorizedType.NOT_KNOWN
    ) or (not row.memorised and config.memorized == AttrMemorizedType.NONE)


@pytest.mark.parametrize(("device", "name"), ROWS)
def test_an_attribute_has_events_without_polling_and_its_first_event_is_what_it_reads_as(
    stack: Stack, device: str, name: str
):
    proxy = tango.DeviceProxy(device)
    came: list[tango.EventData] = []

    for kind in (tango.EventType.CHANGE_EVENT, tango.EventType.ARCHIVE_EVENT):
        number = proxy.subscribe_event(name, kind, came.append)
        proxy.unsubscribe_event(number)

    assert not proxy.is_attribute_polled(name)
    assert [event.err for event in came] == [False, False]
    assert {event.attr_value.name for event in came} == {name}
    read = proxy.read_attribute(name).value
    assert type(came[0].attr_value.value) is type(read)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", LABELS)
def test_an_enum_has_the_labels_of_the_control_model(stack: Stack, device: str, name: str):
    assert list(tango.DeviceProxy(device).get_attribute_config(name).enum_labels) == LABELS[name]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_as_in_the_table(stack: Stack, device: str, name: str):
    info = tango.DeviceProxy(device).get_command_config(name)

    assert (info.in_type, info.out_type) == COMMANDS[name]
    assert info.disp_level == tango.DispLevel.OPERATOR


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_opens_a_debugger_unless_a_property_says_so(stack: Stack, device: str):
    assert "DebugDevice" not in tango.DeviceProxy(device).get_command_list()


@pytest.mark.parametrize("device", DEVICES)
def test_what_a_device_says_of_itself(stack: Stack, device: str):
    proxy = tango.DeviceProxy(device)
    device_class = proxy.info().dev_class

    (version_info,) = proxy.GetVersionInfo()

    assert re.fullmatch(r"[\w-]+, \d+\.\d+\.\d+, .+", proxy.buildState)
    assert proxy.versionId == proxy.buildState.split(", ")[1]
    assert version_info == f"{device_class}, {proxy.buildState}"
    assert proxy.info().version_info[device_class] == proxy.versionId
    assert list(proxy.lrcProtocolVersions) == [1, 2]
    assert not proxy.read_attribute("_lrcEvent").value


@pytest.mark.parametrize("name", ["SkaLevel", "GroupDefinitions", "LoggingLevelDefault",
                                  "LoggingTargetsDefault"])  # fmt: skip
@pytest.mark.parametrize("device_class", ["ActivityDevice", "ScriptExecution"])
def test_a_device_has_the_properties_of_the_table(device_class: str, name: str, stack: Stack):
    defaults: dict[str, Any] = {
        "SkaLevel": ("DevShort", "4"),
        "GroupDefinitions": ("DevVarStringArray", ""),
        "LoggingLevelDefault": ("DevUShort", "4"),
        "LoggingTargetsDefault": ("DevVarStringArray", "tango::logger"),
    }
    server = tango.DeviceProxy(tango.DeviceProxy(
        ACTIVITY_DEVICE if device_class == "ActivityDevice" else SCRIPT_EXECUTION
    ).adm_name())  # fmt: skip

    told = list(server.QueryWizardDevProperty(device_class))

    entries = {told[i]: told[i + 2] for i in range(0, len(told), 3)}
    assert name in entries, told
    assert entries[name].strip("[]'\n ") == defaults[name][1]


@pytest.mark.parametrize("device", DEVICES)
def test_lists_hold_json_objects_of_the_shapes_in_the_contract(stack: Stack, device: str):
    proxy = tango.DeviceProxy(device)
    (_,), (command_id,) = proxy.Reset()

    finished = [json.loads(each) for each in proxy.lrcFinished]

    entry = next(each for each in finished if each["uid"] == command_id)
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00"
    assert set(entry) == {
        *("uid", "name", "status", "submitted_time", "started_time", "finished_time", "result")
    }
    assert entry["name"] == "Reset"
    assert (entry["status"], entry["result"][0]) == ("COMPLETED", 0)
    for key in ("submitted_time", "started_time", "finished_time"):
        assert re.fullmatch(time, entry[key])
    assert re.fullmatch(r"\d+\.\d+_\d+_Reset", command_id)
    assert proxy.CheckLongRunningCommandStatus(command_id) == "COMPLETED"
    assert proxy.CheckLongRunningCommandStatus("1.5_2_Reset") == "NOT_FOUND"
