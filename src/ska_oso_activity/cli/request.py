"""Builds requests from what was typed (cli)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ska_oso_activity.cli.errors import UsageError
from ska_oso_activity.domain import strict_json


def block_keys(block: str) -> dict[str, str]:
    """The key of a request that names a block: an `sbd_id`, a URI, or a JSON file that is here.

    Raises:
        UsageError: no such file.
    """
    if "://" in block:
        return {"sb_uri": block}
    if "/" in block or block.endswith(".json"):
        path = Path(block)
        if not path.is_file():
            raise UsageError(f"no such file: {block}")
        return {"sb_uri": path.resolve().as_uri()}
    return {"sbd_id": block}


def block_argument(block: str) -> str:
    """The same as one string, for DescribeSchedulingBlock."""
    return next(iter(block_keys(block).values()))


def read_script_args(text: str | None) -> dict[str, Any]:
    """Arguments of a script's functions from JSON, or from the file that `@FILE` names.

    Raises:
        UsageError: no such file, or not a JSON object.
    """
    if not text:
        return {}
    try:
        source = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
        given = strict_json.loads(source)
    except (OSError, ValueError) as error:
        raise UsageError(f"--script-args cannot be read: {error}") from error
    if not isinstance(given, dict):
        raise UsageError(
            '--script-args must be an object such as {"main": {"kwargs": {"repeat": 2}}}'
        )
    return {"script_args": given}
