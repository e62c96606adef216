"""One step of an observation: what is configured and scanned in one go (observing library)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A Configure and a Scan.

    Attributes:
        scan: number of the block's scan that this belongs to, from 1.
        label: for people, such as `scan 2 of 4: NGC 253`.
        targets: names of what is looked at.
        configure: the JSON of Configure.
        duration: seconds that the scan takes.
    """

    scan: int
    label: str
    targets: tuple[str, ...]
    configure: Json
    duration: float


def label(scan: int, scans: int, targets: tuple[str, ...], place: int, places: int) -> str:
    """`scan 2 of 4: NGC 253`; of a scan with several pointings, which."""
    more = f", pointing {place} of {places}" if places > 1 else ""
    return f"scan {scan} of {scans}: {' and '.join(targets)}{more}"
