"""Lets scripts end politely before the stack goes down (cli)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import tango

PATIENCE = 6.0
"""Seconds for scripts to end: their grace (3 s), the 2 s that a stop may take on top, a reserve."""
TIMEOUT_MS = 1000
_ENDED = frozenset({"COMPLETE", "STOPPED", "FAILED"})


def stop_scripts(
    tango_host: str,
    activity: str,
    executor: str,
    *,
    say: Callable[[str], None],
    wait_until: Callable[[Callable[[], bool], float], bool],
) -> None:
    """Stop what runs, as an operator would, so that scripts clean up and the history says STOPPED.

    Devices that do not answer are left alone: the script host's end ends scripts too.

    Args:
        wait_until: waits for a condition, for so many seconds at most; whether it came true.
    """
    try:
        devices = [_connect(f"tango://{tango_host}/{name}") for name in (activity, executor)]
        running = _running(*devices)
        if not running:
            return
        say(f"stopping {running} script{'s' if running > 1 else ''}; once more kills them at once")
        for device in devices:
            device.command_inout("Abort")
    except tango.DevFailed:
        return

    def over() -> bool:
        try:
            return _running(*devices) == 0
        except tango.DevFailed:
            return True

    if not wait_until(over, PATIENCE):
        say("not all scripts have ended; the rest is killed")


def _connect(name: str) -> tango.DeviceProxy:
    device = tango.DeviceProxy(name)
    device.set_timeout_millis(TIMEOUT_MS)
    return device


def _running(activity: tango.DeviceProxy, executor: tango.DeviceProxy) -> int:
    """How many activities and scripts are not finished; an activity and its script are one."""
    activities = int(_value(activity, "activeActivities"))
    procedures = [json.loads(text) for text in _value(executor, "procedures") or ()]
    return max(activities, sum(each["state"] not in _ENDED for each in procedures))


def _value(device: tango.DeviceProxy, attribute: str) -> Any:
    return device.read_attribute(attribute).value  # type: ignore[attr-defined]
