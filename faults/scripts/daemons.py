"""Leaves a daemon behind, forked twice, in a session of its own, that ignores signals."""

import os
import signal
import time

from notes import note


def main(then):
    note("entered")
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            note("daemon")
            os.write(writer, b"1")
            while True:
                time.sleep(600)
        os._exit(0)
    os.close(writer)
    os.wait()
    os.read(reader, 1)  # until the daemon has told its pid
    if then == "sleep":
        time.sleep(600)
    elif then == "die":
        os._exit(7)
    else:
        time.sleep(0.2)
    note("left")
