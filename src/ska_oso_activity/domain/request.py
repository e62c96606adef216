"""The requests clients make, as values, and the checks that refuse bad ones at once.

Domain layer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.activity import ActivityState
from ska_oso_activity.domain.arguments import (
    FunctionArguments,
    check_subarray_id,
    read_function_arguments,
    refuse_reserved_kwargs,
    subarray_in,
)
from ska_oso_activity.domain.errors import InvalidRequest
from ska_oso_activity.domain.scheduling_block import SBD_ID, BlockReference

MAX_NAME = 128
MAX_REQUEST_ID = 64
MAX_TEXT = 256


@dataclass(frozen=True)
class ActivityCommand:
    """Run activity X of Scheduling Block Y: a RunActivity or ValidateActivity request."""

    block: BlockReference
    activity_name: str
    script_args: FunctionArguments = field(default_factory=dict)
    prepare_only: bool = False
    create_env: bool = False
    subarray_id: int | None = None
    request_id: str | None = None
    requested_by: str | None = None
    comment: str | None = None

    @staticmethod
    def parse(text: str) -> ActivityCommand:
        """Read the JSON argument of RunActivity.

        Raises:
            InvalidRequest: with one sentence on what is wrong and what would be accepted.
        """
        given = _read_object(
            text,
            {
                "sbd_id",
                "sb_uri",
                "activity_name",
                "script_args",
                "prepare_only",
                "create_env",
                "subarray_id",
                "request_id",
                "requested_by",
                "comment",
            },
        )
        if ("sbd_id" in given) == ("sb_uri" in given):
            raise InvalidRequest("give exactly one of sbd_id and sb_uri to name the block")
        block = (
            BlockReference.of_sbd_id(given["sbd_id"])
            if "sbd_id" in given
            else BlockReference.parse(given["sb_uri"])
        )
        if "activity_name" not in given:
            raise InvalidRequest("activity_name is missing: name an activity of the block")
        script_args = _script_args(given)
        subarray_id = _optional(given, "subarray_id", check_subarray_id)
        _check_kwarg_subarrays(script_args, subarray_id)
        return ActivityCommand(
            block=block,
            activity_name=_name(given["activity_name"], "activity_name"),
            script_args=script_args,
            prepare_only=_flag(given, "prepare_only", default=False),
            create_env=_flag(given, "create_env", default=False),
            subarray_id=subarray_id,
            request_id=_optional(given, "request_id", _text(MAX_REQUEST_ID)),
            requested_by=_optional(given, "requested_by", _text(MAX_TEXT)),
            comment=_optional(given, "comment", _text(MAX_TEXT)),
        )


@dataclass(frozen=True)
class StartRequest:
    """Run main of an activity that is READY: the argument of StartActivity."""

    activity_id: int
    script_args: FunctionArguments = field(default_factory=dict)

    @staticmethod
    def parse(text: str) -> StartRequest:
        """Read the JSON argument of StartActivity.

        Raises:
            InvalidRequest: with one sentence on what is wrong.
        """
        given = _read_object(text, {"activity_id", "script_args"})
        script_args = _script_args(given)
        if "init" in script_args:
            raise InvalidRequest(
                "script_args.init comes too late: init of a prepared activity has run; "
                "give arguments for main"
            )
        _check_kwarg_subarrays(script_args, None)
        return StartRequest(_activity_id(given.get("activity_id")), script_args)


@dataclass(frozen=True)
class StopRequest:
    """Stop an activity, named by its id or by the subarray it holds: StopActivity's argument."""

    activity_id: int | None
    subarray_id: int | None
    run_abort: bool

    @staticmethod
    def parse(text: str) -> StopRequest:
        """Read the JSON argument of StopActivity.

        Raises:
            InvalidRequest: with one sentence on what is wrong.
        """
        given = _read_object(text, {"activity_id", "subarray_id", "run_abort"})
        if ("activity_id" in given) == ("subarray_id" in given):
            raise InvalidRequest("give exactly one of activity_id and subarray_id to stop")
        run_abort = _flag(given, "run_abort", default=True)
        if "activity_id" in given:
            return StopRequest(_activity_id(given["activity_id"]), None, run_abort)
        return StopRequest(None, check_subarray_id(given["subarray_id"], "subarray_id"), run_abort)


