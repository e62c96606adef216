"""Which function is called, and with what (script's process)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from types import ModuleType
from typing import Any

_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


class CannotCall(Exception):
    """The function is not there, or cannot be called like this; the text says why."""


@dataclass(frozen=True)
class Arguments:
    """What the server gave for a function."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Arguments:
        """Read `{"args": [...], "kwargs": {...}}`."""
        return Arguments(list(value.get("args") or ()), dict(value.get("kwargs") or {}))


@dataclass(frozen=True)
class Platform:
    """What the platform itself has to give."""

    subarray_id: int | None
    block_path: str | None


def startable(module: ModuleType) -> bool:
    """Whether there is anything to start."""
    return callable(getattr(module, "main", None)) or callable(getattr(module, "run", None))


def find_function(module: ModuleType, name: str) -> Callable[..., Any]:
    """The function to start; a script without `main` has `run` started instead.

    Raises:
        CannotCall: it has no such function.
    """
    function: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(function) and name == "main":
        function = getattr(module, "run", None)
    if not callable(function):
        raise CannotCall(f"the script has no function {name!r} to start")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise CannotCall(
            f"{name} is asynchronous or a generator, so calling it would run nothing: "
            "make it an ordinary function (asyncio.run in it is fine)"
        )
    return function


def init_arguments(function: Callable[..., Any], given: Arguments, platform: Platform) -> Arguments:
    """The arguments of `init`."""
    return _with_subarray(_signature(function), given, platform)


def start_arguments(
    function: Callable[..., Any], given: Arguments, platform: Platform
) -> Arguments:
    """The arguments of the function that is started: with `sb_json`, `sbi_id` if it takes them."""
    signature = _signature(function)
    kwargs = dict(given.kwargs)
    if "sbi_id" in kwargs and not _takes(signature, "sbi_id", given.args):
        del kwargs["sbi_id"]
    if platform.block_path is not None and _takes(signature, "sb_json", given.args):
        kwargs["sb_json"] = platform.block_path
    return _with_subarray(signature, Arguments(given.args, kwargs), platform)


def check_call(function: Callable[..., Any], name: str, arguments: Arguments) -> None:
    """Check that the arguments fit.

    Raises:
        CannotCall: they do not; the text is that of Python's TypeError.
    """
    signature = _signature(function)
    if signature is None:
        return
    try:
        signature.bind(*arguments.args, **arguments.kwargs)
    except TypeError as error:
        raise CannotCall(f"TypeError: {name}{signature}: {error}") from None


def _signature(function: Callable[..., Any]) -> Signature | None:
    """The function's signature; None if it cannot be told."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _takes(signature: Signature | None, name: str, args: Sequence[Any]) -> bool:
    """Whether keyword argument `name` can be given on top of positional `args`."""
    if signature is None:
        return True
    if name in signature.parameters:
        return _free(signature, name, args)
    return any(each.kind is Parameter.VAR_KEYWORD for each in signature.parameters.values())


def _free(signature: Signature, name: str, args: Sequence[Any]) -> bool:
    """Whether a parameter can be given by name and is not already given by position."""
    if signature.parameters[name].kind not in _NAMED:
        return False
    positional = [
        each.name
        for each in signature.parameters.values()
        if each.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    ]
    return name not in positional[: len(args)]


def _with_subarray(signature: Signature | None, given: Arguments, platform: Platform) -> Arguments:
    """With `subarray_id`, where there is a parameter of that name that was given no value."""
    name = "subarray_id"
    if (
        platform.subarray_id is None
        or signature is None
        or name not in signature.parameters
        or name in given.kwargs
        or not _free(signature, name, given.args)
    ):
        return given
    return Arguments(given.args, {**given.kwargs, name: platform.subarray_id})
