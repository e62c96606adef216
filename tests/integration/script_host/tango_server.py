"""A device server without a database, for scripts to talk to; prints its device's address."""

from __future__ import annotations

import socket

from tango import AttrWriteType, GreenMode
from tango.server import Device, attribute, command, run


class Counter(Device):
    """Counts, and pushes what it has counted."""

    green_mode = GreenMode.Synchronous

    def init_device(self):
        super().init_device()
        self._count = 0
        self.set_change_event("count", True, False)

    @attribute(dtype=int, access=AttrWriteType.READ)
    def count(self):
        return self._count

    @command(dtype_in=int, dtype_out=int)
    def Add(self, number):  # noqa: N802
        self._count += number
        self.push_change_event("count", self._count)
        return self._count


def main():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def tell():
        print(f"tango://127.0.0.1:{port}/test/counter/1#dbase=no", flush=True)

    end_point = ["-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
    args = ["Counter", "test", "-nodb", "-dlist", "test/counter/1", *end_point]
    run((Counter,), args=args, post_init_callback=tell)


if __name__ == "__main__":
    main()
