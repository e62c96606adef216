"""A TmcSimulator in a process of its own, without a Tango database."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import tango

START_LIMIT = 30.0
ATTEMPTS = 3
MID = {
    "mid-tmc/central-node/0": "CentralNodeMid",
    "mid-tmc/subarray/01": "SubarrayNodeMid",
    "mid-tmc/subarray/02": "SubarrayNodeMid",
}
LOW = {
    "low-tmc/central-node/0": "CentralNodeLow",
    "low-tmc/subarray/01": "SubarrayNodeLow",
}


class TmcServer:
    """While entered, the server runs.

    Args:
        devices: classes by the names of the devices.
        properties: of all devices, by their names.
    """

    def __init__(
        self,
        devices: Mapping[str, str] | None = None,
        properties: Mapping[str, object] | None = None,
    ) -> None:
        self.devices = dict(devices or {**MID, **LOW})
        self.properties = dict(properties or {})
        self._directory = tempfile.TemporaryDirectory(prefix="tmc-simulator-")
        self.log = Path(self._directory.name, "log")

    def trl(self, name: str) -> str:
        """What a DeviceProxy is to be made of, in any process."""
        return f"tango://127.0.0.1:{self.port}/{name}#dbase=no"

    def device(self, name: str) -> tango.DeviceProxy:
        return tango.DeviceProxy(self.trl(name))

    def __enter__(self) -> "TmcServer":
        for _ in range(ATTEMPTS):
            if self._start():
                return self
        raise RuntimeError(f"TmcSimulator did not start: {self.log.read_text()}")

    def _start(self) -> bool:
        """Start the server; whether it came up, as somebody else may have taken its port."""
        file = Path(self._directory.name, "devices")
        file.write_text("".join(self._lines()))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = ["-m", "ska_oso_activity.simulators.server", "test", f"-file={file}"]
        words += ["-ORBendPoint", f"giop:tcp:127.0.0.1:{self.port}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_LIMIT
        while not self._is_up():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                return False
        return True

    def _lines(self) -> list[str]:
        lines = []
        for each in sorted(set(self.devices.values())):
            names = ", ".join(f'"{name}"' for name, of in self.devices.items() if of == each)
            lines.append(f"TmcSimulator/test/DEVICE/{each}: {names}\n")
        for name in self.devices:
            lines += [f"{name}->{key}: {value}\n" for key, value in self.properties.items()]
        return lines

    def _is_up(self) -> bool:
        """Whether the last of the devices answers; asking takes a while if it does not."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                pass
            return self.device(list(self.devices)[-1]).state() == tango.DevState.ON
        except (OSError, tango.DevFailed):
            time.sleep(0.1)
            return False

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._directory.cleanup()
