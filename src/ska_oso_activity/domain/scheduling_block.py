"""Scheduling Blocks as far as we read them, and how a request names one (domain layer)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from ska_oso_activity.domain.arguments import FunctionArguments
from ska_oso_activity.domain.errors import InvalidRequest
from ska_oso_activity.domain.script import Script

SBD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
BLOCK_LIMIT = 8 * 1024 * 1024
"""Largest Scheduling Block, in bytes."""
_ODA_URI = re.compile(r"oda://([A-Za-z0-9][A-Za-z0-9._-]{0,127})(?:\?version=([1-9][0-9]{0,8}))?\Z")
_FORMS = "oda://<sbd_id>, oda://<sbd_id>?version=<n> or file:///absolute/path.json"


@dataclass(frozen=True)
class BlockReference:
    """Which Scheduling Block is meant: one of the archive, or one in a file.

    Attributes:
        uri: as kept in the record.
        sbd_id: id in the archive; None for a file.
        version: version in the archive; None for the newest.
        path: absolute path of the file; None for one of the archive.
    """

    uri: str
    sbd_id: str | None = None
    version: int | None = None
    path: str | None = None

    def __str__(self) -> str:
        return self.uri

    @staticmethod
    def of_sbd_id(sbd_id: Any) -> BlockReference:
        """The newest version of a block of the archive.

        Raises:
            InvalidRequest: not a string of the form that ids have.
        """
        if not isinstance(sbd_id, str) or not SBD_ID.match(sbd_id):
            raise InvalidRequest(
                f"sbd_id {sbd_id!r:.80} is not an id of the archive: letters, digits, '.', '_' and "
                "'-', beginning with a letter or digit, 128 at most"
            )
        return BlockReference(f"oda://{sbd_id}", sbd_id=sbd_id)

    @staticmethod
    def parse(uri: Any) -> BlockReference:
        """The block that a URI names.

        Raises:
            InvalidRequest: any form other than the three of the contract.
        """
        if not isinstance(uri, str):
            raise InvalidRequest(f"sb_uri must be a string {_FORMS}, not {uri!r:.80}")
        found = _ODA_URI.match(uri)
        if found:
            version = int(found[2]) if found[2] else None
            return BlockReference(uri, sbd_id=found[1], version=version)
        path = path_of_file_uri(uri)
        if path is None or not path.endswith(".json"):
            raise InvalidRequest(f"sb_uri {uri!r:.200} is not of the form {_FORMS}")
        return BlockReference(uri, path=path)


def path_of_file_uri(uri: str) -> str | None:
    """The absolute path that a `file:///` URI names, or None if it is not a clean one.

    Percent escapes are resolved; a query, a fragment, a host, `.` and `..` steps, control
    characters and text that is not UTF-8 make it unclean.
    """
    if not uri.startswith("file:///") or "?" in uri or "#" in uri:
        return None
    try:
        path = unquote_to_bytes(uri[len("file://") :].encode("utf-8")).decode("utf-8")
    except UnicodeError:
        return None
    steps = path.split("/")[1:]
    if any(step in {"", ".", ".."} for step in steps) or not path.isprintable():
        return None
    return path


@dataclass(frozen=True)
class BlockActivity:
    """One activity of a Scheduling Block: a script and the block's own arguments for it."""

    name: str
    script: Script
    function_args: FunctionArguments


@dataclass(frozen=True)
class SchedulingBlock:
    """A Scheduling Block Definition, as far as an activity needs it.

    Attributes:
        sbd_id: None for a draft, which only a file can hold.
        version: the archive's; for a file the block's own `metadata.version`, or None.
        telescope: `ska_mid`, `ska_low`, `MeerKAT`, or None where it does not say.
        activities: the raw PDM activities by name; read one at a time, so that a broken one does
            not stop its neighbours.
        content: the block's text, exactly as the archive gave it.
    """

    sbd_id: str | None
    version: int | None
    telescope: str | None
    activities: Mapping[str, Any]
    content: str
