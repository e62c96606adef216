"""The attributes and commands that the contract lists: types, dimensions, labels, events."""

import json

import pytest
import tango
from tango import AttrDataFormat, AttrWriteType, CmdArgType, EventType

from tests.device.client import Client
from tests.device.stack import ACTIVITY_DEVICE, SCRIPT_EXECUTION, Stack

ACTIVITY_STATES = [
    "NONE",
    "REQUESTED",
    "PREPARING",
    "READY",
    "RUNNING",
    "STOPPING",
    "SUCCEEDED",
    "FAILED",
    "STOPPED",
    "UNKNOWN",
]
PROCEDURE_STATES = [
    "UNKNOWN",
    "CREATING",
    "PREP_ENV",
    "IDLE",
    "LOADING",
    "INITIALISING",
    "READY",
    "RUNNING",
    "COMPLETE",
    "STOPPED",
    "FAILED",
]
SCALAR, SPECTRUM = AttrDataFormat.SCALAR, AttrDataFormat.SPECTRUM
STRING, LONG64, ENUM = CmdArgType.DevString, CmdArgType.DevLong64, CmdArgType.DevEnum
ACTIVITY_ATTRIBUTES = {
    "activityState": (ENUM, SCALAR, 1, 0),
    "activityId": (LONG64, SCALAR, 1, 0),
    "activityEvent": (STRING, SCALAR, 1, ""),
    "activities": (STRING, SPECTRUM, 100, []),
    "subarrayActivityState": (ENUM, SPECTRUM, 16, [0] * 16),
    "subarrayActivityId": (LONG64, SPECTRUM, 16, [0] * 16),
    "activityProgress": (CmdArgType.DevDouble, SCALAR, 1, 0.0),
    "activityMessage": (STRING, SCALAR, 1, ""),
    "activeActivities": (CmdArgType.DevLong, SCALAR, 1, 0),
}
PROCEDURE_ATTRIBUTES = {
    "procedureState": (ENUM, SCALAR, 1, 0),
    "procedureId": (LONG64, SCALAR, 1, 0),
    "procedureEvent": (STRING, SCALAR, 1, ""),
    "procedures": (STRING, SPECTRUM, 100, []),
    "scriptOutput": (STRING, SCALAR, 1, ""),
    "scriptProgress": (STRING, SCALAR, 1, ""),
    "scriptMessage": (STRING, SCALAR, 1, ""),
    "processCheck": (STRING, SCALAR, 1, ""),
}
SKA_ATTRIBUTES = {
    "longRunningCommandsInQueue": (STRING, SPECTRUM, 192, []),
    "longRunningCommandIDsInQueue": (STRING, SPECTRUM, 192, []),
    "longRunningCommandStatus": (STRING, SPECTRUM, 384, []),
    "longRunningCommandInProgress": (STRING, SPECTRUM, 128, []),
    "longRunningCommandProgress": (STRING, SPECTRUM, 256, []),
    "longRunningCommandResult": (STRING, SPECTRUM, 2, ["", ""]),
    "lrcQueue": (STRING, SPECTRUM, 192, []),
    "lrcExecuting": (STRING, SPECTRUM, 129, []),
    "lrcFinished": (STRING, SPECTRUM, 100, []),
}
OF_DEVICE = {
    ACTIVITY_DEVICE: ACTIVITY_ATTRIBUTES | SKA_ATTRIBUTES,
    SCRIPT_EXECUTION: PROCEDURE_ATTRIBUTES | SKA_ATTRIBUTES,
}
EACH = [(device, name) for device, attributes in OF_DEVICE.items() for name in attributes]
LRC = (CmdArgType.DevString, CmdArgType.DevVarLongStringArray)
ASK = (CmdArgType.DevString, CmdArgType.DevString)
BY_NUMBER = (CmdArgType.DevLong64, CmdArgType.DevString)
COMMANDS = {
    ACTIVITY_DEVICE: {
        "RunActivity": LRC,
        "StartActivity": LRC,
        "StopActivity": LRC,
        "ValidateActivity": LRC,
        "DescribeSchedulingBlock": LRC,
        "GetActivity": ASK,
        "ListActivities": ASK,
        "EventsSince": BY_NUMBER,
        "Abort": (CmdArgType.DevVoid, CmdArgType.DevVarLongStringArray),
        "CheckLongRunningCommandStatus": ASK,
    },
    SCRIPT_EXECUTION: {
        "PrepareProcess": ASK,
        "CheckProcess": ASK,
        "StartProcess": ASK,
        "StopProcess": ASK,
        "GetProcess": BY_NUMBER,
        "GetCheck": ASK,
        "GetOutput": ASK,
        "EventsSince": BY_NUMBER,
        "Abort": (CmdArgType.DevVoid, CmdArgType.DevVarLongStringArray),
        "CheckLongRunningCommandStatus": ASK,
    },
}


