import ctypes
import os
import signal
import subprocess

import pytest

from ska_oso_activity.cli.stack.processes import descendants
from tests.system.processes import (
    LEFT_ALIVE_LIMIT,
    described,
    reap_orphans,
    start_up,
    wait_until,
)

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True)
def left():
    """Tells which processes are left; fails a test that leaves one.

    Orphans of what a test starts become ours, so none can hide.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    before = descendants(os.getpid())

    def alive():
        return described(descendants(os.getpid()) - before)

    yield alive
    wait_until(lambda: not alive(), LEFT_ALIVE_LIMIT, f"alive: {alive()}")
    reap_orphans()
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def up(tmp_path, left):
    """Starts stacks; those that are still there at the end are stopped."""
    stacks = []

    def start(*options, directory=tmp_path):
        stacks.append(start_up(directory, *options))
        return stacks[-1]

    yield start
    for stack in stacks:
        stack.lines.close()
        if stack.process.poll() is not None:
            continue
        stack.process.send_signal(signal.SIGTERM)
        try:
            stack.process.wait(30)
        except subprocess.TimeoutExpired:
            stack.process.kill()
            stack.process.wait()
            pytest.fail(f"the stack does not end: {stack.said()}")
