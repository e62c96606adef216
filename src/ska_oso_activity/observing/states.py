"""The subarray's obsState (ADR-8), and what each command does to it (observing library)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ObsState(IntEnum):
    """What a subarray is doing; the numbers are those of the Tango attribute `obsState`."""

    EMPTY = 0  # no receptors are assigned
    RESOURCING = 1  # receptors come or go
    IDLE = 2  # receptors are assigned, nothing is configured
    CONFIGURING = 3  # getting ready for a scan
    READY = 4  # configured, on target
    SCANNING = 5  # taking data
    ABORTING = 6  # stopping whatever it was
    ABORTED = 7  # stopped; Restart is next
    RESETTING = 8  # going back to IDLE
    FAULT = 9  # something is wrong; Restart is next
    RESTARTING = 10  # going back to EMPTY


_S = ObsState


@dataclass(frozen=True)
class Command:
    """A command to the telescope, and the way that it takes the subarray.

    Attributes:
        name: of the Tango command.
        allowed: obsStates in which it is accepted.
        through: obsStates on the way, which may be missed.
        target: obsState when it is over.
        seconds: how long it may take, unless the script says otherwise.
        result_may_be_missing: obsState alone tells the end, should no result come soon after.
        meanwhile: obsStates that what is still under way may lead to before this begins.
    """

    name: str
    allowed: frozenset[ObsState]
    through: frozenset[ObsState]
    target: ObsState
    seconds: float
    result_may_be_missing: bool = False
    meanwhile: frozenset[ObsState] = frozenset()


ABORTABLE = frozenset({_S.RESOURCING, _S.IDLE, _S.CONFIGURING, _S.READY, _S.SCANNING})

ASSIGN = Command(
    "AssignResources", frozenset({_S.EMPTY, _S.IDLE}), frozenset({_S.RESOURCING}), _S.IDLE, 80
)
RELEASE = Command(
    "ReleaseResources", frozenset({_S.IDLE}), frozenset({_S.RESOURCING}), _S.EMPTY, 80
)
CONFIGURE = Command(
    "Configure", frozenset({_S.IDLE, _S.READY}), frozenset({_S.CONFIGURING}), _S.READY, 320
)
SCAN = Command(  # its seconds come on top of the scan's duration
    "Scan", frozenset({_S.READY}), frozenset({_S.SCANNING}), _S.READY, 60, True
)
END_SCAN = Command("EndScan", frozenset({_S.SCANNING}), frozenset(), _S.READY, 60)
END = Command("End", frozenset({_S.READY}), frozenset(), _S.IDLE, 80)
ABORT = Command(
    "Abort", ABORTABLE, frozenset({_S.ABORTING}), _S.ABORTED, 80, True, meanwhile=ABORTABLE
)
RESTART = Command(
    "Restart",
    frozenset({_S.ABORTED, _S.FAULT}),
    frozenset({_S.RESTARTING}),
    _S.EMPTY,
    80,
    True,
)

COMMANDS = (ASSIGN, RELEASE, CONFIGURE, SCAN, END_SCAN, END, ABORT, RESTART)
