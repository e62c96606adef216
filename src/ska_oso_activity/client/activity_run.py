"""One activity, to follow, wait for and stop: what `ActivityClient.run` gives back (client)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ska_oso_activity.client.devices import LrcResult
from ska_oso_activity.client.errors import ClientError
from ska_oso_activity.client.happenings import Finished, OutputWritten, StateChanged
from ska_oso_activity.client.values import ActivityEvent, ActivitySummary, OutputLine

if TYPE_CHECKING:
    from ska_oso_activity.client.sync import ActivityClient


class ActivityRun:
    """One activity. It holds nothing; drop it, and the activity goes on.

    It is known by its command: once the device has lost its history, and gives the same number to
    another activity, all of this raises `UnknownActivity`.

    Attributes:
        activity_id: its number.
        command_id: of its RunActivity; the LRC interface of the device knows it by this.
    """

    def __init__(
        self, client: ActivityClient, activity_id: int, command_id: str, *, until_ready: bool
    ) -> None:
        self._client = client
        self.activity_id = activity_id
        self.command_id = command_id
        self.until_ready = until_ready

    def __repr__(self) -> str:
        return f"<ActivityRun {self.activity_id} of {self._client.device_name}>"

    def events(
        self,
        *,
        after_seq: int | None = None,
        epoch: str | None = None,
        timeout: float | None = None,
    ) -> Iterator[ActivityEvent]:
        """Its changes of state, each once and in order, from the first to the last.

        Args:
            after_seq: the last event that you saw, with its `epoch`.
            timeout: seconds until `OutOfTime`; None: never.

        Raises:
            DeviceAway: for longer than the client's `patience`, or when `timeout` was over.
            OutOfTime: it has not ended; it goes on.
            UnknownActivity: the device has lost its history.
        """
        for happening in self._client.states(
            self.command_id,
            after_seq=after_seq,
            epoch=epoch,
            until_ready=self.until_ready,
            timeout=timeout,
        ):
            if isinstance(happening, StateChanged):
                yield ActivityEvent.of(happening.event or {})

    def wait(self, timeout: float | None = None) -> ActivitySummary:
        """Wait for its end (with `prepare_only`, for READY); returns all about it.

        Raises:
            DeviceAway, OutOfTime, UnknownActivity: as `events`.
        """
        for happening in self._client.states(
            self.command_id, until_ready=self.until_ready, timeout=timeout
        ):
            if isinstance(happening, Finished):
                return ActivitySummary.of(happening.summary)
        raise ClientError(f"activity {self.activity_id} was not followed to its end")

    def output(self, *, offset: int = 0, timeout: float | None = None) -> Iterator[OutputLine]:
        """What its script writes, line by line, to its end.

        Args:
            offset: the first line that you have not.
            timeout: seconds until `OutOfTime`; None: never.

        Raises:
            DeviceAway, OutOfTime, UnknownActivity: as `events`.
        """
        for happening in self._client.follow(
            self.command_id, offset=offset, until_ready=self.until_ready, timeout=timeout
        ):
            if isinstance(happening, OutputWritten):
                yield from map(OutputLine.of, happening.lines)

    def start(self, script_args: Mapping[str, Any] | None = None) -> ActivityRun:
        """Run main, once it is READY: see `ActivityClient.start`."""
        return self._client.start(self.summary().activity_id, script_args)

    def stop(self, *, run_abort: bool = True, timeout: float | None = None) -> LrcResult:
        """Stop it: see `ActivityClient.stop`."""
        return self._client.stop(
            self.activity_id, run_abort=run_abort, timeout=timeout, command_id=self.command_id
        )

    def summary(self) -> ActivitySummary:
        """All about it, now."""
        return self._client.get(self.command_id)
