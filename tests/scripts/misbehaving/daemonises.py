"""Leaves a daemon behind: forked twice, in a session of its own, without environment if told so."""

import os
import signal
import time
from pathlib import Path


def main(pid_file, *, forget_environment=False, new_session=True, then="return"):
    reader, writer = os.pipe()
    if os.fork() == 0:
        if new_session:
            os.setsid()
        if os.fork() == 0:
            daemon(pid_file, writer, forget_environment=forget_environment)
        os._exit(0)
    os.close(writer)
    os.wait()
    os.read(reader, 1)  # until the daemon has written its pid
    if then == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while then == "sleep":
        time.sleep(1)


def daemon(pid_file, writer, *, forget_environment):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Path(pid_file).write_text(str(os.getpid()))
    os.write(writer, b"1")
    if forget_environment:
        os.execve("/bin/sleep", ["sleep", "1000"], {})
    time.sleep(1000)
    os._exit(0)
