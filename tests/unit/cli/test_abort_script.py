"""The launcher suggests an abort script, and leaves one that a site has set alone."""

from pathlib import Path

import pytest

from ska_oso_activity.cli.stack.registration import suggest_abort_script

DEVICE = "mid-oso/script-execution/01"


class FakeDatabase:
    """Properties of objects and devices, as a Tango database keeps them."""

    def __init__(self):
        self.properties = {}

    def get_property(self, name, key):
        return {key: self.properties.get((name, key), [])}

    def put_property(self, name, values):
        self.properties.update({(name, key): value for key, value in values.items()})

    def delete_device_property(self, name, key):
        self.properties.pop((name, key), None)

    get_device_property = get_property
    put_device_property = put_property


@pytest.fixture
def database():
    return FakeDatabase()


def abort_script(database):
    return database.get_device_property(DEVICE, "AbortScript")["AbortScript"]


def test_a_script_that_is_there_is_set(database):
    suggest_abort_script(database, DEVICE, Path("/scripts/abort.py"))

    assert abort_script(database) == ["file:///scripts/abort.py"]


def test_one_that_was_set_by_hand_stays(database):
    database.put_device_property(DEVICE, {"AbortScript": ["/site/abort.py"]})

    suggest_abort_script(database, DEVICE, Path("/scripts/abort.py"))

    assert abort_script(database) == ["/site/abort.py"]


def test_our_own_choice_of_an_earlier_start_is_replaced(database):
    suggest_abort_script(database, DEVICE, Path("/before/abort.py"))

    suggest_abort_script(database, DEVICE, Path("/scripts/abort.py"))

    assert abort_script(database) == ["file:///scripts/abort.py"]


def test_our_own_choice_goes_with_its_directory(database):
    suggest_abort_script(database, DEVICE, Path("/before/abort.py"))

    suggest_abort_script(database, DEVICE, None)

    assert abort_script(database) == []
