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
from typing import Any

PACKET_LIMIT = 64 * 1024

BORN = b"born"
"""What a new process sends on its control socket once it can be given its script, and signalled."""


def send(sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send a message and, with it, descriptors."""
    socket.send_fds(sock, [json.dumps(message).encode("ascii")], fds)


def decode(packet: bytes) -> dict[str, Any]:
    """The message in a packet; an empty one if it is none."""
    try:
        message = json.loads(packet)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
