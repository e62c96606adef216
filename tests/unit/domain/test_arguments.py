"""Arguments: a request's are laid over a block's as section 4 of the contract says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oso_activity.domain.arguments import (
    ProcedureInput,
    check_subarray_id,
    combine,
    functions_to_json,
    main_arguments,
    on_subarray,
    read_function_arguments,
    refuse_reserved_kwargs,
    subarray_in,
)
from ska_oso_activity.domain.errors import InvalidRequest


def given_to(*args, **kwargs):
    return ProcedureInput(args, kwargs)


def test_kwargs_are_merged_key_by_key_and_the_request_wins():
    block = {"main": given_to(a="block", b="block")}
    request = {"main": given_to(b="request", c="request")}

    combined = combine(block, request)

    assert combined == {"main": given_to(a="block", b="request", c="request")}


def test_a_kwarg_is_replaced_whole():
    combined = combine({"main": given_to(a={"x": 1, "y": 2})}, {"main": given_to(a={"x": 3})})

    assert combined["main"].kwargs == {"a": {"x": 3}}


def test_positional_arguments_of_the_request_replace_those_of_the_block():
    combined = combine({"main": given_to(1, 2, 3)}, {"main": given_to(9)})

    assert combined["main"].args == (9,)


def test_positional_arguments_of_the_block_stay_where_the_request_has_none():
    combined = combine({"main": given_to(1, 2, a=1)}, {"main": given_to(b=2)})

    assert combined["main"] == given_to(1, 2, a=1, b=2)


def test_arguments_for_init_in_the_request_do_not_wipe_those_of_the_block():
    # As in the OET a request for init alone, or an empty one, takes nothing away.
    block = {"init": given_to(1, subarray_id=3), "main": given_to(a=1)}

    combined = combine(block, {"init": given_to()})

    assert combined == block


def test_a_function_that_only_one_of_them_names_keeps_its_arguments():
    combined = combine({"init": given_to(x=1)}, {"main": given_to(y=2)})

    assert combined == {"init": given_to(x=1), "main": given_to(y=2)}


def test_nothing_over_nothing_is_nothing():
    assert combine({}, {}) == {}
    assert main_arguments({}) == given_to()


def test_combining_changes_neither_side():
    block, request = {"main": given_to(a=1)}, {"main": given_to(b=2)}

    combine(block, request)

    assert (block, request) == ({"main": given_to(a=1)}, {"main": given_to(b=2)})


@pytest.mark.parametrize(
    ("combined", "expected"),
    [
        ({"main": given_to(1), "run": given_to(2)}, given_to(1)),
        ({"run": given_to(2)}, given_to(2)),
        ({"main": given_to(), "run": given_to(2)}, given_to(2)),
        ({"main": given_to(a=1), "run": given_to(2, b=3)}, given_to(a=1)),
        ({"init": given_to(1)}, given_to()),
    ],
)
def test_the_started_function_gets_mains_arguments_or_runs_where_main_has_none(combined, expected):
    assert main_arguments(combined) == expected


def test_an_old_blocks_run_arguments_are_overlaid_by_the_requests_for_run():
    combined = combine({"run": given_to(a=1)}, {"run": given_to(a=2)})

    assert main_arguments(combined) == given_to(a=2)


def test_the_lanes_number_replaces_subarray_id_wherever_it_stands():
    arguments = {
        "init": given_to(subarray_id=1),
        "main": given_to(subarray_id=None, a=1),
        "run": given_to(b=2),
    }

    placed = on_subarray(arguments, 7)

    assert placed == {
        "init": given_to(subarray_id=7),
        "main": given_to(subarray_id=7, a=1),
        "run": given_to(b=2),
    }
    assert on_subarray(arguments, None) == arguments


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({}, None),
        ({"init": given_to(subarray_id=3)}, 3),
        ({"main": given_to(subarray_id=16)}, 16),
        ({"init": given_to(subarray_id=3), "main": given_to(subarray_id=3)}, 3),
        ({"main": given_to(subarray_id=None)}, None),
    ],
)
def test_the_subarray_is_found_in_the_kwargs(arguments, found):
    assert subarray_in(arguments) == found


def test_two_subarrays_in_one_request_are_refused():
    with pytest.raises(InvalidRequest, match="two subarrays, 3 and 4"):
        subarray_in({"init": given_to(subarray_id=3), "main": given_to(subarray_id=4)})


@pytest.mark.parametrize("value", [0, 17, -1, True, False, "3", 3.0, None, [], 10**30])
def test_a_subarray_is_an_integer_of_1_to_16(value):
    with pytest.raises(InvalidRequest, match=r"^here must be .*1 to 16"):
        check_subarray_id(value, "here")


@pytest.mark.parametrize("value", [1, 16])
def test_1_and_16_are_subarrays(value):
    assert check_subarray_id(value, "here") == value


def test_a_refusal_does_not_repeat_a_number_of_thousands_of_digits():
    with pytest.raises(InvalidRequest) as refusal:
        check_subarray_id(10**4000, "subarray_id")

    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("reserved", ["sb_json", "sbi_id"])
@pytest.mark.parametrize("function", ["init", "main", "run"])
def test_what_the_platform_sets_cannot_be_given(reserved, function):
    with pytest.raises(InvalidRequest, match=rf"script_args\.{function}\.kwargs.*'{reserved}'"):
        refuse_reserved_kwargs({function: given_to(**{reserved: None})}, "script_args")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([1, 2], "script_args"),
        ("main", "script_args"),
        ({"__init__": {}}, "'__init__'"),
        ({"Main": {}}, "'Main'"),
        ({"main": []}, r"script_args\.main"),
        ({"main": {"arg": []}}, "'arg'"),
        ({"main": {"args": {}}}, r"script_args\.main\.args"),
        ({"main": {"args": "ab"}}, r"script_args\.main\.args"),
        ({"main": {"kwargs": []}}, r"script_args\.main\.kwargs"),
    ],
)
def test_arguments_of_another_shape_are_refused_by_name(value, named):
    with pytest.raises(InvalidRequest, match=named):
        read_function_arguments(value, "script_args")


@pytest.mark.parametrize(
    "value", [None, {}, {"args": None, "kwargs": None}, {"args": []}, {"kwargs": {}}]
)
def test_what_is_missing_or_null_is_no_argument(value):
    assert ProcedureInput.from_json(value) == given_to()
    assert not ProcedureInput.from_json(value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
INPUTS = st.builds(
    ProcedureInput,
    st.lists(JSON_VALUES, max_size=3).map(tuple),
    st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=3),
)
FUNCTIONS = st.dictionaries(st.sampled_from(["init", "main", "run"]), INPUTS)


@given(FUNCTIONS)
def test_arguments_survive_their_json(arguments):
    assert read_function_arguments(functions_to_json(arguments), "here") == arguments


@given(FUNCTIONS, FUNCTIONS)
def test_no_argument_of_the_request_is_lost_and_none_is_invented(block, request):
    combined = combine(block, request)

    assert set(combined) == set(block) | set(request)
    for name, result in combined.items():
        above, below = (side.get(name, ProcedureInput()) for side in (request, block))
        assert result.args == (above.args or below.args)
        assert result.kwargs == {**below.kwargs, **above.kwargs}
