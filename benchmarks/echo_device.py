"""The least that a device can do: push an event with the time. A program of its own."""

import time

from tango.server import Device, attribute, command, run


class Echo(Device):
    """Tells the time when asked to."""

    def init_device(self):
        super().init_device()
        self._told = 0
        self.set_change_event("told", True, False)

    @attribute(dtype="DevLong64")
    def told(self):
        return self._told

    @command
    def Tell(self):  # noqa: N802 - Tango's names
        self._told = time.monotonic_ns()
        self.push_change_event("told", self._told)


if __name__ == "__main__":
    run((Echo,))
