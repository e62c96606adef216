"""A part of a Scheduling Block that knows where in the block it stands (observing library)."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ska_oso_activity.observing.errors import Untranslatable

Json = dict[str, Any]
MAX_DEPTH = 64
"""How deep lists and objects may nest in what is sent as it stands: as in requests to us."""
MAX_TEXT = 200
"""Characters of an id or a name; those of real blocks have some 30."""


@dataclass(frozen=True)
class Part:
    """A value of the block's JSON, to be read as what it should be.

    Every way to read it raises Untranslatable, naming `path`, for what it is not. A null is taken
    for nothing at all, as the PDM writes null for what is not set.

    Attributes:
        value: as parsed.
        path: where it stands, such as `targets[0].reference_coordinate.ra`.
    """

    value: Any
    path: str

    def refused(self, supported: str) -> Untranslatable:
        """The error that says what could stand here."""
        return Untranslatable(self.path, self.value, supported)

    @property
    def given(self) -> bool:
        """Whether there is anything."""
        return self.value is not None

    # Objects

    def at(self, *keys: str) -> Part:
        """What stands under a key; of several spellings of it, the first that is there.

        If none is, the part is not `given`.
        """
        found = self.object()
        key = next((key for key in keys if found.get(key) is not None), keys[0])
        return Part(found.get(key), f"{self.path}.{key}" if self.path else key)

    def object(self) -> Mapping[str, Any]:
        """An object; nothing is an empty one."""
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping) or any(type(key) is not str for key in self.value):
            raise self.refused("an object")
        return self.value

    def parts(self) -> Iterator[Part]:
        """All that stands in an object."""
        return (self.at(key) for key in self.object())

    def only(self, *keys: str) -> None:
        """Refuse an object with anything else in it, as that would go unheard."""
        for key, value in self.object().items():
            if key not in keys and value is not None:
                raise self.at(key).refused(f"no more than {', '.join(keys)}")

    # Lists

    def items(self) -> list[Part]:
        """A list; nothing is an empty one."""
        if self.value is None:
            return []
        if not isinstance(self.value, (list, tuple)):
            raise self.refused("a list")
        return [Part(item, f"{self.path}[{number}]") for number, item in enumerate(self.value)]

    # Values

    def text(self, default: str | None = None, *, form: str = "", supported: str = "") -> str:
        """A text that is not empty.

        Args:
            default: where there is none.
            form: a regular expression that it has to match.
            supported: says the same to people.
        """
        if self.value is None and default is not None:
            return default
        supported = supported or f"a text of 1 to {MAX_TEXT} characters"
        if not isinstance(self.value, str) or not 1 <= len(self.value) <= MAX_TEXT:
            raise self.refused(supported)
        if form and not re.fullmatch(form, self.value, re.ASCII):
            raise self.refused(supported)
        return self.value

    def one_of(self, options: Collection[str]) -> str:
        """One of some words."""
        if not isinstance(self.value, str) or self.value not in options:
            raise self.refused(" or ".join(options))
        return self.value

    def number(
        self, least: float, most: float, unit: str = "", *, default: float | None = None
    ) -> float:
        """A finite number, `least` and `most` included.

        Args:
            unit: for messages, such as `Hz`.
            default: where there is none.
        """
        if self.value is None and default is not None:
            return default
        if not is_number(self.value) or not least <= self.value <= most:
            raise self.refused(f"a number, {least:g} to {most:g}{unit and f' {unit}'}")
        return float(self.value)

    def whole(self, least: int, most: int, *, default: int | None = None) -> int:
        """A whole number, `least` and `most` included; 20000.0 is one too."""
        if self.value is None and default is not None:
            return default
        if not is_number(self.value) or not least <= self.value <= most or self.value % 1:
            raise self.refused(f"a whole number, {least} to {most}")
        return int(self.value)

    def json(self) -> Any:
        """A copy of whatever it is, to be sent as it stands: JSON, not too deep."""
        return self._copy(MAX_DEPTH)

    def _copy(self, depth: int) -> Any:
        value = self.value
        if value is None or isinstance(value, (bool, str, int)):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        if depth == 0:
            raise Untranslatable(self.path[:MAX_TEXT], "...", f"at most {MAX_DEPTH} levels")
        if isinstance(value, Mapping):
            return {
                key: Part(item, f"{self.path}.{key}")._copy(depth - 1)
                for key, item in self.object().items()
            }
        if isinstance(value, (list, tuple)):
            return [item._copy(depth - 1) for item in self.items()]
        raise self.refused("what JSON can hold: texts, finite numbers, lists, objects")


def is_number(value: object) -> bool:
    """Whether it is a finite number that a float can hold; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max