@dataclass(frozen=True)
class ListRequest:
    """Which activities to list: the argument of ListActivities."""

    state: ActivityState | None = None
    sbd_id: str | None = None
    subarray_id: int | None = None
    before: int | None = None
    limit: int | None = None

    @staticmethod
    def parse(text: str) -> ListRequest:
        """Read the JSON argument of ListActivities; an empty text asks for all.

        Raises:
            InvalidRequest: with one sentence on what is wrong.
        """
        if not text.strip():
            return ListRequest()
        given = _read_object(text, {"state", "sbd_id", "subarray_id", "before", "limit"})
        return ListRequest(
            state=_optional(given, "state", _state),
            sbd_id=_optional(given, "sbd_id", _text(MAX_NAME)),
            subarray_id=_optional(given, "subarray_id", check_subarray_id),
            before=_optional(given, "before", _positive),
            limit=_optional(given, "limit", _positive),
        )


def parse_block_argument(text: str) -> BlockReference:
    """The block that DescribeSchedulingBlock is asked about: an `sbd_id` or a URI.

    Raises:
        InvalidRequest: neither.
    """
    text = text.strip()
    return BlockReference.of_sbd_id(text) if SBD_ID.match(text) else BlockReference.parse(text)


def read_object(text: str) -> dict[str, Any]:
    """Read one JSON object, whatever its keys.

    Raises:
        InvalidRequest: the text is not JSON that we accept, or not an object.
    """
    try:
        given = strict_json.loads(text)
    except strict_json.NotJson as error:
        raise InvalidRequest(f"the argument is not JSON that is accepted: {error}") from error
    if not isinstance(given, dict):
        raise InvalidRequest(f"the argument must be a JSON object, not {_kind(given)}")
    return given


def _read_object(text: str, known: set[str]) -> dict[str, Any]:
    given = read_object(text)
    unknown = sorted(set(given) - known)
    if unknown:
        raise InvalidRequest(
            f"unknown key {unknown[0]!r:.80}: known are {', '.join(sorted(known))}"
        )
    return given


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")


def _optional(given: Mapping[str, Any], key: str, read: Callable[[Any, str], Any]) -> Any:
    return None if given.get(key) is None else read(given[key], key)


def _flag(given: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = given.get(key, default)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{key} must be true or false, not {value!r:.80}")
    return value


def _text(limit: int) -> Callable[[Any, str], str]:
    def read(value: Any, where: str) -> str:
        if not isinstance(value, str):
            raise InvalidRequest(f"{where} must be a string, not {_kind(value)}")
        if not value or len(value) > limit:
            raise InvalidRequest(f"{where} must have 1 to {limit} characters, not {len(value)}")
        _refuse_invisible(value, where)
        return value

    return read


def _name(value: Any, where: str) -> str:
    return _text(MAX_NAME)(value, where)


def _refuse_invisible(value: str, where: str) -> None:
    """Refuse characters that forge a log line or look like nothing on an operator's screen."""
    for character in value:
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
            raise InvalidRequest(
                f"{where} holds the character U+{ord(character):04X}, a control, format or "
                "surrogate character: use visible characters"
            )


def _positive(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**63:
        raise InvalidRequest(f"{where} must be a positive integer, not {value!r:.40}")
    return value


def _activity_id(value: Any) -> int:
    if value is None:
        raise InvalidRequest("activity_id is missing: give the number of an activity")
    return _positive(value, "activity_id")


def _state(value: Any, where: str) -> ActivityState:
    if isinstance(value, str) and value in ActivityState.__members__:
        return ActivityState[value]
    raise InvalidRequest(
        f"{where} must be one of {', '.join(ActivityState.__members__)}, not {value!r:.40}"
    )


def _script_args(given: Mapping[str, Any]) -> FunctionArguments:
    script_args = given.get("script_args", {})
    if script_args is None:
        raise InvalidRequest("script_args must be an object of init, main or run, not null")
    arguments = read_function_arguments(script_args, "script_args")
    refuse_reserved_kwargs(arguments, "script_args")
    return arguments


def _check_kwarg_subarrays(arguments: FunctionArguments, subarray_id: int | None) -> None:
    for name, function in arguments.items():
        if "subarray_id" in function.kwargs:
            check_subarray_id(
                function.kwargs["subarray_id"], f"script_args.{name}.kwargs.subarray_id"
            )
    named = subarray_in(arguments)
    if None not in (named, subarray_id) and named != subarray_id:
        raise InvalidRequest(
            f"script_args asks for subarray {named} and subarray_id for {subarray_id}: "
            "they must agree"
        )
