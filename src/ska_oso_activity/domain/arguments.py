"""Arguments of a script's functions, and how a request's are laid over a block's (domain layer)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ska_oso_activity.domain.errors import InvalidRequest
from ska_oso_activity.domain.script import FUNCTIONS

RESERVED_KWARGS = ("sb_json", "sbi_id")
"""Keyword arguments that only the platform gives."""

FIRST_SUBARRAY, LAST_SUBARRAY = 1, 16


@dataclass(frozen=True)
class ProcedureInput:
    """Positional and keyword arguments of one function; JSON values."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.args or self.kwargs)

    def over(self, below: ProcedureInput) -> ProcedureInput:
        """These arguments laid over `below`: kwargs key by key, args replaced if there are any."""
        return ProcedureInput(self.args or below.args, {**below.kwargs, **self.kwargs})

    def with_kwarg(self, name: str, value: Any) -> ProcedureInput:
        """The same with one keyword argument set."""
        return ProcedureInput(self.args, {**self.kwargs, name: value})

    def to_json(self) -> dict[str, Any]:
        """The form that all our JSON uses."""
        return {"args": list(self.args), "kwargs": dict(self.kwargs)}

    @staticmethod
    def from_json(value: Any, where: str = "arguments") -> ProcedureInput:
        """Read `{"args": [...], "kwargs": {...}}`; each may be missing, null is missing.

        Raises:
            InvalidRequest: `value` is of another shape; the text names `where`.
        """
        if value is None:
            return ProcedureInput()
        if not isinstance(value, Mapping):
            raise InvalidRequest(
                f'{where} must be an object {{"args": [...], "kwargs": {{...}}}}, not {value!r:.80}'
            )
        unknown = sorted(set(value) - {"args", "kwargs"})
        if unknown:
            raise InvalidRequest(
                f"{where} has unknown keys {', '.join(map(repr, unknown))}: "
                "only args and kwargs are known"
            )
        args, kwargs = value.get("args"), value.get("kwargs")
        if args is not None and not isinstance(args, list):
            raise InvalidRequest(f"{where}.args must be a list, not {args!r:.80}")
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise InvalidRequest(f"{where}.kwargs must be an object, not {kwargs!r:.80}")
        return ProcedureInput(tuple(args or ()), dict(kwargs or {}))


FunctionArguments = dict[str, ProcedureInput]
"""Arguments by function name: init, main, run."""


def read_function_arguments(value: Any, where: str) -> FunctionArguments:
    """Read a map of function name to arguments.

    Raises:
        InvalidRequest: another shape, or a function other than init, main and run.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"{where} must be an object of init, main or run, not {value!r:.80}")
    unknown = [name for name in value if name not in FUNCTIONS]
    if unknown:
        raise InvalidRequest(
            f"{where} names the function {unknown[0]!r:.80}: "
            f"arguments can be given for {', '.join(FUNCTIONS)}"
        )
    return {name: ProcedureInput.from_json(value[name], f"{where}.{name}") for name in value}


def functions_to_json(arguments: FunctionArguments) -> dict[str, Any]:
    """The JSON form of arguments by function."""
    return {name: given.to_json() for name, given in arguments.items()}


def combine(block: FunctionArguments, request: FunctionArguments) -> FunctionArguments:
    """The arguments a script gets: the block's, with the request's laid over them."""
    names = [name for name in FUNCTIONS if name in block or name in request]
    return {
        name: request.get(name, ProcedureInput()).over(block.get(name, ProcedureInput()))
        for name in names
    }


def main_arguments(combined: FunctionArguments) -> ProcedureInput:
    """The arguments of the function that is started: main's, or run's where main has none."""
    return combined.get("main") or combined.get("run") or ProcedureInput()


def subarray_in(arguments: FunctionArguments) -> int | None:
    """The `subarray_id` found in the arguments: init's first, then main's and run's.

    Raises:
        InvalidRequest: one is not an integer of 1 to 16, or two of them differ.
    """
    found: int | None = None
    for name in FUNCTIONS:
        kwargs = arguments.get(name, ProcedureInput()).kwargs
        if kwargs.get("subarray_id") is None:
            continue
        value = check_subarray_id(kwargs["subarray_id"], f"subarray_id in the kwargs of {name}")
        if found is not None and found != value:
            raise InvalidRequest(
                f"the arguments name two subarrays, {found} and {value}: an activity runs on one"
            )
        found = value
    return found


def on_subarray(arguments: FunctionArguments, subarray_id: int | None) -> FunctionArguments:
    """The arguments with every `subarray_id` among their kwargs replaced by the lane's number."""
    if subarray_id is None:
        return arguments
    return {
        name: given.with_kwarg("subarray_id", subarray_id)
        if "subarray_id" in given.kwargs
        else given
        for name, given in arguments.items()
    }


def check_subarray_id(value: Any, where: str) -> int:
    """`value` if it is a subarray's number.

    Raises:
        InvalidRequest: it is not an integer of 1 to 16 (true is not an integer).
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{where} must be an integer of 1 to 16, not {value!r:.40}")
    if not FIRST_SUBARRAY <= value <= LAST_SUBARRAY:
        raise InvalidRequest(
            f"{where} must be 1 to 16, not {value if abs(value) < 10**9 else 'that'}"
        )
    return value


def refuse_reserved_kwargs(arguments: FunctionArguments, where: str) -> None:
    """Refuse keyword arguments that only the platform gives.

    Raises:
        InvalidRequest: `sb_json` or `sbi_id` is among the kwargs.
    """
    for name, given in arguments.items():
        for reserved in RESERVED_KWARGS:
            if reserved in given.kwargs:
                raise InvalidRequest(
                    f"{where}.{name}.kwargs sets {reserved!r}, which the platform sets itself: "
                    "leave it out"
                )
