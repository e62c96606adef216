"""What a script may use to report on its way, and to learn where it runs.

    from ska_oso_activity import script

    def main(sb_json):
        block = script.load_scheduling_block(sb_json)
        script.announce(f"subarray {script.subarray_id()}: {block['sbd_id']}")
        script.progress(0.5, "halfway")

Run by hand, outside an activity, the same script works: reports go to the log, and there is no
subarray.
"""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

__all__ = ["announce", "load_scheduling_block", "progress", "subarray_id"]

_LOG = logging.getLogger(__name__)


class _Reporter(Protocol):
    """Takes reports to whoever runs the script."""

    @property
    def subarray_id(self) -> int | None: ...

    def announce(self, message: str) -> None: ...

    def progress(self, percent: float, message: str) -> None: ...


_reporter: _Reporter | None = None


def announce(message: str) -> None:
    """Tell whoever watches the activity what is going on.

    Args:
        message: one line for people to read.
    """
    if _reporter is None:
        _LOG.info("%s", message)
    else:
        _reporter.announce(str(message))


def progress(fraction: float, message: str = "") -> None:
    """Tell how much of the work is done.

    Args:
        fraction: 0 at the beginning, 1 at the end.
        message: what was just done.

    Raises:
        ValueError: `fraction` is not between 0 and 1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"the fraction done must be between 0 and 1, not {fraction!r}")
    if _reporter is None:
        _LOG.info("%d %% %s", round(100 * fraction), message)
    else:
        _reporter.progress(100.0 * fraction, str(message))


def subarray_id() -> int | None:
    """The subarray that the activity runs on, 1 to 16; None if it runs on none."""
    return None if _reporter is None else _reporter.subarray_id


def load_scheduling_block(reference: str) -> dict[str, Any]:
    """Read a Scheduling Block.

    Args:
        reference: its file, as a path (such as main's `sb_json`) or as a `file://` URI.

    Raises:
        ValueError: it is another kind of URI, or the file holds no JSON object, or doubtful JSON:
            NaN, infinity, a number too large for a double, a key twice in one object.
        OSError: the file cannot be read.
    """
    path = str(reference)
    if "://" in path:
        parts = urlsplit(path)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            raise ValueError(f"a Scheduling Block is a path or a file:// URI, not {reference!r}")
        path = unquote(parts.path)
    content = Path(path).read_bytes()
    try:
        block = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_number,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError(f"{path} holds no Scheduling Block: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path} holds no Scheduling Block: {error}") from error
    if isinstance(block, dict):
        return block
    raise ValueError(f"{path} holds a JSON {type(block).__name__}, not a Scheduling Block")


# Strict JSON, as in `domain.strict_json`, which scripts do without.


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r:.80} appears twice in one object")
        found[key] = value
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text:.80} is too large for a double")
    return value


def report_to(reporter: _Reporter | None) -> None:
    """For the process that runs the script: connect its reports. None disconnects them."""
    global _reporter  # noqa: PLW0603 - scripts call functions of this module
    _reporter = reporter
