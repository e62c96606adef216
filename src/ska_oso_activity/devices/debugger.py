"""DebugDevice: lets a developer on this machine attach a debugger (devices layer)."""

from __future__ import annotations

import logging
from typing import ClassVar

import tango
from tango.server import Device, command

_log = logging.getLogger(__name__)

HOST = "127.0.0.1"
LAST_PORT = 65535
COMMAND = "DebugDevice"


class Debugger:
    """debugpy, listening on this machine only.

    Args:
        port: of `HOST` to listen on.

    Raises:
        ValueError: it is no port.
    """

    listens_on: ClassVar[int | None] = None
    """The port that this process listens on: debugpy begins once and cannot end."""

    def __init__(self, port: int) -> None:
        if not 0 < port <= LAST_PORT:
            raise ValueError(
                f"property DebugPort is {port}, so there is no DebugDevice: a port is 1 to "
                f"{LAST_PORT}, and 0 is for no DebugDevice"
            )
        self._port = port

    def attach(self) -> int:
        """Listen; when it listens already, stop at a breakpoint. Returns the port.

        Raises:
            DevFailed: debugpy is not installed, the port is taken, or this process listens on
                another one.
        """
        if Debugger.listens_on not in (None, self._port):
            tango.Except.throw_exception(
                "DEBUGGER_FAILED",
                f"debugpy cannot listen on {HOST}:{self._port}: it listens on "
                f"{HOST}:{Debugger.listens_on} until the process of this server ends; set the "
                "property DebugPort to that, or start the process anew",
                COMMAND,
            )
        try:
            import debugpy  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            tango.Except.throw_exception(
                "DEBUGGER_MISSING",
                "DebugDevice needs the package debugpy, which is not installed: install it into "
                "the server's environment, or set the property DebugPort to 0",
                COMMAND,
            )
        try:
            if Debugger.listens_on is not None:
                debugpy.breakpoint()
            else:
                debugpy.listen((HOST, self._port))
                Debugger.listens_on = self._port
        except (OSError, RuntimeError) as error:
            tango.Except.throw_exception(
                "DEBUGGER_FAILED",
                f"debugpy cannot listen on {HOST}:{self._port}: {error}",
                COMMAND,
            )
        return self._port


def allow_debugging(device: Device, port: int) -> Debugger | None:
    """Have the command DebugDevice as the property DebugPort asks for, or not (any longer).

    Args:
        device: whose method `DebugDevice` the command is to call.
        port: of `HOST`; 0 for no such command.

    Raises:
        ValueError: `port` is no port; there is no such command.
    """
    if COMMAND in vars(device):  # where Tango puts a command that is added
        device.remove_command(COMMAND)
        delattr(device, COMMAND)
    if port == 0:
        if Debugger.listens_on is not None:
            _log.warning(
                "debugpy listens on %s:%d until this process ends", HOST, Debugger.listens_on
            )
        return None
    debugger = Debugger(port)
    device.add_command(
        command(
            f=device.DebugDevice,
            dtype_out="DevUShort",
            doc_out="Port of the debugger on localhost.",
        ),
        True,
    )
    return debugger
