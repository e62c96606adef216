"""Writes the parts of the reference that the code itself knows, as Markdown fragments.

Run by `conf.py`; `python -m docs.generate DIRECTORY` does the same by hand. What the code cannot
tell, the meaning of a reason code or of a key, stands here in tables, and tests see to it that none
is missing.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tango
from typer.models import ArgumentInfo, ParameterInfo

from docs.client_reference import client_reference
from ska_oso_activity.application import records
from ska_oso_activity.cli.main import app
from ska_oso_activity.devices.activity_device import ActivityDevice
from ska_oso_activity.devices.base import OsoDevice
from ska_oso_activity.devices.script_execution import ScriptExecution
from ska_oso_activity.domain import activity, errors, procedure
from ska_oso_activity.domain.errors import Reason

DEVICES = {"activity-device": ActivityDevice, "script-execution": ScriptExecution}

REASONS: Mapping[Reason, str] = {
    Reason.SB_NOT_FOUND: "The archive has no such block or version, or there is no such file.",
    Reason.SB_INVALID: "What was found cannot be read as a Scheduling Block, is over 8 MiB, is "
    "another block than the one asked for, or has an activity that makes no sense.",
    Reason.ODA_UNAVAILABLE: "The archive does not answer, or did not take the SBI.",
    Reason.ACTIVITY_NOT_FOUND: "The block has no activity of that name; the text lists those it "
    "has.",
    Reason.SCRIPT_NOT_ALLOWED: "The script is not beneath an allowed root or repository, or is of "
    "a kind or for a telescope that this executor does not run.",
    Reason.SCRIPT_NOT_FOUND: "It would be allowed, and there is no such file.",
    Reason.SCRIPT_LOAD_ERROR: "The script does not compile, its import raises, or it has neither "
    "`main` nor `run`.",
    Reason.ENVIRONMENT_ERROR: "A clone, a virtual environment or the block's file could not be "
    "made ready.",
    Reason.SCRIPT_ERROR: "`init` or `main` raised an exception, or does not take the arguments.",
    Reason.SCRIPT_DIED: "The script's process ended without returning: `sys.exit`, `os._exit`, a "
    "signal, no memory. The text says which.",
    Reason.SUBARRAY_BUSY: "Another activity holds the subarray; the text names it.",
    Reason.EXECUTOR_UNAVAILABLE: "The executor could not be asked, and has not got the script.",
    Reason.EXECUTOR_LOST: "The script was running, and the process that owned it is gone.",
    Reason.TIMEOUT: "Something took longer than it may; today only the check of a script.",
    Reason.INTERNAL_ERROR: "A defect of ours. The server's log has the rest.",
    Reason.STOPPED_BY_REQUEST: "StopActivity, StopProcess or Abort.",
    Reason.INVALID_REQUEST: "The request is malformed or asks for something that cannot be.",
    Reason.NO_CAPACITY: "Too much is unfinished, or no executor answers.",
    Reason.NO_SPACE: "The disk takes no record, so nothing can be accepted.",
    Reason.NOT_ONLINE: "adminMode is neither ONLINE nor ENGINEERING.",
    Reason.UNKNOWN_ACTIVITY: "No activity, procedure or check has that id.",
    Reason.WRONG_STATE: "The state machine does not allow this now.",
}

KEYS: Mapping[str, str] = {
    "epoch": "identity of the history within which `seq` rises",
    "seq": "rises by one with each event",
    "time": "when it happened, UTC",
    "activity_id": "rises, never used twice",
    "command_id": "of RunActivity",
    "command_ids": "of RunActivity, StartActivity and StopActivity, in order",
    "request_id": "chosen by whoever asked",
    "requested_by": "as in the request",
    "comment": "as in the request",
    "state": "the state it is in",
    "previous_state": 'the one before; "NONE" or "UNKNOWN" at first',
    "activity_states": "list of `[state, time]`",
    "procedure_states": "list of `[state, time]`",
    "sbd_id": "null for a draft",
    "sbd_version": "the archive's; for a file what its metadata say, or null",
    "sb_uri": "the block as a URI",
    "activity_name": "as in the request",
    "subarray_id": "the lane, or null",
    "prepare_only": "as in the request",
    "create_env": "as in the request",
    "script_args": "what the functions are given: the block's and the request's, combined",
    "script": "the script, with the commit that a branch stood for",
    "sbi_id": "of the Scheduling Block Instance, once there is one",
    "executor": "the ScriptExecution device",
    "procedure_id": "of the script, at that executor",
    "progress": "percent, as the script reported it",
    "message": "what the script announced last, or what there is to say about the event",
    "reason": "a reason code, or null",
    "error": "what went wrong, in words, or null",
    "stacktrace": "of the script's exception, from its first frame on, or null",
    "result": "the JSON that `main` returned, or null",
    "abort": "`{procedure_id, state, error}` of the abort script, or null",
    "output_tail": "the last 50 lines of output",
    "pid": "of the script's process",
    "exit_code": "of the script's process, once it has ended by itself",
    "signal": "that ended it, or null",
    "labels": "what ActivityDevice says the procedure is for",
}

EXIT_CODES: Mapping[int, str] = {
    0: "done; for `run` and `start`: SUCCEEDED, or READY with `--prepare-only`",
    1: "the activity FAILED, the block is not valid, the abort script failed, the stack did not "
    "start",
    2: "refused by the device, or the command line makes no sense; nothing was changed",
    3: "the activity was STOPPED",
    4: "the device or the Tango database does not answer",
    130: "Ctrl-C",
}

_OBJECT = r"\{[^{}]*\}"
for _ in range(3):
    _OBJECT = r"\{(?:[^{}]|" + _OBJECT + r")*\}"
_JSON = re.compile(rf"({_OBJECT}|\[\[.*?\]\])")


# --- Devices ---------------------------------------------------------------------------------


def attributes_of(device: type[OsoDevice]) -> dict[str, Any]:
    """The attributes of a device class beside State and Status."""
    return dict(sorted(device.TangoClassClass.attr_list.items()))


def commands_of(device: type[OsoDevice]) -> dict[str, Any]:
    """The commands of a device class beside Init, State and Status."""
    return dict(device.TangoClassClass.cmd_list)


def properties_of(device: type[OsoDevice]) -> dict[str, Any]:
    """The properties of a device class."""
    return dict(device.TangoClassClass.device_property_list)


def attribute_table(device: type[OsoDevice], *, shared: bool) -> str:
    """The attributes that the device alone has, or (`shared`) those of both."""
    both = attributes_of(OsoDevice)
    return table(
        ("attribute", "type", "value"),
        [
            (f"`{name}`", _attribute_type(each), _escaped(each.__doc__))
            for name, each in attributes_of(device).items()
            if (name in both) is shared
        ],
    )


def command_table(device: type[OsoDevice], *, shared: bool) -> str:
    """The commands that the device alone has, or (`shared`) those of both."""
    both = commands_of(OsoDevice)
    rows = []
    for name, (takes, gives, _) in commands_of(device).items():
        if (name in both) is shared:
            rows.append((f"`{name}`", _argument(takes), _argument(gives)))
    return table(("command", "takes", "gives"), rows)


def property_table(device: type[OsoDevice]) -> str:
    """The properties of the device."""
    rows = []
    for name, (kind, doc, default, _) in properties_of(device).items():
        values = default if isinstance(default, list) else [default]
        shown = "<br>".join(f"`{value}`" for value in values if value != "") or "empty"
        rows.append((f"`{name}`", str(kind), shown, _escaped(doc)))
    return table(("property", "type", "default", "meaning"), rows)


def _attribute_type(attribute: Any) -> str:
    kind = str(attribute.attr_type)
    if attribute.attr_format is tango.AttrDataFormat.SPECTRUM:
        kind += f"[{attribute.dim_x}]"
    if attribute.attr_write is tango.AttrWriteType.READ_WRITE:
        kind += ", read and write"
    return kind


def _argument(kind_and_doc: list[Any]) -> str:
    kind, doc = kind_and_doc
    return "nothing" if kind is tango.DevVoid else f"{kind}: {_escaped(doc)}"


# --- States ----------------------------------------------------------------------------------


def state_table(states: type[IntEnum]) -> str:
    """The states with their values and what they mean, from the comments beside them."""
    meanings = comments_of(states)
    return table(
        ("state", "value", "meaning"),
        [(f"`{state.name}`", str(state.value), meanings[state.name]) for state in states],
    )


def comments_of(states: type[IntEnum]) -> dict[str, str]:
    """The comments beside the members of an enum."""
    return dict(re.findall(r"^    (\w+) = \d+  # (.+)$", inspect.getsource(states), re.MULTILINE))


def transition_table(transitions: Mapping[Any, frozenset[Any]]) -> str:
    """From each state to those that may follow."""
    return table(
        ("from", "to"),
        [
            (f"`{state.name}`", ", ".join(f"`{each.name}`" for each in sorted(following)) or "-")
            for state, following in transitions.items()
        ],
    )


def state_diagram(transitions: Mapping[Any, frozenset[Any]]) -> str:
    """The same as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2"]
    for state, following in transitions.items():
        lines += [f"    {state.name} --> {each.name}" for each in sorted(following)]
        lines += [] if following else [f"    {state.name} --> [*]"]
    return "\n".join([*lines, "```", ""])


