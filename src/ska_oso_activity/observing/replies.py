"""Reads what TMC devices answer, in all the forms that there are (observing library)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

OK, STARTED, QUEUED = 0, 1, 2
_NOT_YET = frozenset({STARTED, QUEUED})
NAMES = ("OK", "STARTED", "QUEUED", "FAILED", "UNKNOWN", "REJECTED", "NOT_ALLOWED", "ABORTED")
"""What the numbers of SKA's ResultCode mean."""


class Reply(NamedTuple):
    """What a command returned.

    Attributes:
        accepted: whether the device goes about it.
        command_id: of the long-running command; None: there is none to wait for.
        text: what was said.
    """

    accepted: bool
    command_id: str | None
    text: str


class Result(NamedTuple):
    """The result of a long-running command.

    Attributes:
        code: SKA's ResultCode; None if the device only spoke.
    """

    code: int | None
    text: str

    @property
    def final(self) -> bool:
        """Whether nothing more will come."""
        return self.code not in _NOT_YET

    @property
    def good(self) -> bool:
        """Whether the command did its work, or does not say otherwise."""
        return self.code in (None, OK)

    def __str__(self) -> str:
        if self.code is None or self.good:
            return self.text
        name = NAMES[self.code] if 0 <= self.code < len(NAMES) else f"result code {self.code}"
        return f"{name}: {self.text}" if self.text else name


def read_reply(value: object) -> Reply:
    """Understand None, `[[code], [id or text]]`, `(code, text)` or a bare code."""
    code, text = _pair(value)
    if code is None:
        return Reply(True, None, text)
    if code in _NOT_YET:
        return Reply(True, text or None, text)
    if code == OK:
        return Reply(True, None, text)
    return Reply(False, None, text or str(Result(code, "")))


def read_result(text: str) -> Result:
    """Understand `[0, "Command Completed"]`, `0`, `FAILED`, and plain words, in JSON or not."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return Result(*_pair(value))


def _pair(value: object) -> tuple[int | None, str]:
    """A result code and a text, each maybe within a list of one."""
    if value is None or isinstance(value, str):
        code = _code(value)
        return (None, value or "") if code is None else (code, "")
    if isinstance(value, Sequence) or hasattr(value, "__getitem__"):
        items = [_only(item) for item in value]  # type: ignore[attr-defined]
        code = _code(items[0]) if items else None
        words = [str(item) for item in (items if code is None else items[1:]) if item is not None]
        return code, " ".join(words)
    return _code(value), "" if _code(value) is not None else str(value)


def _only(value: object) -> object:
    """The one item of a list or of an array; anything else as it is."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return value
    items = list(value)  # type: ignore[call-overload]
    return items[0] if len(items) == 1 else (str(items) if items else None)


def _code(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.removeprefix("ResultCode.") in NAMES:
        return NAMES.index(value.removeprefix("ResultCode."))
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError):
        return None
