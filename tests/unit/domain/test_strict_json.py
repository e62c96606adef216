"""JSON is read strictly and written as ASCII."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oso_activity.domain import strict_json

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None, exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_what_is_written_is_read_back(value):
    text = strict_json.dumps(value)

    assert text.isascii()
    assert strict_json.loads(text) == value


@given(st.text(max_size=50))
def test_any_text_is_read_or_refused(text):
    try:
        value = strict_json.loads(text)
    except strict_json.NotJson:
        return

    assert json.loads(text) == value


DOUBTFUL = {
    "a key twice": ('{"a": 1, "a": 1}', "'a' appears twice"),
    "a key twice, deeper": ('{"x": [{"b": 1, "c": 2, "b": 3}]}', "'b' appears twice"),
    "NaN": ("NaN", "NaN is not JSON"),
    "infinity": ('{"a": [Infinity]}', "Infinity"),
    "minus infinity": ("-Infinity", "-Infinity"),
    "overflow": ("1e999", "too large"),
    "negative overflow": ('{"a": -1e999}', "too large"),
    "a byte-order mark": ("\ufeff{}", "byte-order mark"),
    "a byte-order mark as latin-1": ("\u00ef\u00bb\u00bf{}", "byte-order mark"),
    "5000 digits": ("1" * 5000, "."),
    "nothing": ("", "."),
    "half": ("{", "."),
    "two": ("{} {}", "."),
    "single quotes": ("{'a': 1}", "."),
    "a trailing comma": ("[1,]", "."),
    "a raw newline": ('"\n"', "."),
    "very deep": ("[" * 100_000, "."),
    "NUL": ("\0", "."),
}


@pytest.mark.parametrize(("text", "why"), DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_doubtful_json_is_refused(text, why):
    with pytest.raises(strict_json.NotJson, match=why):
        strict_json.loads(text)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_64_levels_are_read_and_65_are_not(opening, closing):
    def nested(depth):
        return opening * depth + ("1" if ":" in opening else "") + closing * depth

    strict_json.loads(nested(64))

    with pytest.raises(strict_json.NotJson, match="deeper than 64"):
        strict_json.loads(nested(65))


def test_a_mebibyte_is_read_and_a_byte_more_is_not():
    limit = strict_json.REQUEST_LIMIT
    strict_json.loads('"' + "x" * (limit - 2) + '"')

    with pytest.raises(strict_json.NotJson, match=f"larger than {limit} bytes"):
        strict_json.loads('"' + "x" * (limit - 1) + '"')


def test_the_size_counts_bytes_and_not_characters():
    with pytest.raises(strict_json.NotJson, match="larger"):
        strict_json.loads('"' + "\u03b1" * (strict_json.REQUEST_LIMIT // 2) + '"')


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": object()}, b"x"])
def test_what_is_not_json_is_not_written(value):
    with pytest.raises((ValueError, TypeError)):
        strict_json.dumps(value)
