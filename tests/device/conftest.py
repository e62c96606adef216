"""Stacks, each started once, by pytest's own process; tests are forked and only talk to them.

A fixture of a forked test is made in the child, so that a stack made by a fixture would be one for
each test. This process starts them instead, when the first test asks, and never talks to Tango.
"""

import faulthandler
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.device.client import Client
from tests.device.stack import Stack

_stacks: dict[str, Stack] = {}
_failures: dict[str, str] = {}
STACKS: dict[str, tuple[str, ...]] = {
    "stack": (),
    "fragile_stack": (),
    "telescope_stack": ("--simulate-tmc", "--subarrays", "16", "--tmc-delay", "0.05"),
}
"""With the options that each is started with."""
FORKED = {*STACKS, "own_stack"}
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # of all folders: others have fixtures of the same names
        if item.path.parent == HERE and FORKED & set(getattr(item, "fixturenames", [])):
            item.add_marker(pytest.mark.forked)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    for name in set(STACKS) & set(getattr(item, "fixturenames", [])):
        if name not in _stacks:
            _stacks[name] = Stack(*STACKS[name])
            try:
                _stacks[name].start()
            except (OSError, RuntimeError, ValueError) as error:
                _failures[name] = str(error)
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    while _stacks:
        _stacks.popitem()[1].stop()


def _connect(name: str) -> Stack:
    if name in _failures:
        pytest.fail(_failures[name])
    _give_up_in_time()
    os.environ["TANGO_HOST"] = _stacks[name].tango_host
    return _stacks[name]


def _give_up_in_time() -> None:
    """Says where a test hangs, and ends it: pytest-timeout does not see into forked children."""
    faulthandler.dump_traceback_later(100, exit=True, file=sys.__stderr__)


@pytest.fixture
def stack() -> Stack:
    """The stack that most tests share; a test leaves it as it was."""
    return _connect("stack")


@pytest.fixture
def client(stack: Stack) -> Client:
    return Client()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that scripts wait for; it is there after the test, so that none is left running."""
    yield tmp_path / "gate"
    (tmp_path / "gate").touch()


@pytest.fixture
def fragile_stack() -> Stack:
    """The stack whose servers are killed, initialised and given other properties."""
    return _connect("fragile_stack")


@pytest.fixture
def telescope_stack() -> Stack:
    """The stack with simulators of both telescopes' TMC."""
    return _connect("telescope_stack")


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    """A stack for one test alone, where nothing has happened yet."""
    _give_up_in_time()
    own = Stack()
    try:
        own.start()
        os.environ["TANGO_HOST"] = own.tango_host
        yield own
    finally:
        own.stop()