# --- Reasons and keys ------------------------------------------------------------------------


def reason_groups() -> dict[str, list[Reason]]:
    """The reason codes under the comments that stand above them."""
    groups: dict[str, list[Reason]] = {}
    heading = ""
    for line in inspect.getsource(Reason).splitlines():
        if found := re.match(r"    # (.+)$", line):
            heading = found[1]
        elif found := re.match(r"    ([A-Z_]+) = ", line):
            groups.setdefault(heading, []).append(Reason(found[1]))
    return groups


def reason_table() -> str:
    """All reason codes, in groups."""
    parts = []
    for heading, reasons in reason_groups().items():
        parts += [f"{heading}\n", table(("code", "meaning"), [_reason(each) for each in reasons])]
    return "\n".join(parts)


def _reason(reason: Reason) -> tuple[str, str]:
    return f"`{reason}`", REASONS[reason]


def error_table() -> str:
    """The exceptions behind the codes."""
    found = [
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, errors.ActivityError)
    ]
    return table(
        ("exception", "code", "says"),
        [(f"`{each.__name__}`", f"`{each.reason}`", _first_line(each)) for each in found],
    )


def key_columns() -> dict[str, dict[str, tuple[str, ...]]]:
    """Where which JSON keys occur, by device."""
    event = tuple(field.name for field in fields(activity.ActivityEvent))
    procedure_event = tuple(field.name for field in fields(procedure.ProcedureEvent))
    procedure_summary = (*procedure_event, *records.PROCEDURE_SUMMARY)
    short = tuple(key for key in procedure_summary if key not in {"result", "stacktrace"})
    return {
        "activity-device": {
            "activityEvent": event,
            "GetActivity": records.ACTIVITY_SUMMARY,
            "ListActivities, activities": records.ACTIVITY_SHORT,
        },
        "script-execution": {
            "procedureEvent": procedure_event,
            "GetProcess": (*procedure_summary, "output_tail"),
            "StartProcess, StopProcess": procedure_summary,
            "procedures": short,
        },
    }


