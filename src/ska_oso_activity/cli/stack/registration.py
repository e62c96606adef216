"""Enters our devices into a Tango database (cli)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tango

from ska_oso_activity.cli.stack.description import Device

PARKED = "unused"
"""Server instance that devices of the other telescope are moved to; no such server is started."""
_NOTE = "ska-oso-activity-up"
"""Free property of the database: what we once chose for properties that are a site's to set."""


def register(database: tango.Database, devices: Sequence[Device]) -> None:
    """Make the servers of `devices` have these and no others, with these properties.

    Properties that the description does not name are left as they are.
    """
    names = {device.name.lower() for device in devices}
    for server in dict.fromkeys(device.server for device in devices):
        _park_others(database, server, names)
        infos = [_info(d.name, d.device_class, server) for d in devices if d.server == server]
        database.add_server(server, infos, with_dserver=True)
    for device in devices:
        _put_properties(database, device)


def suggest_abort_script(database: tango.Database, device: str, script: Path | None) -> None:
    """Set `AbortScript` of a ScriptExecution device, unless somebody set it by hand."""
    ours = list(database.get_property(_NOTE, "AbortScript")["AbortScript"])
    now = list(database.get_device_property(device, "AbortScript")["AbortScript"])
    if now and now != ours:
        return
    if script is None:
        database.delete_device_property(device, "AbortScript")
        return
    chosen: dict[str, object] = {"AbortScript": [script.as_uri()]}
    database.put_device_property(device, chosen)
    database.put_property(_NOTE, chosen)


def _park_others(database: tango.Database, server: str, keep: set[str]) -> None:
    """Move other devices off a server, which would serve them too; they keep their properties.

    There are some when a state directory is used for the one telescope and then for the other.
    """
    names_and_classes = list(database.get_device_class_list(server))
    for name, device_class in zip(names_and_classes[::2], names_and_classes[1::2], strict=True):
        if device_class != "DServer" and name.lower() not in keep:
            program = server.split("/", maxsplit=1)[0]
            database.add_device(_info(name, device_class, f"{program}/{PARKED}"))


def _info(name: str, device_class: str, server: str) -> tango.DbDevInfo:
    info = tango.DbDevInfo()
    info.name, info._class, info.server = name, device_class, server
    return info


def _put_properties(database: tango.Database, device: Device) -> None:
    for name, values in device.properties.items():
        if values:
            database.put_device_property(device.name, {name: values})
        else:
            # An empty list would leave the value of an earlier start.
            database.delete_device_property(device.name, name)
