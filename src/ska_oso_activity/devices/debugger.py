"""DebugDevice: lets a developer on this machine attach a debugger (devices layer)."""

from __future__ import annotations

import tango
from tango.server import Device

HOST = "127.0.0.1"


class Debugger:
    """debugpy, listening on this machine only.

    Args:
        port: of `HOST` to listen on.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = False

    def attach(self) -> int:
        """Listen; when it listens already, stop at a breakpoint. Returns the port.

        Raises:
            DevFailed: debugpy is not installed, or the port is taken.
        """
        try:
            import debugpy  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            tango.Except.throw_exception(
                "DEBUGGER_MISSING",
                "DebugDevice needs the package debugpy, which is not installed: install it into "
                "the server's environment, or set the property DebugPort to 0",
                "DebugDevice",
            )
        try:
            if self._listening:
                debugpy.breakpoint()
            else:
                debugpy.listen((HOST, self._port))
                self._listening = True
        except (OSError, RuntimeError) as error:
            tango.Except.throw_exception(
                "DEBUGGER_FAILED",
                f"debugpy cannot listen on {HOST}:{self._port}: {error}",
                "DebugDevice",
            )
        return self._port


def add_debug_command(device: Device) -> None:
    """Give a device the command DebugDevice."""
    from tango.server import command

    device.add_command(
        command(
            f=device.DebugDevice,
            dtype_out="DevUShort",
            doc_out="Port of the debugger on localhost.",
        ),
        True,
    )