def key_table(columns: Mapping[str, tuple[str, ...]]) -> str:
    """Which JSON value has which key, and what it means."""
    names = dict.fromkeys(key for keys in columns.values() for key in keys)
    return table(
        ("key", *columns, "meaning"),
        [
            (f"`{name}`", *("yes" if name in keys else "" for keys in columns.values()), KEYS[name])
            for name in names
        ],
    )


# --- The command line ------------------------------------------------------------------------


def command_line() -> str:
    """Every command of `ska-oso-activity`, from what its --help is made of."""
    parts = []
    for command in app.registered_commands:
        parameters = parameters_of(command.callback)
        arguments = [words for words, info, _ in parameters if isinstance(info, ArgumentInfo)]
        name = str(command.name)
        parts.append(f"### `ska-oso-activity {name}`\n")
        parts.append(f"```text\nska-oso-activity {' '.join([name, *arguments])}\n```\n")
        parts.append(_escaped(inspect.getdoc(command.callback) or "") + "\n")
        rows = [
            (f"`{words}`", _escaped(info.help or ""), _shown(default))
            for words, info, default in parameters
        ]
        parts.append(table(("argument or option", "meaning", "default"), rows))
    return "\n".join(parts)


def parameters_of(function: Any) -> list[tuple[str, ParameterInfo, Any]]:
    """How each parameter is written, what typer is told of it, and its default."""
    hints = get_type_hints(function, include_extras=True)
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *extras = get_args(hints[name]) if get_origin(hints[name]) is Annotated else [None]
        info = next((each for each in extras if isinstance(each, ParameterInfo)), None)
        if info is None:
            raise TypeError(f"{function.__name__}: {name} is not an Annotated option or argument")
        default = None if parameter.default is parameter.empty else parameter.default
        found.append((_written(name, info, kind), info, default))
    return found


