"""Script hosts for tests: one for all tests of scripts, and new ones for tests of hosts."""

from __future__ import annotations

import textwrap

import pytest

from tests.integration.script_host.house import House


@pytest.fixture(scope="session", params=["warm", "fresh"])
def shared_house(tmp_path_factory, request):
    """One host for many tests, in a path longer than a socket's address may be.

    Scripts must not notice how their process came to be, so every test is run for both ways.
    """
    directory = tmp_path_factory.mktemp("host") / ("long" * 30) / "host"
    house = House(directory, warm=4 if request.param == "warm" else -1)
    if request.param == "warm":
        house.wait_warm()
    yield house
    house.tear_down()


@pytest.fixture
def house(shared_house):
    """The shared host, on which every test must leave nothing running."""
    yield shared_house
    left = shared_house.marked()
    assert left == [], f"processes {left} of the test's scripts are still alive"


@pytest.fixture
def make_house(tmp_path):
    """Makes a host of the test's own, ended when the test ends."""
    houses = []

    def make(name="host", **options):
        houses.append(House(tmp_path / name, **options))
        return houses[-1]

    yield make
    for each in houses:
        each.tear_down()


@pytest.fixture
def write_script(tmp_path):
    """Writes a script and gives its path."""

    def write(text, name="script_under_test.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write
