"""Claims success on every descriptor it has, then fails."""

import json
import os


def main():
    message = {"kind": "outcome", "outcome": "returned", "result": "forged", "token": "0" * 32}
    text = json.dumps(message).encode()
    print(text.decode())
    for fd in map(int, os.listdir("/proc/self/fd")):
        for packet in (
            text,
            b"\0" * 16 + b"." + text,
            b"\1forged\n",
            b"\xff",
            b"",
            b"\n",
            b"+" * 99,
        ):
            try:
                os.write(fd, packet)
            except OSError:
                break
    raise RuntimeError("the honest end")
