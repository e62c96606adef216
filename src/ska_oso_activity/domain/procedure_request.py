"""What ScriptExecution's commands take, as values (domain layer).

Unknown keys are passed over here: the two devices may be of different releases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.arguments import ProcedureInput, check_subarray_id
from ska_oso_activity.domain.errors import InvalidRequest
from ska_oso_activity.domain.procedure import (
    BlockContent,
    PrepareProcessCommand,
    StartProcessCommand,
    StopProcessCommand,
)
from ska_oso_activity.domain.scheduling_block import BLOCK_LIMIT, SBD_ID
from ska_oso_activity.domain.script import (
    FUNCTIONS,
    FileSystemScript,
    GitScript,
    InlineScript,
    Script,
)

PREPARE_LIMIT = 6 * BLOCK_LIMIT + strict_json.REQUEST_LIMIT
"""Largest argument of PrepareProcess, in bytes: a block may grow sixfold when escaped as ASCII."""
REST_LIMIT = 8 * 1024 * 1024
"""Largest size of all but the block, in bytes: a script's process is sent it in one message."""
MAX_REQUEST_ID = 128


def read_prepare(text: str) -> PrepareProcessCommand:
    """Read the argument of PrepareProcess or CheckProcess.

    Raises:
        InvalidRequest: with one sentence on what is wrong.
    """
    given = _object(text, PREPARE_LIMIT)
    if len(text) > REST_LIMIT or not text.isascii():  # which grows when it is made ASCII
        rest = {key: value for key, value in given.items() if key != "scheduling_block"}
        size = len(strict_json.dumps(rest))
        if size > REST_LIMIT:
            raise InvalidRequest(
                f"what is asked for beside the scheduling_block takes {size} bytes, and "
                f"{REST_LIMIT} is the most that is handed to a script: give it the name of a file"
            )
    main_args = given.get("main_args")
    return PrepareProcessCommand(
        request_id=_text(given, "request_id", MAX_REQUEST_ID),
        script=_script(given.get("script")),
        init_args=ProcedureInput.from_json(given.get("init_args"), "init_args"),
        scheduling_block=_block(given.get("scheduling_block")),
        subarray_id=_subarray(given),
        telescope=_optional_text(given, "telescope"),
        labels=dict(_mapping(given.get("labels") or {}, "labels")),
        main_args=None if main_args is None else ProcedureInput.from_json(main_args, "main_args"),
    )


def prepare_to_json(command: PrepareProcessCommand) -> dict[str, Any]:
    """The argument of PrepareProcess and CheckProcess."""
    block = command.scheduling_block
    return {
        "request_id": command.request_id,
        "script": command.script.to_json(),
        "init_args": command.init_args.to_json(),
        "scheduling_block": None
        if block is None
        else {"sbd_id": block.sbd_id, "version": block.version, "content": block.content},
        "subarray_id": command.subarray_id,
        "telescope": command.telescope,
        "labels": dict(command.labels),
        "main_args": None if command.main_args is None else command.main_args.to_json(),
    }


def read_start(text: str) -> StartProcessCommand:
    """Read the argument of StartProcess.

    Raises:
        InvalidRequest: with one sentence on what is wrong.
    """
    given = _object(text)
    function = given.get("function", "main")
    if function not in FUNCTIONS:
        raise InvalidRequest(
            f"function must be one of {', '.join(FUNCTIONS)}, not {function!r:.80}"
        )
    return StartProcessCommand(
        procedure_id=_procedure_id(given),
        function=function,
        args=ProcedureInput.from_json(given.get("args"), "args"),
        force_start=_flag(given, "force_start"),
        subarray_id=_subarray(given),
    )


def start_to_json(command: StartProcessCommand) -> dict[str, Any]:
    """The argument of StartProcess."""
    return {
        "procedure_id": command.procedure_id,
        "function": command.function,
        "args": command.args.to_json(),
        "force_start": command.force_start,
        "subarray_id": command.subarray_id,
    }


