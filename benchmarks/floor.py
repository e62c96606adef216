"""The floor: what Tango, the kernel and Python take, whatever we do."""

import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tango

from benchmarks.client import PATIENCE
from benchmarks.report import Figure

HERE = Path(__file__).parent
ECHO = "bench/echo/01"


def measure(
    device: tango.DeviceProxy, echo: tango.DeviceProxy, folder: Path, n: int
) -> list[Figure]:
    """All of the floor; the first two figures make up the floor that others are compared with.

    Args:
        folder: on the disk that keeps the history.
        n: how often the slow things are measured.
    """
    python = [sys.executable, "-c"]
    return [
        Figure("command: round trip (State)", timed(lambda: device.command_inout("State"), 20 * n)),
        Figure("event: push to callback", _event_hops(echo, 5 * n)),
        Figure("synced write of 4 kB", _synced_writes(folder, 2 * n)),
        Figure("fork of a small process", _forks(2 * n)),
        Figure("fork with tango imported", _forks(2 * n, "tango")),
        Figure("fresh interpreter: pass", timed(lambda: _run([*python, "pass"]), n)),
        Figure(
            "fresh interpreter: import tango", timed(lambda: _run([*python, "import tango"]), n)
        ),
    ]


def timed(work: Callable[[], object], n: int) -> list[float]:
    """Milliseconds that each of `n` calls took, after a first one that does not count."""
    work()
    samples = []
    for _ in range(n):
        before = time.perf_counter_ns()
        work()
        samples.append((time.perf_counter_ns() - before) / 1e6)
    return samples


@contextmanager
def echo_device() -> Iterator[tango.DeviceProxy]:
    """A device of our own, in its own process."""
    info = tango.DbDevInfo()
    info.name, info._class, info.server = ECHO, "Echo", "echo_device/bench"
    tango.Database().add_device(info)
    command = [sys.executable, str(HERE / "echo_device.py"), "bench"]
    command += ["-ORBendPoint", "giop:tcp:127.0.0.1:0"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield _answering(ECHO)
    finally:
        server.terminate()
        server.wait()


def _answering(name: str) -> tango.DeviceProxy:
    """The device, once its server is there."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            device = tango.DeviceProxy(name)
            device.ping()
        except tango.DevFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return device


def _event_hops(echo: tango.DeviceProxy, n: int) -> list[float]:
    arrived: queue.SimpleQueue[float] = queue.SimpleQueue()

    def on_event(event: Any) -> None:  # PyTango's types say that it has no value
        now = time.monotonic_ns()
        if not event.err:
            arrived.put((now - event.attr_value.value) / 1e6)

    subscription = echo.subscribe_event("told", tango.EventType.CHANGE_EVENT, on_event)
    arrived.get(timeout=PATIENCE)  # the value at subscription
    samples = []
    for _ in range(n):
        echo.command_inout("Tell")
        samples.append(arrived.get(timeout=PATIENCE))
    echo.unsubscribe_event(subscription)
    return samples


def _synced_writes(folder: Path, n: int) -> list[float]:
    path = folder / "synced"
    with path.open("wb", buffering=0) as file:

        def write() -> None:
            file.write(bytes(4096))
            os.fdatasync(file.fileno())

        samples = timed(write, n)
    path.unlink()
    return samples


def _forks(n: int, *modules: str) -> list[float]:
    # One thread alone may fork: numpy's would be another.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "forking.py"), str(n), *modules]
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return [int(line) / 1e6 for line in answer.stdout.split()]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True)
