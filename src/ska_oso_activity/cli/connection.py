"""Finds the device that a command of the command line is for (cli)."""

from __future__ import annotations

import os

from ska_oso_activity.cli.errors import UsageError
from ska_oso_activity.client import ActivityClient, AmbiguousDevice, DeviceAway
from ska_oso_activity.client.devices import tango_host_of
from ska_oso_activity.client.tango_device import errors_of

SUBMIT_LIMIT = 10.0
"""Seconds in which a device that does not answer is sent the same request again."""


def connect(device: str | None, tango_host: str | None) -> ActivityClient:
    """A client of the ActivityDevice that is named, or of the only one that there is.

    Raises:
        DeviceAway: the Tango database or the device does not answer.
        UsageError: it must be named.
    """
    tango_host = tango_host_of(tango_host)
    host, colon, port = tango_host.partition(":")
    if not (host and colon and port.isdecimal()):
        raise UsageError(f"the Tango database is given as HOST:PORT, not {tango_host!r}")
    # The event system of cppTango looks there too.
    os.environ["TANGO_HOST"] = tango_host
    if device is None:
        _look_for_database(tango_host)
    try:
        client = ActivityClient(device, tango_host=tango_host)
    except AmbiguousDevice as several:
        raise UsageError(f"{several}, with --device") from several
    except DeviceAway as away:
        if device is not None:
            raise
        raise DeviceAway(f"{away} --tango-host names another") from away
    client.device.device.call("State")
    if (found := client.device.device.class_name()) != "ActivityDevice":
        raise UsageError(f"{device} is a {found}, not an ActivityDevice")
    return client


def _look_for_database(tango_host: str) -> None:
    import tango

    host, _, port = tango_host.partition(":")
    try:
        with errors_of(f"the Tango database {tango_host}"):
            tango.Database(host, int(port))
    except DeviceAway as away:
        raise DeviceAway(
            f"{away}. `ska-oso-activity up` starts a stack; TANGO_HOST or --tango-host names "
            "the database of one that runs"
        ) from away
