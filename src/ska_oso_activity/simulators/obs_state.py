"""What state a subarray is in for observing, and which command leads where (simulators; no Tango).

The states are those of the SKA's ADR-8, the table is TMC's as scripts meet it. The observing
library has its own of both, and is tested against these, so that a slip in either shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class ObsState(IntEnum):
    """What a subarray is doing (ska-control-model)."""

    EMPTY = 0  # nothing is assigned to it
    RESOURCING = 1  # being given resources, or giving them back
    IDLE = 2  # has resources, set up for nothing
    CONFIGURING = 3
    READY = 4  # set up for a scan
    SCANNING = 5
    ABORTING = 6
    ABORTED = 7  # stopped where it was; Restart alone leads on
    RESETTING = 8  # no command of TMC's leads here
    FAULT = 9
    RESTARTING = 10


_S = ObsState


@dataclass(frozen=True)
class Rule:
    """What a command does to a subarray.

    Attributes:
        allowed: states in which it is accepted.
        through: state while it is under way; None: it stays where it is until the end.
        to: state at the end.
        ends_others: whether a command that is under way is broken off.
    """

    allowed: frozenset[ObsState]
    through: ObsState | None
    to: ObsState
    ends_others: bool = False


RULES: Mapping[str, Rule] = {
    "AssignResources": Rule(frozenset({_S.EMPTY, _S.IDLE}), _S.RESOURCING, _S.IDLE),
    # Of a part of the resources: to IDLE.
    "ReleaseResources": Rule(frozenset({_S.IDLE}), _S.RESOURCING, _S.EMPTY),
    "ReleaseAllResources": Rule(frozenset({_S.IDLE}), _S.RESOURCING, _S.EMPTY),
    "Configure": Rule(frozenset({_S.IDLE, _S.READY}), _S.CONFIGURING, _S.READY),
    # The command is completed while scanning goes on; the scan's own end leads to READY.
    "Scan": Rule(frozenset({_S.READY}), _S.SCANNING, _S.READY),
    "EndScan": Rule(frozenset({_S.SCANNING}), None, _S.READY, ends_others=True),
    "End": Rule(frozenset({_S.READY}), None, _S.IDLE),
    "Abort": Rule(
        frozenset({_S.RESOURCING, _S.IDLE, _S.CONFIGURING, _S.READY, _S.SCANNING}),
        _S.ABORTING,
        _S.ABORTED,
        ends_others=True,
    ),
    "Restart": Rule(frozenset({_S.ABORTED, _S.FAULT}), _S.RESTARTING, _S.EMPTY, ends_others=True),
}
"""By command; whatever is not listed is refused."""
