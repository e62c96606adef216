"""What a demonstration runs: our two samples, or a block of the user's own (cli)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ska_oso_activity import samples
from ska_oso_activity.adapters.pdm import (
    find_activity,
    metadata_version,
    read_scheduling_block,
)
from ska_oso_activity.application.ports import FetchedBlock
from ska_oso_activity.cli.errors import UsageError
from ska_oso_activity.domain.errors import ActivityError
from ska_oso_activity.domain.scheduling_block import (
    BlockReference,
    SchedulingBlock,
    path_of_file_uri,
)
from ska_oso_activity.domain.script import FileSystemScript, GitScript

OURS = "allocate_and_observe"
"""The activity of our samples, and the script that stands in for others: from EMPTY to EMPTY."""
THEIRS = "observe"
"""The activity of another block that is run unless one is named."""


@dataclass(frozen=True)
class Plan:
    """What to start the stack with, and the requests to send.

    Attributes:
        note: what the user should know beforehand.
    """

    oda: Path
    requests: tuple[dict[str, Any], ...]
    scripts: tuple[Path, ...] = ()
    repositories: tuple[str, ...] = ()
    note: str = ""


def of_samples(directory: Path) -> Plan:
    """Our Mid block on subarray 1 and our Low block on subarray 2, copied into `directory`."""
    copy = samples.install(directory)
    requests = (
        {"sbd_id": copy.mid_sbd_id, "activity_name": OURS, "subarray_id": 1},
        {"sbd_id": copy.low_sbd_id, "activity_name": OURS, "subarray_id": 2},
    )
    return Plan(copy.oda, requests, (copy.scripts,))


def of_block(
    file: Path,
    directory: Path,
    *,
    activity: str | None = None,
    scripts: Path | None = None,
    sample_script: bool = False,
) -> Plan:
    """The block in `file` on subarray 1, from a copy of it in an ODA in `directory`.

    Args:
        activity: its name; `observe`, or the only one, unless given.
        scripts: where its script may be if the path that the block names does not exist; the
            block's own folder unless given.
        sample_script: run our own `allocate_and_observe.py` instead, which makes all scans.

    Raises:
        UsageError: it cannot be run here; the text says what to do.
    """
    file = file.resolve()
    block = _read(file)
    name = activity or _the_activity(block)
    try:
        script = find_activity(block, name).script
    except ActivityError as error:
        raise UsageError(f"{file} cannot be run: {error}") from error
    content = block.content
    roots: tuple[Path, ...] = ()
    repositories: tuple[str, ...] = ()
    note = ""
    if sample_script:
        ours = samples.install(directory).scripts / f"{OURS}.py"
        roots = (ours.parent,)
        content = _with_activity(block, name, {"kind": "filesystem", "path": ours.as_uri()})
        note = f"A copy of the block runs our {OURS}.py, on a simulated telescope."
    elif isinstance(script, FileSystemScript):
        named = Path(path_of_file_uri(script.uri) or script.uri)
        found = _script_here(named, (scripts or file.parent).resolve(), name)
        roots = (found.parent,)
        if found != named:
            content = _with_activity(block, name, {"path": found.as_uri()}, keep=True)
            note = f"{named} does not exist here: a copy of the block runs {found} instead."
    elif isinstance(script, GitScript):
        repositories = (script.repo,)
        note = f"The script comes from {script.repo}; --sample-script does without it."
    copy = _place(block, directory / "oda")
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(content, encoding="utf-8", newline="")
    which = {"sbd_id": block.sbd_id} if block.sbd_id else {"sb_uri": copy.as_uri()}
    request = {**which, "activity_name": name, "subarray_id": 1}
    return Plan(directory / "oda", (request,), roots, repositories, note)


def _read(file: Path) -> SchedulingBlock:
    try:
        content = file.read_bytes().decode("utf-8")
        reference = BlockReference(file.as_uri(), path=str(file))
        return read_scheduling_block(FetchedBlock(content, None), reference)
    except (OSError, UnicodeError, ActivityError) as error:
        raise UsageError(f"{file} cannot be run: {error}") from error


def _the_activity(block: SchedulingBlock) -> str:
    names = list(block.activities)
    if THEIRS in names:
        return THEIRS
    if len(names) == 1:
        return names[0]
    raise UsageError(
        f"the block has the activities {', '.join(names) or '(none)'}: choose one with --activity"
    )


def _script_here(named: Path, scripts: Path, activity: str) -> Path:
    """The script as the block names it, or the file of that name among `scripts`."""
    if named.is_file():
        return named
    other = scripts / named.name
    if other.is_file():
        return other
    raise UsageError(
        f"activity {activity} of the block runs {named}, which does not exist on this machine, and "
        f"there is no {named.name} in {scripts} either. Put the script there; name the directory "
        "that has it with --scripts DIR; or have our script observe the block with --sample-script"
    )


def _with_activity(
    block: SchedulingBlock, name: str, new: dict[str, Any], *, keep: bool = False
) -> str:
    """The block's text with other fields in an activity, beside its own (`keep`) or alone."""
    document = json.loads(block.content)
    activities = document["activities"]
    activities[name] = {**activities[name], **new} if keep else new
    return json.dumps(document, indent=2)


def _place(block: SchedulingBlock, oda: Path) -> Path:
    """Where a copy of the block belongs in an ODA; a draft, without an id, has no place in it."""
    if block.sbd_id is None:
        return oda / "draft" / "draft.json"
    version = metadata_version(json.loads(block.content)) or 1
    return oda / "sbd" / block.sbd_id / f"{version}.json"
