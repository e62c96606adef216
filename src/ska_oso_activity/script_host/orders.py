"""What host and fork server tell each other (script host, both sides).

They share a SOCK_SEQPACKET socket; a packet is one JSON object. The host orders processes by
`{"order": n}`, with the descriptors of `ScriptEnds`. The fork server says, once, `{"ready": [...]}`
with the names of the modules that it has imported beyond those of a fresh interpreter. Each order
is answered by `{"order": n, "pid": p}` or by `{"order": n, "failed": text}`. It may say
`{"refused": text}` at any time: it cannot fork safely, now or ever.

A fork server is started anew by the same host, perhaps after an upgrade in place, so this is only
ever added to.
"""

from __future__ import annotations

import json
import socket
from array import array
from typing import Any

PACKET_LIMIT = 64 * 1024

BORN = b"born"
"""What a new process sends on its control socket once it can be given its script, and signalled."""


def send(sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send a message and, with it, descriptors."""
    socket.send_fds(sock, [json.dumps(message).encode("ascii")], fds)


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """The next packet, and the descriptors with it, which no child inherits."""
    room = socket.CMSG_LEN(4 * array("i").itemsize)
    # `socket.recv_fds` takes flags and leaves them away.
    packet, extras, _, _ = sock.recvmsg(PACKET_LIMIT, room, socket.MSG_CMSG_CLOEXEC)
    fds = array("i")
    for level, kind, data in extras:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return packet, list(fds)


def decode(packet: bytes) -> dict[str, Any]:
    """The message in a packet; an empty one if it is none."""
    try:
        message = json.loads(packet)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
