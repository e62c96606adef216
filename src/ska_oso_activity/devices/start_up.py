"""Starts a device server so that nobody is answered before it is complete (devices layer).

cppTango exports the admin device a moment before it can be used. A subscription that comes then
leaves the event socket half made: no event is ever delivered by that server, while commands go on
working. So all requests wait for the end of the start; and should the socket be broken all the
same, the server ends, and whoever looks after it starts another.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack

import tango
from tango.server import Device, run

_log = logging.getLogger(__name__)

_NO_PORT = re.compile(r"tcp://.*:$")
"""What the admin device calls an event socket that was never bound."""


class StartUp:
    """The start of this process's server: holds all requests back until it is over."""

    def __init__(self) -> None:
        self._under_way = False
        self._held = ExitStack()

    def begin(self) -> None:
        """No device is there yet; those that come are all guarded by one and the same monitor."""
        tango.Util.instance().set_serial_model(tango.SerialModel.BY_PROCESS)
        self._under_way = True

    def hold_requests(self, device: Device) -> None:
        """Have requests wait from now on; called by the thread that starts the server.

        Does nothing once the server is up, or where it was not started by `serve`.
        """
        if self._under_way:
            self._under_way = False
            self._held.enter_context(tango.AutoTangoMonitor(device))

    def end(self) -> None:
        """The server is complete: let requests in, unless it can never deliver an event."""
        self._under_way = False
        tango.Util.instance().set_serial_model(tango.SerialModel.BY_DEVICE)
        self._held.close()
        endpoint = _broken_endpoint()
        if endpoint is not None:
            _log.critical(
                "a subscription came too early and left the event socket without a port (%s): "
                "no event would ever be delivered, so this server ends, to be started again",
                endpoint,
            )
            os._exit(1)


START_UP = StartUp()
"""That of this process; Tango, too, has one server in a process."""


def serve(device_class: type[Device], words: Sequence[str]) -> int:
    """Run the server of a class, as any Tango server is run."""
    arguments = [device_class.__name__, *words]
    code = run(
        (device_class,),
        args=arguments,
        pre_init_callback=START_UP.begin,
        post_init_callback=START_UP.end,
    )
    return int(code or 0)


def _broken_endpoint() -> str | None:
    """What our own admin device says of an event socket that has no port; None: all is well."""
    try:
        admin = tango.DeviceProxy(f"dserver/{tango.Util.instance().get_ds_name()}")
        _, endpoints = admin.command_inout("ZmqEventSubscriptionChange", ["info"])
    except tango.DevFailed as error:
        _log.warning("the event socket could not be looked at: %s", error.args[0].desc)
        return None
    return next((text for text in endpoints if _NO_PORT.search(text)), None)
