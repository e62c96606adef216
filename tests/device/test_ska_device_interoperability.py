"""Our devices against ska-tango-base itself, where it is installed: the extra `ska-base`.

The packages are not on PyPI. Without them these tests are skipped and say so; what they would find
is tested by the table of `test_ska_device.py` and by our own client, `tests/lrc_client.py`.
"""

import importlib
import json
import threading
from types import ModuleType
from typing import Any

import pytest
import tango

from tests.device.stack import ACTIVITY_DEVICE, SCRIPT_EXECUTION, Stack

OURS_LEAVES_OUT = {"DebugDevice", "ExecutePendingOperations"}
"""The contract: absent unless a property enables it, and not needed."""


COMPLETED = 5


def required(name: str) -> ModuleType:
    """A module of ska-tango-base or ska-tango-testing; skips, with the reason, if there is none."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{name} cannot be imported ({error}): install the extra ska-base to run this")


@pytest.mark.parametrize("device", [ACTIVITY_DEVICE, SCRIPT_EXECUTION])
def test_every_attribute_and_command_of_ska_base_device_is_here(stack: Stack, device: str):
    theirs = required("ska_tango_base").SKABaseDevice.TangoClassClass
    proxy = tango.DeviceProxy(device)
    wrong: dict[str, Any] = {}

    for name, declared in theirs.attr_list.items():
        if name not in proxy.get_attribute_list():
            wrong[name] = "is missing"
            continue
        config = proxy.get_attribute_config_ex(name)[0]
        kinds = {tango.CmdArgType.values[config.data_type], declared.attr_type}
        if len(kinds) > 1 and declared.attr_type != tango.CmdArgType.DevEnum:
            wrong[name] = kinds
        if (config.data_format, config.writable) != (declared.attr_format, declared.attr_write):
            wrong[name] = (config.data_format, config.writable)
    for name, ((takes, _), (gives, _), *_) in theirs.cmd_list.items():
        if name in OURS_LEAVES_OUT:
            continue
        if name not in proxy.get_command_list():
            wrong[name] = "is missing"
            continue
        command = proxy.get_command_config(name)
        if (command.in_type, command.out_type) != (takes, gives):
            wrong[name] = (command.in_type, command.out_type)

    assert wrong == {}


@pytest.mark.parametrize("version", [1, 2])
def test_their_client_follows_an_activity(
    stack: Stack, version: int, monkeypatch: pytest.MonkeyPatch
):
    client = required("ska_tango_base.long_running_commands_api")
    # It takes the newest version that both sides speak, and has no parameter to say otherwise.
    monkeypatch.setattr(client, "_SUPPORTED_LRC_PROTOCOL_VERSIONS", (1, version))
    told: list[dict[str, Any]] = []
    ended = threading.Event()

    def take(**news: Any) -> None:
        told.append(news)
        if news.get("status") is not None and int(news["status"]) == COMPLETED:
            ended.set()

    request = {"sbd_id": stack.block_of("takes_nothing.py"), "activity_name": "observe"}
    subscription = client.invoke_lrc(
        take, tango.DeviceProxy(ACTIVITY_DEVICE), "RunActivity", (json.dumps(request),)
    )

    assert ended.wait(30), told
    assert [each["error"] for each in told if each.get("error")] == []
    seen = [int(each["status"]) for each in told if each.get("status") is not None]
    assert list(dict.fromkeys(seen)) == [0, 1, 2, COMPLETED]
    assert [each["result"][0] for each in told if each.get("result") is not None] == [0]
    assert subscription.protocol_version == version


def test_the_event_tracer_of_ska_tango_testing_sees_an_activity(stack: Stack):
    integration = required("ska_tango_testing.integration")
    tracer = integration.TangoEventTracer()
    for name in ("activityState", "longRunningCommandResult", "adminMode"):
        tracer.subscribe_event(ACTIVITY_DEVICE, name)
    request = {"sbd_id": stack.block_of("takes_nothing.py"), "activity_name": "observe"}

    (_,), (command_id,) = tango.DeviceProxy(ACTIVITY_DEVICE).RunActivity(json.dumps(request))

    found = tracer.query_events(
        lambda event: (
            event.attribute_name.lower() == "longrunningcommandresult"
            and event.attribute_value[0] == command_id
        ),
        timeout=30,
    )
    assert len(found) == 1
