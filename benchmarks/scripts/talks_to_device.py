"""What observing scripts do: import tango, and command a device."""

import time

import tango


def main(device):
    entered = time.monotonic_ns()
    tango.DeviceProxy(device).command_inout("State")
    answered = time.monotonic_ns()
    return {"entered": entered, "answered": answered, "left": time.monotonic_ns()}
