"""JSON as we read and write it: nothing doubtful in, ASCII out (domain layer)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

MAX_DEPTH = 64
REQUEST_LIMIT = 1024 * 1024
"""Largest argument of a command, in bytes."""


class NotJson(ValueError):
    """The text is not JSON that we accept; the message says why."""


def loads(text: str, *, limit: int = REQUEST_LIMIT, max_depth: int = MAX_DEPTH) -> Any:
    """Parse JSON, refusing what parsers disagree on.

    Args:
        limit: largest size of `text`, in bytes of UTF-8.
        max_depth: how deep objects and lists may nest.

    Raises:
        NotJson: malformed, too large or too deep, a byte-order mark, duplicate keys, NaN, infinity
            or numbers too large for a double.
    """
    # A character is one byte at least, so the cheap test spares the encoding of huge texts.
    if len(text) > limit or (not text.isascii() and len(text.encode("utf-8", "replace")) > limit):
        raise NotJson(f"it is larger than {limit} bytes")
    if text.startswith(("\ufeff", "\u00ef\u00bb\u00bf")):
        raise NotJson("it begins with a byte-order mark")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise NotJson(f"it is nested deeper than {max_depth} levels") from None
    except NotJson:
        raise
    except ValueError as error:
        raise NotJson(str(error)) from None
    check(value, max_depth)
    return value


def dumps(value: Any) -> str:
    """Compact ASCII JSON, the only form that goes over Tango.

    Raises:
        ValueError, TypeError: `value` is not JSON.
    """
    return _encoder.encode(value)


_encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def join(texts: Iterable[str]) -> str:
    """A JSON list of values that are JSON texts already."""
    return f"[{','.join(texts)}]"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise NotJson(f"the key {key!r:.80} appears twice in one object")
            seen.add(key)
    return value


def _constant(name: str) -> Any:
    raise NotJson(f"{name} is not JSON")


def check(value: Any, max_depth: int = MAX_DEPTH) -> None:
    """Refuse what only shows after parsing: depth, and numbers that overflowed to infinity.

    Raises:
        NotJson: one of the two.
    """
    level: list[Any] = [value]
    depth = 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, float) and not math.isfinite(item):
                raise NotJson("it holds a number too large for a double")
            if isinstance(item, (dict, list)):
                children: Iterable[Any] = item.values() if isinstance(item, dict) else item
                below.extend(children)
                if depth == max_depth:
                    raise NotJson(f"it is nested deeper than {max_depth} levels")
        level = below
        depth += 1