def _written(name: str, info: ParameterInfo, kind: Any) -> str:
    """`--port N`, `BLOCK`."""
    value = info.metavar or _value_of(info, kind)
    if isinstance(info, ArgumentInfo):
        return value or name.upper()
    # Within Annotated, typer takes the first name for its `default`.
    names = [each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str)]
    option = ", ".join(names) or "--" + name.replace("_", "-")
    return f"{option} {value}".strip()


def _value_of(info: ParameterInfo, kind: Any) -> str:
    kinds = [each for each in get_args(kind) if each is not type(None)] or [kind]
    if kinds == [bool]:
        return ""
    if isinstance(kinds[0], type) and issubclass(kinds[0], Enum):
        return "|".join(each.value for each in kinds[0])
    if info.min is not None and info.max is not None:
        return f"{info.min}..{info.max}"
    return {int: "N", float: "NUMBER"}.get(kinds[0], "TEXT")


def _shown(default: Any) -> str:
    if default in (None, False):
        return ""
    return f"`{default.value if isinstance(default, Enum) else default}`"


def exit_code_table() -> str:
    """The exit codes of the command line."""
    return table(("code", "meaning"), [(str(code), text) for code, text in EXIT_CODES.items()])


# --- Markdown --------------------------------------------------------------------------------


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [tuple(head)]
    lines.append(("---",) * len(lines[0]))
    lines += [tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _escaped(text: str) -> str:
    """Text of the code as Markdown: JSON as code, angle brackets as they are."""
    parts = _JSON.split(text)
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    parts[1::2] = [f"`{part}`" for part in parts[1::2]]
    return "".join(parts)


def _first_line(each: Any) -> str:
    return (inspect.getdoc(each) or "").partition("\n")[0]


def fragments() -> dict[str, str]:
    """All fragments by file name."""
    made = {
        "shared-attributes.md": attribute_table(ActivityDevice, shared=True),
        "shared-commands.md": command_table(ActivityDevice, shared=True),
        "activity-states.md": state_table(activity.ActivityState),
        "activity-transitions.md": transition_table(activity.TRANSITIONS),
        "activity-diagram.md": state_diagram(activity.TRANSITIONS),
        "procedure-states.md": state_table(procedure.ProcedureState),
        "procedure-transitions.md": transition_table(procedure.TRANSITIONS),
        "procedure-diagram.md": state_diagram(procedure.TRANSITIONS),
        "reasons.md": reason_table(),
        "errors.md": error_table(),
        "client.md": client_reference(),
        "command-line.md": command_line(),
        "exit-codes.md": exit_code_table(),
    }
    for name, device in DEVICES.items():
        made[f"{name}-attributes.md"] = attribute_table(device, shared=False)
        made[f"{name}-commands.md"] = command_table(device, shared=False)
        made[f"{name}-properties.md"] = property_table(device)
        made[f"{name}-keys.md"] = key_table(key_columns()[name])
    return made


def write(directory: Path) -> None:
    """Write all fragments; files that are right already are left alone."""
    directory.mkdir(parents=True, exist_ok=True)
    made = fragments()
    for path in directory.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        path = directory / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
