"""The tolerant reader of Scheduling Blocks: PDM JSON into domain values (adapters layer).

Only what an activity needs is read; everything else differs between PDM versions and passes through
untouched. Facts: `contracts/scheduling-block.md` (OET 4.0 to 8.0rc, OSO services 16.3, PDM 17.2).
Two generations of activities are known:

- from PDM 10: `kind` filesystem, git or inline, `function_args` {init, main}, paths as URIs;
- before: `procedure_type` filesystemscript or gitscript, `default_args` {init, run}, bare paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ska_oso_activity.application.ports import FetchedBlock
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.arguments import (
    FunctionArguments,
    check_subarray_id,
    read_function_arguments,
)
from ska_oso_activity.domain.errors import (
    ActivityNotFound,
    InvalidRequest,
    SchedulingBlockInvalid,
)
from ska_oso_activity.domain.scheduling_block import (
    BLOCK_LIMIT,
    SBD_ID,
    BlockActivity,
    BlockReference,
    SchedulingBlock,
)
from ska_oso_activity.domain.script import FileSystemScript, GitScript, InlineScript, Script

MAX_DEPTH = 64
"""How deep a block may nest; real ones stay below 15."""
MAX_VERSION = 10**9
MAX_TELESCOPE = 64
NAMES_SHOWN = 20
INLINE_HEAD = 200
"""Characters of an inline script that a description shows."""

_KINDS = {
    "filesystem": "filesystem",
    "filesystemscript": "filesystem",
    "git": "git",
    "gitscript": "git",
    "inline": "inline",
}


def read_scheduling_block(fetched: FetchedBlock, reference: BlockReference) -> SchedulingBlock:
    """The block in a text that was fetched for `reference`.

    Its activities are left raw: `find_activity` reads one of them, so a broken one does not stop
    its neighbours.

    Raises:
        SchedulingBlockInvalid: not JSON that is accepted, not a block, or another block.
    """
    try:
        document = strict_json.loads(fetched.content, limit=BLOCK_LIMIT, max_depth=MAX_DEPTH)
    except strict_json.NotJson as error:
        raise SchedulingBlockInvalid(
            f"Scheduling Block {reference} is not JSON that is accepted: {error}"
        ) from error
    if not isinstance(document, dict):
        raise SchedulingBlockInvalid(
            f"Scheduling Block {reference} must be a JSON object, not {_kind_of(document)}"
        )
    activities = document.get("activities")
    if not isinstance(activities, dict):
        raise SchedulingBlockInvalid(
            f"Scheduling Block {reference} must have `activities`, an object of activities by "
            f"name, not {_kind_of(activities)}"
        )
    in_file = reference.path is not None
    return SchedulingBlock(
        sbd_id=_sbd_id(document.get("sbd_id"), reference),
        version=metadata_version(document) if in_file else fetched.version,
        telescope=_telescope(document.get("telescope"), reference),
        activities=activities,
        content=fetched.content,
    )


def metadata_version(document: Mapping[str, Any]) -> int | None:
    """The version a block claims for itself, or None where it says nothing usable."""
    metadata = document.get("metadata")
    version = metadata.get("version") if isinstance(metadata, dict) else None
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version < MAX_VERSION:
        return None
    return version


def find_activity(block: SchedulingBlock, name: str) -> BlockActivity:
    """The activity `name` of a block, and no other.

    The texts of paths, repositories and inline scripts are not judged: the executor's door does
    that, and refuses with SCRIPT_NOT_ALLOWED.

    Raises:
        ActivityNotFound: the block has no activity of that name; the text lists those it has.
        SchedulingBlockInvalid: the activity cannot be read.
    """
    if name not in block.activities:
        raise ActivityNotFound(
            f"Scheduling Block {block.sbd_id or 'draft'} has no activity {name!r:.150}: "
            f"it has {_shown(block.activities)}"
        )
    raw = block.activities[name]
    where = f"activity {name!r:.150}"
    if not isinstance(raw, dict):
        raise SchedulingBlockInvalid(f"{where} must be an object, not {_kind_of(raw)}")
    return BlockActivity(name, _script(raw, where), _function_args(raw, where))


def describe(block: SchedulingBlock) -> dict[str, Any]:
    """What can be run in a block, as DescribeSchedulingBlock gives it.

    An activity that cannot be read has kind null and a text `error`.
    """
    return {
        "sbd_id": block.sbd_id,
        "version": block.version,
        "telescope": block.telescope,
        "activities": {name: _described(block, name) for name in block.activities},
    }


def _described(block: SchedulingBlock, name: str) -> dict[str, Any]:
    try:
        activity = find_activity(block, name)
    except SchedulingBlockInvalid as error:
        return {"kind": None, "script": None, "functions": [], "error": str(error)}
    script = activity.script.to_json()
    if isinstance(activity.script, InlineScript):
        script["content"] = activity.script.content[:INLINE_HEAD]
    return {
        "kind": activity.script.kind,
        "script": script,
        "functions": list(activity.function_args),
    }


def _sbd_id(value: Any, reference: BlockReference) -> str | None:
    """The block's id, which must be the one asked for; only a file may have none (a draft)."""
    if value is None and reference.path is not None:
        return None
    # The id becomes part of file names, so its form matters for files too.
    if not isinstance(value, str) or not SBD_ID.match(value):
        found = "it has none" if value is None else f"it has {value!r:.150}"
        raise SchedulingBlockInvalid(
            f"Scheduling Block {reference} must have a string of letters, digits, '.', '_' and "
            f"'-' as sbd_id: {found}"
        )
    if reference.sbd_id is not None and value != reference.sbd_id:
        raise SchedulingBlockInvalid(
            f"Scheduling Block {reference.sbd_id} was asked for and the archive gave {value}"
        )
    return value


