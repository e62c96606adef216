"""Which function is called, and with what."""

from __future__ import annotations

import functools
from types import ModuleType

import pytest

from ska_oso_activity.script_host.child.calling import (
    Arguments,
    CannotCall,
    Platform,
    check_call,
    find_function,
    init_arguments,
    start_arguments,
    startable,
)

PLATFORM = Platform(subarray_id=3, block_path="/sbs/b.json")
NOTHING = Platform(subarray_id=None, block_path=None)


def module(**contents):
    made = ModuleType("script")
    vars(made).update(contents)
    return made


def started(function, *args, platform=PLATFORM, **kwargs):
    return start_arguments(function, Arguments(args, kwargs), platform).kwargs


def initialised(function, *args, platform=PLATFORM, **kwargs):
    return init_arguments(function, Arguments(args, kwargs), platform).kwargs


class Telescope:
    def __call__(self, sb_json, subarray_id):
        pass

    def observe(self, sb_json, sbi_id=None):
        pass


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: None, {}),
        (lambda sb_json: None, {"sb_json": "/sbs/b.json"}),
        (lambda sb_json, sbi_id: None, {"sb_json": "/sbs/b.json", "sbi_id": "sbi-1"}),
        (lambda *, sbi_id=None: None, {"sbi_id": "sbi-1"}),
        (lambda **kwargs: None, {"sb_json": "/sbs/b.json", "sbi_id": "sbi-1"}),
        (lambda sb_json, /: None, {}),
        (lambda *sb_json: None, {}),
        (lambda subarray_id: None, {"subarray_id": 3}),
        (lambda subarray_id=5: None, {"subarray_id": 3}),
        (functools.partial(lambda subarray_id, sb_json: None, 7), {"sb_json": "/sbs/b.json"}),
        (Telescope(), {"sb_json": "/sbs/b.json", "subarray_id": 3}),
        (Telescope().observe, {"sb_json": "/sbs/b.json", "sbi_id": "sbi-1"}),
    ],
)
def test_a_function_is_given_what_its_signature_takes(function, expected):
    assert started(function, sbi_id="sbi-1") == expected


def test_a_function_whose_signature_cannot_be_told_is_given_all():
    assert started(max, sbi_id="sbi-1") == {"sb_json": "/sbs/b.json", "sbi_id": "sbi-1"}


def test_what_is_given_by_position_is_not_given_again():
    def main(sb_json, subarray_id):
        pass

    assert started(main, "/other.json", 9) == {}
    assert started(main, "/other.json") == {"subarray_id": 3}


def test_a_subarray_that_was_given_stays():
    assert initialised(lambda subarray_id: None, subarray_id=5) == {"subarray_id": 5}


def test_nothing_is_made_up_where_the_platform_has_nothing():
    def main(sb_json=None, subarray_id=None):
        pass

    assert started(main, platform=NOTHING) == {}
    assert initialised(main, platform=NOTHING) == {}


def test_init_is_given_the_subarray_and_no_block():
    assert initialised(lambda subarray_id, sb_json=None: None) == {"subarray_id": 3}
    assert initialised(lambda **kwargs: None) == {}


def test_main_is_found_and_run_in_its_place():
    def main():
        pass

    def run():
        pass

    assert find_function(module(main=main, run=run), "main") is main
    assert find_function(module(run=run), "main") is run
    assert find_function(module(main=5, run=run), "main") is run
    assert find_function(module(main=main, run=run), "run") is run


@pytest.mark.parametrize("name", ["run", "calibrate", "x"])
def test_a_function_that_is_not_there_is_named(name):
    with pytest.raises(CannotCall, match=f"no function '{name}'"):
        find_function(module(main=print, x=5), name)


def test_only_main_and_run_can_be_started():
    assert startable(module(main=print))
    assert startable(module(run=print))
    assert not startable(module(main=5, other=print))


def generator():
    yield


async def coroutine():
    pass


@pytest.mark.parametrize("function", [generator, coroutine, functools.partial(coroutine)])
def test_functions_that_run_nothing_when_called_are_refused(function):
    with pytest.raises(CannotCall, match="would run nothing"):
        find_function(module(main=function), "main")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (Arguments([], {}), r"TypeError: main\(x, \*, y=1\): missing a required argument: 'x'"),
        (Arguments([1, 2], {}), "too many positional arguments"),
        (Arguments([1], {"z": 2}), "unexpected keyword argument 'z'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, text):
    def main(x, *, y=1):
        pass

    with pytest.raises(CannotCall, match=text):
        check_call(main, "main", arguments)


def test_arguments_that_fit_or_cannot_be_checked_pass():
    check_call(lambda x, **kwargs: None, "main", Arguments([1], {"z": 2}))
    check_call(max, "main", Arguments([], {}))
