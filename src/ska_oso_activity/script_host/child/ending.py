"""How the script's code ended, and how that is told in words (script's process)."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ska_oso_activity.domain.strict_json import check
from ska_oso_activity.script_host.outcome import (
    ERROR_LIMIT,
    RESULT_LIMIT,
    STACKTRACE_LIMIT,
    Outcome,
)


@dataclass(frozen=True)
class Ending:
    """The outcome as the host is told.

    Attributes:
        exit_code: what the process then ends with, as for `sys.exit`.
        interrupted: whether KeyboardInterrupt was at the bottom of it.
    """

    outcome: Outcome
    error: str | None = None
    stacktrace: str | None = None
    result: Any = None
    message: str = ""
    exit_code: Any = 0
    interrupted: bool = False


def returned(value: Any) -> Ending:
    """Main came back with `value`, which is kept if it is JSON of a reasonable size."""
    try:
        text = json.dumps(value, allow_nan=False)
        if len(text) <= RESULT_LIMIT:
            check(json.loads(text))
    except Exception as error:
        note = f"the value that main returned is not JSON, so it is not kept ({_describe(error)})"
        return Ending(Outcome.RETURNED, message=note)
    if len(text) > RESULT_LIMIT:
        note = (
            f"the value that main returned is {len(text)} bytes of JSON, so it is not kept: "
            f"{RESULT_LIMIT} at most are"
        )
        return Ending(Outcome.RETURNED, message=note)
    return Ending(Outcome.RETURNED, result=value)


def raised(error: BaseException, script_path: str) -> Ending:
    """Init or main raised `error`."""
    if isinstance(error, SystemExit):
        code = error.code
        text = f"the script called sys.exit({'' if code is None else _safely(repr, code)})"
        trace = _stacktrace(error, script_path)
        return Ending(
            Outcome.EXITED, _cut(text), trace, exit_code=code, interrupted=_was_interrupted(error)
        )
    return _failed(Outcome.RAISED, error, script_path)


def unloadable(error: BaseException, script_path: str) -> Ending:
    """The script raised `error` while it was loaded."""
    return _failed(Outcome.UNLOADABLE, error, script_path)


def refused(outcome: Outcome, text: str) -> Ending:
    """The script cannot be run, and its own code is not to blame for an exception."""
    return Ending(outcome, _cut(text), exit_code=1)


def _failed(outcome: Outcome, error: BaseException, script_path: str) -> Ending:
    return Ending(
        outcome,
        _describe(error),
        _stacktrace(error, script_path),
        exit_code=1,
        interrupted=_was_interrupted(error),
    )


def _was_interrupted(error: BaseException) -> bool:
    """Whether it is KeyboardInterrupt, or was raised on the way out of one."""
    seen: set[int] = set()
    left: BaseException | None = error
    while left is not None and id(left) not in seen:
        if isinstance(left, KeyboardInterrupt):
            return True
        seen.add(id(left))
        left = left.__cause__ or left.__context__
    return False


def _describe(error: BaseException) -> str:
    text = _safely(str, error)
    name = type(error).__name__
    return _cut(f"{name}: {text}" if text else name)


def _stacktrace(error: BaseException, script_path: str) -> str:
    try:
        shown = _from_script_on(error.__traceback__, script_path)
        text = "".join(traceback.format_exception(type(error), error, shown))
    except BaseException as failure:  # what the script defines may do anything
        text = f"the stack trace cannot be shown: {type(failure).__name__}"
    if len(text) <= STACKTRACE_LIMIT:
        return text
    half = STACKTRACE_LIMIT // 2 - 32
    return f"{text[:half]}\n  [... {len(text) - 2 * half} characters ...]\n{text[-half:]}"


def _from_script_on(trace: TracebackType | None, script_path: str) -> TracebackType | None:
    """The part of a traceback from the script's first frame on: those above are ours."""
    while trace is not None and trace.tb_frame.f_code.co_filename != script_path:
        trace = trace.tb_next
    return trace


def _safely(convert: Any, value: object) -> str:
    try:
        return str(convert(value))
    except BaseException:  # what the script defines may do anything
        return f"<the {convert.__name__} of this {type(value).__name__} failed>"


def _cut(text: str) -> str:
    return text if len(text) <= ERROR_LIMIT else f"{text[: ERROR_LIMIT - 4]} ..."
