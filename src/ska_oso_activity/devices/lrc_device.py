"""The attributes and commands by which SKA clients follow long-running commands (devices layer)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tango.server import Device, attribute, command

from ska_oso_activity.application.command_tracker import (
    MAX_EXECUTING,
    MAX_FINISHED,
    MAX_QUEUE_ATTRIBUTE,
    CommandTracker,
)
from ska_oso_activity.devices.published import published
from ska_oso_activity.devices.publisher import TangoPublisher
from ska_oso_activity.devices.refusals import LongRunning, accepted, as_dev_failed, refused
from ska_oso_activity.domain.control_model import ResultCode
from ska_oso_activity.domain.errors import NoCapacity, WrongState

LRC_LISTS = (
    "longRunningCommandsInQueue",
    "longRunningCommandIDsInQueue",
    "longRunningCommandStatus",
    "longRunningCommandInProgress",
    "longRunningCommandProgress",
    "lrcQueue",
    "lrcExecuting",
    "lrcFinished",
)
"""Attributes that are empty as long as there has been no command."""

DURING_ABORT = frozenset({"StopActivity"})
"""Commands that are accepted while an Abort is in progress."""


class LrcDevice(Device):
    """A device whose long-running commands can be followed by both versions of the protocol."""

    publisher: TangoPublisher
    tracker: CommandTracker

    longRunningCommandsInQueue = published(
        "longRunningCommandsInQueue",
        dtype=(str,),
        max_dim_x=MAX_QUEUE_ATTRIBUTE,
        doc="Names of the commands that are queued, running or finished within 10 s.",
    )
    longRunningCommandIDsInQueue = published(
        "longRunningCommandIDsInQueue",
        dtype=(str,),
        max_dim_x=MAX_QUEUE_ATTRIBUTE,
        doc="Ids of the same commands, in the same order.",
    )
    longRunningCommandStatus = published(
        "longRunningCommandStatus",
        dtype=(str,),
        max_dim_x=2 * MAX_QUEUE_ATTRIBUTE,
        doc="Id, status, id, status ... of the same commands.",
    )
    longRunningCommandInProgress = published(
        "longRunningCommandInProgress",
        dtype=(str,),
        max_dim_x=MAX_EXECUTING,
        doc="Names of the commands that are running.",
    )
    longRunningCommandProgress = published(
        "longRunningCommandProgress",
        dtype=(str,),
        max_dim_x=2 * MAX_EXECUTING,
        doc="Id, progress in percent, id, progress ... of running commands.",
    )
    longRunningCommandResult = published(
        "longRunningCommandResult",
        dtype=(str,),
        max_dim_x=2,
        doc='Id and result of the command that finished last: ["<id>", "[0, \\"text\\"]"].',
    )
    lrcQueue = published(
        "lrcQueue",
        dtype=(str,),
        max_dim_x=MAX_QUEUE_ATTRIBUTE,
        doc="JSON objects: commands that wait.",
    )
    lrcExecuting = published(
        "lrcExecuting",
        dtype=(str,),
        max_dim_x=MAX_EXECUTING + 1,
        doc="JSON objects: commands that run.",
    )
    lrcFinished = published(
        "lrcFinished",
        dtype=(str,),
        max_dim_x=MAX_FINISHED,
        doc="JSON objects: commands that have finished, the newest last.",
    )

    @attribute(dtype=(str,), max_dim_x=2, doc="Events only: [command id, JSON of what is new].")
    def _lrcEvent(self) -> list[str]:
        return []

    @attribute(dtype=("DevLong64",), max_dim_x=2, doc="Least and greatest LRC protocol served.")
    def lrcProtocolVersions(self) -> list[int]:
        return [1, 2]

    def first_values(self) -> dict[str, Any]:
        """What each attribute reads as before anything has happened."""
        empty: list[str] = []
        return {"longRunningCommandResult": ["", ""], **dict.fromkeys(LRC_LISTS, empty)}

    def start_lrc(self, name: str, work: Callable[[], str]) -> LongRunning:
        """Answer a long-running command: its id, or why it is refused."""
        try:
            self.require_no_abort(name)
            command_id = work()
        except Exception as error:
            return refused(self, name, error)
        return accepted(command_id)

    def require_no_abort(self, name: str) -> None:
        """Refuse a command while an Abort is in progress.

        Raises:
            WrongState: one is.
        """
        abort = None if name in DURING_ABORT else self.tracker.aborting
        if abort is not None:
            raise WrongState(
                f"Queue is being aborted: {name} is accepted again when {abort} has finished"
            )

    @command(
        dtype_in=str,
        doc_in="Id of a long-running command.",
        dtype_out=str,
        doc_out="Its status by name, such as IN_PROGRESS; NOT_FOUND for an id that is not known.",
    )
    def CheckLongRunningCommandStatus(self, command_id: str) -> str:
        with as_dev_failed(self, "CheckLongRunningCommandStatus"):
            return self.tracker.status(command_id)

    # --- Abort -------------------------------------------------------------------------------

    def stop_everything(self, *, tracked: bool) -> str:
        """Have all that runs stopped; what waits is not begun any more.

        Args:
            tracked: whether a command Abort is to follow it to its end.

        Returns:
            The command's id; empty if it is not tracked.
        """
        if not tracked:
            return ""
        command_id = self.tracker.submit("Abort", queued=False)
        self.tracker.finish_abort(command_id)
        return command_id

    @command(
        dtype_out="DevVarLongStringArray",
        doc_out="[[1], [command id]]: everything unfinished is being stopped.",
    )
    def Abort(self) -> LongRunning:
        with as_dev_failed(self, "Abort"):
            try:
                return [int(ResultCode.STARTED)], [self.stop_everything(tracked=True)]
            except NoCapacity as error:
                return refused(self, "Abort", error)

    @command(
        dtype_out="DevVarLongStringArray",
        doc_out='[[1], ["Aborting commands"]]: the same, without a command to follow. Deprecated.',
    )
    def AbortCommands(self) -> LongRunning:
        with as_dev_failed(self, "AbortCommands"):
            self.stop_everything(tracked=False)
            return [int(ResultCode.STARTED)], ["Aborting commands"]
