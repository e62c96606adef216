import ctypes
import signal
import subprocess

import pytest

from tests.system.processes import LEFT_ALIVE_LIMIT, left_alive, reap, start_up, wait_until

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Fail a test that leaves a process behind; orphans of what it starts become ours."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    assert left_alive() == []
    yield
    wait_until(lambda: not left_alive(), LEFT_ALIVE_LIMIT, f"alive: {left_alive()}")
    reap()
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def up(tmp_path, nothing_is_left):
    """Starts stacks; those that are still there at the end are stopped."""
    stacks = []

    def start(*options, directory=tmp_path):
        stacks.append(start_up(directory, *options))
        return stacks[-1]

    yield start
    for stack in stacks:
        if stack.process.poll() is None:
            stack.process.send_signal(signal.SIGTERM)
            try:
                stack.process.wait(30)
            except subprocess.TimeoutExpired:
                stack.process.kill()
                stack.process.wait()
                pytest.fail(f"the stack does not end: {stack.said()}")
        stack.lines.close()
