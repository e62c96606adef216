"""What connects a script's process with its host: two sockets and two pipes (script host)."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO


@dataclass(frozen=True)
class HostEnds:
    """The host's ends; reading and writing them never blocks.

    Attributes:
        control: where host and process exchange messages (SOCK_SEQPACKET).
        packets: what Python code writes; a packet is a stream's number and bytes.
        stdout, stderr: read ends of the process's descriptors 1 and 2, for all that is not Python.
    """

    control: socket.socket
    packets: socket.socket
    stdout: FileIO
    stderr: FileIO

    def descriptors(self) -> tuple[int, ...]:
        """Their numbers, while they are open."""
        return tuple(end.fileno() for end in (self.control, self.packets, self.stdout, self.stderr))

    def close(self) -> None:
        """Give the descriptors back; a second time does nothing, as their numbers are others'."""
        for end in (self.control, self.packets, self.stdout, self.stderr):
            end.close()


@dataclass(frozen=True)
class ScriptEnds:
    """The ends of the script's process, as descriptors. A child inherits none by itself."""

    control: int
    packets: int
    stdout: int
    stderr: int

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in (self.control, self.packets, self.stdout, self.stderr):
            os.close(fd)


def open_channels() -> tuple[HostEnds, ScriptEnds]:
    """Open both ends.

    Raises:
        OSError: there are no descriptors left.
    """
    with ExitStack() as opened:
        control, their_control = _socket_pair(opened)
        packets, their_packets = _socket_pair(opened)
        stdout, their_stdout = _pipe(opened)
        stderr, their_stderr = _pipe(opened)
        opened.pop_all()
    control.setblocking(False)
    packets.setblocking(False)
    os.set_blocking(stdout, False)
    os.set_blocking(stderr, False)
    theirs = ScriptEnds(their_control.detach(), their_packets.detach(), their_stdout, their_stderr)
    return HostEnds(control, packets, FileIO(stdout), FileIO(stderr)), theirs


def _socket_pair(opened: ExitStack) -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for each in pair:
        opened.callback(each.close)
    return pair


def _pipe(opened: ExitStack) -> tuple[int, int]:
    pair = os.pipe()
    for each in pair:
        opened.callback(os.close, each)
    return pair
