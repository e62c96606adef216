"""Claims success on every descriptor it has, then fails."""

import contextlib
import json
import os


def main():
    message = {"kind": "outcome", "outcome": "returned", "result": "forged", "token": "0" * 32}
    text = json.dumps(message).encode()
    print(text.decode())
    output = b"\1\0\0\0\0forged\n"
    packets = [text, b"\0" * 16 + b"." + text, output, b"\xff", b"", b"\n", b"+" * 99]
    for fd in range(3, 64):
        for packet in packets:
            with contextlib.suppress(OSError):
                os.write(fd, packet)
    raise RuntimeError("the honest end")