def _telescope(value: Any, reference: BlockReference) -> str | None:
    # It becomes an environment variable of the script, which takes no NUL.
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_TELESCOPE:
        raise SchedulingBlockInvalid(
            f"telescope of Scheduling Block {reference} must be a string such as 'ska_mid', "
            f"not {value!r:.80}"
        )
    return value


def _script(raw: Mapping[str, Any], where: str) -> Script:
    """The script of a raw activity, in the form of today's URIs."""
    key = "kind" if raw.get("kind") is not None else "procedure_type"
    given = raw.get(key)
    kind = _KINDS.get(given) if isinstance(given, str) else None
    if kind is None:
        raise SchedulingBlockInvalid(
            f"{where} must have kind filesystem, git or inline, not {given!r:.80}"
        )
    if kind == "inline":
        return InlineScript(_text(raw, "content", where))
    path = _text(raw, "path", where)
    if kind == "filesystem":
        return FileSystemScript(_file_uri(path))
    return GitScript(
        uri=_git_uri(path),
        repo=_text(raw, "repo", where),
        branch=_optional_text(raw, "branch", where),
        commit=_optional_text(raw, "commit", where),
    )


def _file_uri(path: str) -> str:
    """A bare path, as old blocks have it, becomes a URI; anything else stays as it is."""
    if not path.startswith("/"):
        return path
    return "file://" + path.replace("%", "%25").replace("?", "%3F").replace("#", "%23")


def _git_uri(path: str) -> str:
    """A bare path, which old blocks begin with a slash, becomes a URI; others stay as they are."""
    return path if "://" in path or not path else "git://" + path.removeprefix("/")


def _function_args(raw: Mapping[str, Any], where: str) -> FunctionArguments:
    """The block's own arguments by function; a `subarray_id` of null counts as absent."""
    key = "function_args" if raw.get("function_args") is not None else "default_args"
    try:
        arguments = read_function_arguments(raw.get(key), f"{key} of {where}")
        for name, given in arguments.items():
            subarray_id = given.kwargs.get("subarray_id")
            if subarray_id is not None:
                check_subarray_id(subarray_id, f"subarray_id in {key}.{name} of {where}")
    except InvalidRequest as error:
        raise SchedulingBlockInvalid(str(error)) from error
    return arguments


def _text(raw: Mapping[str, Any], key: str, where: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str):
        raise SchedulingBlockInvalid(f"{where} must have a string {key}, not {_kind_of(value)}")
    return value


def _optional_text(raw: Mapping[str, Any], key: str, where: str) -> str | None:
    return None if raw.get(key) is None else _text(raw, key, where)


def _kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "null or missing" if value is None else "a number")


def _shown(names: Iterable[str]) -> str:
    """Names for an operator's screen: escaped, and only the first few of many."""
    listed = list(names)
    if not listed:
        return "none"
    text = ", ".join(f"{name!r:.80}" for name in listed[:NAMES_SHOWN])
    more = len(listed) - NAMES_SHOWN
    return f"{text} and {more} more" if more > 0 else text