def plain(value):
    return (
        []
        if value is None
        else list(value)
        if hasattr(value, "__len__") and not isinstance(value, str)
        else value
    )


@pytest.mark.parametrize(("device", "name"), EACH)
def test_type_and_dimensions(stack: Stack, device: str, name: str):
    proxy = tango.DeviceProxy(device)
    config = proxy.get_attribute_config_ex(name)[0]

    data_type, data_format, max_dim_x, _ = OF_DEVICE[device][name]
    assert name in proxy.get_attribute_list()
    assert CmdArgType.values[config.data_type] == data_type
    assert (config.data_format, config.max_dim_x) == (data_format, max_dim_x)
    assert config.writable == AttrWriteType.READ
    assert config.disp_level == tango.DispLevel.OPERATOR


@pytest.mark.parametrize("device", [ACTIVITY_DEVICE, SCRIPT_EXECUTION])
@pytest.mark.parametrize("kind", [EventType.CHANGE_EVENT, EventType.ARCHIVE_EVENT])
def test_every_attribute_can_be_subscribed_without_polling(
    stack: Stack, device: str, kind: EventType
):
    proxy = tango.DeviceProxy(device)
    failed = {}

    for name in proxy.get_attribute_list():
        assert not proxy.is_attribute_polled(name)
        try:
            proxy.unsubscribe_event(proxy.subscribe_event(name, kind, lambda event: None))
        except tango.DevFailed as error:
            failed[name] = error.args[0].reason

    assert failed == {}


def test_the_states_have_the_labels_of_the_contract(stack: Stack):
    activity, executor = tango.DeviceProxy(ACTIVITY_DEVICE), tango.DeviceProxy(SCRIPT_EXECUTION)

    labels = [
        list(proxy.get_attribute_config(name).enum_labels)
        for proxy, name in (
            (activity, "activityState"),
            (activity, "subarrayActivityState"),
            (executor, "procedureState"),
        )
    ]

    assert labels == [ACTIVITY_STATES, ACTIVITY_STATES, PROCEDURE_STATES]
    assert activity.get_attribute_config("activityProgress").unit == "%"


@pytest.mark.parametrize("device", [ACTIVITY_DEVICE, SCRIPT_EXECUTION])
def test_commands_have_the_types_of_the_contract_and_are_described(stack: Stack, device: str):
    proxy = tango.DeviceProxy(device)
    infos = {info.cmd_name: info for info in proxy.command_list_query()}

    types = {name: (infos[name].in_type, infos[name].out_type) for name in COMMANDS[device]}

    assert types == COMMANDS[device]
    for name in COMMANDS[device]:
        assert "Uninitialised" not in (infos[name].in_type_desc, infos[name].out_type_desc)


@pytest.mark.parametrize("device", [ACTIVITY_DEVICE, SCRIPT_EXECUTION])
def test_an_always_on_software_device(stack: Stack, device: str):
    proxy = tango.DeviceProxy(device)

    assert proxy.state() == tango.DevState.ON
    assert (proxy.adminMode, proxy.healthState) == (0, 0)
    assert list(proxy.lrcProtocolVersions) == [1, 2]
    assert proxy.info().dev_class == {ACTIVITY_DEVICE: "ActivityDevice"}.get(
        device, "ScriptExecution"
    )


def test_values_before_the_first_activity(own_stack: Stack):
    client = Client()

    for device, attributes in OF_DEVICE.items():
        proxy = tango.DeviceProxy(device)
        read = {name: plain(proxy.read_attribute(name).value) for name in attributes}
        assert read == {name: initial for name, (_, _, _, initial) in attributes.items()}
    assert client.list() == []
    assert json.loads(client.device.EventsSince(0)) == []
    assert json.loads(client.executor.EventsSince(0)) == []
    first = client.run(own_stack.block_of("takes_nothing.py"))
    assert first.activity["activity_id"] == 1
    assert [event["seq"] for event in first.events] == [1, 2, 3, 4, 5]
