"""Asks a device again while it is away, and when it has forgotten a command (client)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from ska_oso_activity.client.devices import CHECK_INTERVAL, ActivityDevice, LrcResult
from ska_oso_activity.client.errors import CommandForgotten, DeviceAway, OutOfTime, Refused
from ska_oso_activity.client.follow import another_history
from ska_oso_activity.client.interruption import Interruption, deadline_after

T = TypeVar("T")


@dataclass(frozen=True)
class Retrying:
    """How one caller asks an ActivityDevice again.

    Attributes:
        patience: seconds for which the device may be away.
        on_away: told before the device is asked once more.
        interruption: ends the waiting.
    """

    device: ActivityDevice
    patience: float
    on_away: Callable[[DeviceAway], None]
    interruption: Interruption

    def surely(self, ask: Callable[[], T], deadline: float, patience: float | None = None) -> T:
        """Ask again while the device is away; `ask` does no harm when it is done twice.

        Raises:
            DeviceAway: for longer than `patience`, or until the deadline by `time.monotonic`.
        """
        patience = self.patience if patience is None else patience
        until = min(time.monotonic() + patience, deadline)
        while True:
            try:
                return ask()
            except DeviceAway as away:
                left = until - time.monotonic()
                if left <= 0:
                    raise
                self.on_away(away)
                self.interruption.pause(min(CHECK_INTERVAL, left))

    def complete(
        self,
        command: str,
        argument: Mapping[str, Any] | str,
        timeout: float | None,
        waiting: Callable[[], None] = lambda: None,
        meant: str | None = None,
    ) -> LrcResult:
        """A long-running command to its end, which is safe to send again.

        Args:
            timeout: seconds for all of it; None: however long it takes.
            waiting: called once it is accepted, and every second from then on.
            meant: command id of the activity that it is about; None: as its number says now.

        Raises:
            Refused: it was not accepted.
            DeviceAway: no answer, for longer than `patience` or in all the `timeout`.
            OutOfTime: it has no result yet, or the `timeout` left no time to send anything.
        """
        deadline = deadline_after(timeout)
        accepted = False
        away: DeviceAway | None = None

        def accept() -> None:
            nonlocal accepted
            accepted = True
            waiting()

        def ask() -> LrcResult:
            nonlocal away, meant
            try:
                left = None if timeout is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise away if away and not accepted else _too_late(command, timeout, accepted)
                if isinstance(argument, Mapping) and "activity_id" in argument:
                    meant = self._still(int(argument["activity_id"]), meant)
                return self.device.complete(
                    command, argument, accept, timeout=left, interruption=self.interruption
                )
            except DeviceAway as error:
                away = error
                raise

        while True:
            try:
                return self.surely(ask, deadline)
            except CommandForgotten as forgotten:
                if command == "StopActivity" and isinstance(argument, Mapping):
                    # By its id now: the subarray may have been taken by another since.
                    summary = self.surely(
                        partial(self.device.activity, forgotten.command_id), deadline
                    )
                    run_abort = argument["run_abort"]
                    argument = {"activity_id": int(summary["activity_id"]), "run_abort": run_abort}
                    meant = str(summary["command_id"])

    def _still(self, activity_id: int, meant: str | None) -> str | None:
        """The command id of an activity, before each try: by the next it may be another's.

        Raises:
            UnknownActivity: the number is another activity's now, or nobody's.
        """
        try:
            known = self.device.activity(activity_id).get("command_id")
        except Refused:
            if meant is None:
                return None  # the command itself will say what is wrong
            raise
        if meant not in (None, known):
            raise another_history(self.device, activity_id)
        return meant or known


def _too_late(command: str, timeout: float | None, accepted: bool) -> OutOfTime:
    if accepted:
        return OutOfTime(f"{command} has not ended within {timeout:g} s; it goes on")
    return OutOfTime(f"{command} was not sent: a timeout of {timeout:g} s leaves no time for it")
