"""Activities and procedures as JSON: their records on disk and their summaries for clients.

Application layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.activity import Activity, ActivityState, Delivery
from ska_oso_activity.domain.arguments import functions_to_json, read_function_arguments
from ska_oso_activity.domain.errors import Reason
from ska_oso_activity.domain.procedure import Procedure, ProcedureState

ACTIVITY_SUMMARY = (
    "activity_id",
    "command_id",
    "command_ids",
    "request_id",
    "requested_by",
    "comment",
    "state",
    "activity_states",
    "sbd_id",
    "sbd_version",
    "sb_uri",
    "activity_name",
    "subarray_id",
    "prepare_only",
    "create_env",
    "script_args",
    "script",
    "sbi_id",
    "executor",
    "procedure_id",
    "progress",
    "message",
    "reason",
    "error",
    "stacktrace",
    "result",
    "abort",
    "output_tail",
)
"""The keys of GetActivity (Tango interface, section 2.2)."""

ACTIVITY_SHORT = tuple(
    key
    for key in ACTIVITY_SUMMARY
    if key not in {"script_args", "result", "stacktrace", "output_tail"}
)
"""The keys of the short summaries in `activities` and ListActivities."""

PROCEDURE_SUMMARY = (
    "result",
    "stacktrace",
    "progress",
    "message",
    "script",
    "subarray_id",
    "labels",
    "procedure_states",
)
"""The keys of GetProcess beside those of the procedure's last event (section 3.2)."""

_SHORT_TEXT = 500
"""Longest `error` or `message` in a short summary, in characters."""


def activity_record(activity: Activity) -> dict[str, Any]:
    """An activity, whole, as JSON for the history."""
    record = dict(vars(activity))
    record["state"] = activity.state.name
    record["reason"] = None if activity.reason is None else activity.reason.value
    record["delivery"] = activity.delivery.value
    record["script_args"] = functions_to_json(activity.script_args)
    record["runtime_args"] = functions_to_json(activity.runtime_args)
    record["activity_states"] = [list(pair) for pair in activity.activity_states]
    record["command_ids"] = list(activity.command_ids)
    return record


def read_activity(record: Mapping[str, Any]) -> Activity:
    """An activity from its record; keys of other releases are passed over."""
    known = {field.name for field in fields(Activity)}
    given = {key: value for key, value in record.items() if key in known}
    given["state"] = ActivityState[given["state"]]
    given["reason"] = None if given.get("reason") is None else Reason(given["reason"])
    given["delivery"] = Delivery(given.get("delivery", Delivery.NONE))
    given["activity_states"] = [(state, time) for state, time in given["activity_states"]]
    for key in ("script_args", "runtime_args"):
        given[key] = read_function_arguments(given.get(key), key)
    return Activity(**given)


def activity_summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """What GetActivity gives, from a record."""
    return {key: record.get(key) for key in ACTIVITY_SUMMARY}


def activity_short(record: Mapping[str, Any]) -> dict[str, Any]:
    """What `activities` and ListActivities give, from a record."""
    return {key: _short(record.get(key)) for key in ACTIVITY_SHORT}


def procedure_record(procedure: Procedure) -> dict[str, Any]:
    """A procedure, whole, as JSON for the history."""
    record = dict(vars(procedure))
    record["state"] = procedure.state.name
    record["reason"] = None if procedure.reason is None else procedure.reason.value
    record["procedure_states"] = [list(pair) for pair in procedure.procedure_states]
    return record


def read_procedure(record: Mapping[str, Any]) -> Procedure:
    """A procedure from its record; keys of other releases are passed over."""
    known = {field.name for field in fields(Procedure)}
    given = {key: value for key, value in record.items() if key in known}
    given["state"] = ProcedureState[given["state"]]
    given["reason"] = None if given.get("reason") is None else Reason(given["reason"])
    given["procedure_states"] = [(state, time) for state, time in given["procedure_states"]]
    return Procedure(**given)


def procedure_summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """What StartProcess, StopProcess and GetProcess give, from a record."""
    return {
        **record.get("last_event", {}),
        **{key: record.get(key) for key in PROCEDURE_SUMMARY},
    }


def procedure_short(record: Mapping[str, Any]) -> dict[str, Any]:
    """What `procedures` gives: a summary without result and stacktrace."""
    summary = procedure_summary(record)
    del summary["result"], summary["stacktrace"]
    return {key: _short(value) for key, value in summary.items()}


def keepable(result: Any) -> tuple[Any, str]:
    """A script's result if it can be kept, else null; and a note on why not."""
    try:
        strict_json.check(result)
        strict_json.dumps(result)
    except (ValueError, TypeError, RecursionError) as error:
        return None, f"what the script returned cannot be kept: {error}"
    return result, ""


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _SHORT_TEXT:
        return value[:_SHORT_TEXT] + "…"
    return value