def read_stop(text: str) -> StopProcessCommand:
    """Read the argument of StopProcess.

    Raises:
        InvalidRequest: with one sentence on what is wrong.
    """
    given = _object(text)
    return StopProcessCommand(_procedure_id(given), _flag(given, "run_abort"))


def stop_to_json(command: StopProcessCommand) -> dict[str, Any]:
    """The argument of StopProcess."""
    return {"procedure_id": command.procedure_id, "run_abort": command.run_abort}


def read_output_request(text: str) -> tuple[int, int, int]:
    """Read the argument of GetOutput: procedure id, offset, limit.

    Raises:
        InvalidRequest: with one sentence on what is wrong.
    """
    given = _object(text)
    return (
        _procedure_id(given),
        _count(given, "offset", 0, least=0),
        _count(given, "limit", 1000, least=1),
    )


def _object(text: str, limit: int = strict_json.REQUEST_LIMIT) -> dict[str, Any]:
    try:
        given = strict_json.loads(text, limit=limit)
    except strict_json.NotJson as error:
        raise InvalidRequest(f"the argument is not JSON that is accepted: {error}") from error
    return dict(_mapping(given, "the argument"))


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"{where} must be a JSON object, not {value!r:.80}")
    return value


def _text(given: Mapping[str, Any], key: str, limit: int) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= limit or not value.isprintable():
        raise InvalidRequest(
            f"{key} must be a string of 1 to {limit} printable characters, not {value!r:.80}"
        )
    return value


def _optional_text(given: Mapping[str, Any], key: str) -> str | None:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{key} must be a string or null, not {value!r:.80}")
    return value


def _subarray(given: Mapping[str, Any]) -> int | None:
    value = given.get("subarray_id")
    return None if value is None else check_subarray_id(value, "subarray_id")


def _flag(given: Mapping[str, Any], key: str) -> bool:
    value = given.get(key, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{key} must be true or false, not {value!r:.80}")
    return value


def _procedure_id(given: Mapping[str, Any]) -> int:
    return _count(given, "procedure_id", None, least=1)


def _count(given: Mapping[str, Any], key: str, default: int | None, *, least: int) -> int:
    value = given.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise InvalidRequest(f"{key} must be an integer of at least {least}, not {value!r:.40}")
    return value


def _script(value: Any) -> Script:
    given = _mapping(value, "script")
    kind = given.get("kind")
    if kind == FileSystemScript.kind:
        return FileSystemScript(uri=_field(given, "uri"))
    if kind == GitScript.kind:
        return GitScript(
            uri=_field(given, "uri"),
            repo=_field(given, "repo"),
            branch=_optional_text(given, "branch"),
            commit=_optional_text(given, "commit"),
            create_env=_flag(given, "create_env"),
        )
    if kind == InlineScript.kind:
        return InlineScript(content=_field(given, "content"))
    raise InvalidRequest(f"script.kind must be filesystem, git or inline, not {kind!r:.80}")


def _field(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str):
        raise InvalidRequest(f"script.{key} must be a string, not {value!r:.80}")
    return value


def _block(value: Any) -> BlockContent | None:
    if value is None:
        return None
    given = _mapping(value, "scheduling_block")
    sbd_id, version, content = (given.get(key) for key in ("sbd_id", "version", "content"))
    # It becomes part of a file's name.
    if sbd_id is not None and (not isinstance(sbd_id, str) or not SBD_ID.match(sbd_id)):
        raise InvalidRequest(f"scheduling_block.sbd_id {sbd_id!r:.80} is not an id of the archive")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
        raise InvalidRequest(f"scheduling_block.version must be an integer, not {version!r:.40}")
    if not isinstance(content, str):
        raise InvalidRequest("scheduling_block.content must be the block's text")
    return BlockContent(sbd_id, version, content)
