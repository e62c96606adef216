"""The kinds of activities that are tried: a script, what it is given, and how it ends by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

SUCCEEDED = "SUCCEEDED"
STOPPED = "STOPPED: STOPPED_BY_REQUEST"


def failed(reason: str) -> str:
    """An end as the checks compare it: the state and, unless it succeeded, the reason."""
    return f"FAILED: {reason}"


@dataclass(frozen=True)
class Kind:
    """One kind of activity.

    Attributes:
        script: file in `scripts`.
        ends: how it ends if nobody interferes; nothing: it has to be stopped.
        arguments: keyword arguments of its main.
        weight: how often it is chosen, against others.
        padding: bytes that its Scheduling Block is blown up by, so that fetching takes long.
        block: what is in the archive instead of a Scheduling Block, if anything is.
    """

    script: str
    ends: frozenset[str]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weight: int = 2
    padding: int = 0
    block: str | None = None


def _kind(script: str, *ends: str, weight: int = 2, **arguments: Any) -> Kind:
    return Kind(f"{script}.py", frozenset(ends), arguments, weight)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "quick": _kind("quick", SUCCEEDED, weight=8),
        "ticks": _kind("ticks", SUCCEEDED, weight=12),
        "slow to prepare": _kind("slow_to_prepare", SUCCEEDED, weight=6),
        "slow to fetch": Kind("quick.py", frozenset({SUCCEEDED}), padding=4_000_000),
        "sleeps": _kind("stubborn", weight=3, how="sleeps"),
        "loops in C": _kind("stubborn", how="loops"),
        "swallows everything": _kind("stubborn", how="swallows"),
        "ignores signals": _kind("stubborn", how="ignores"),
        "leaves a daemon": _kind("daemons", SUCCEEDED, then="return", weight=3),
        "dies beside its daemon": _kind("daemons", failed("SCRIPT_DIED"), then="die"),
        "sleeps beside its daemon": _kind("daemons", then="sleep"),
        "os._exit": _kind("dies", failed("SCRIPT_DIED"), how="os_exit"),
        "sys.exit": _kind("dies", failed("SCRIPT_DIED"), how="sys_exit"),
        "segfault": _kind("dies", failed("SCRIPT_DIED"), how="segfault"),
        # A MemoryError is an exception unless the interpreter itself gives up.
        "out of memory": _kind(
            "dies", failed("SCRIPT_ERROR"), failed("SCRIPT_DIED"), how="memory", weight=1
        ),
        "raises": _kind("raises", failed("SCRIPT_ERROR"), unspeakable=False),
        # Its SystemExit comes while others print the exception; either reading of that is fair.
        "raises the unspeakable": _kind("raises", failed("SCRIPT_ERROR"), unspeakable=True),
        "floods": _kind("floods", SUCCEEDED),
        "breaks while loading": _kind("breaks_while_loading", failed("SCRIPT_LOAD_ERROR")),
        "a fifo for a block": Kind(
            "quick.py",
            frozenset({failed(each) for each in ("SB_INVALID", "SB_NOT_FOUND", "ODA_UNAVAILABLE")}),
            block="fifo",
        ),
        "garbage for a block": Kind("quick.py", frozenset({failed("SB_INVALID")}), block="garbage"),
    }
)
