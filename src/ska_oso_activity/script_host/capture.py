"""Takes in what a script writes and appends it to its output log (script host)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial

from ska_oso_activity.script_host.channels import HostEnds
from ska_oso_activity.script_host.frames import OUTPUT_HEAD, OUTPUT_PACKET_LIMIT, hung_up
from ska_oso_activity.script_host.lines import StreamLines
from ska_oso_activity.script_host.loop import Loop
from ska_oso_activity.script_host.output import OutputWriter

STREAMS: Mapping[int, str] = {1: "stdout", 2: "stderr", 3: "log"}
"""What the stream's number in a packet means."""

NATIVE = 0
"""Stands for whatever writes to a pipe, where there is no telling who it is."""

LAST_TURNS = 64
"""More than what can be waiting. Who still writes at the end was handed a descriptor by the script,
and is no process of it."""

TURN_BYTES = 64 * 1024
"""How much one script may write before the others get their turn."""


class OutputCapture:
    """Reads a script's output socket and pipes.

    Python code writes to the socket only, so its lines stay in order over all three streams. What
    comes through the pipes is put among them as it arrives.
    """

    def __init__(
        self,
        loop: Loop,
        ends: HostEnds,
        writer: OutputWriter,
        on_lines: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._packets = ends.packets
        self._pipes = {"stdout": ends.stdout.fileno(), "stderr": ends.stderr.fileno()}
        self._writer = writer
        self._on_lines = on_lines
        self._lines = {stream: StreamLines() for stream in STREAMS.values()}
        loop.watch(ends.packets.fileno(), self._read_packets)
        for stream, fd in self._pipes.items():
            loop.watch(fd, partial(self._read_pipe, stream, fd))

    def finish(self) -> None:
        """Read all that is there, and take unfinished lines as they are: nothing more will come."""
        for stream, fd in self._pipes.items():
            _repeat(partial(self._read_pipe, stream, fd))
        _repeat(self._read_packets)
        self._keep(
            [(stream, text) for stream, lines in self._lines.items() for text in lines.finish()]
        )
        for fd in (self._packets.fileno(), *self._pipes.values()):
            self._loop.unwatch(fd)
        self._writer.close()

    def _read_packets(self) -> bool:
        """Read some packets; whether there may be more."""
        lines: list[tuple[str, str]] = []
        size = 0
        more = True
        while more and size < TURN_BYTES:
            try:
                packet = self._packets.recv(OUTPUT_PACKET_LIMIT)
            except BlockingIOError:
                more = False
                break
            except OSError:
                packet = b""
            if not packet and hung_up(self._packets):
                self._loop.unwatch(self._packets.fileno())
                more = False
                break
            size += len(packet) + 64  # many small packets are work too
            if len(packet) < OUTPUT_HEAD.size:
                continue
            number, writer = OUTPUT_HEAD.unpack_from(packet)
            stream = STREAMS.get(number)
            if stream:
                texts = self._lines[stream].feed(writer, packet[OUTPUT_HEAD.size :])
                lines.extend((stream, text) for text in texts)
        self._keep(lines)
        return more

    def _read_pipe(self, stream: str, fd: int) -> bool:
        """Read some; whether there may be more."""
        try:
            data = os.read(fd, TURN_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.unwatch(fd)
            return False
        self._keep([(stream, text) for text in self._lines[stream].feed(NATIVE, data)])
        return True

    def _keep(self, lines: list[tuple[str, str]]) -> None:
        if lines:
            self._writer.write(lines)
            self._on_lines()


def _repeat(read: Callable[[], bool]) -> None:
    """Read until there is nothing more."""
    for _ in range(LAST_TURNS):
        if not read():
            return
