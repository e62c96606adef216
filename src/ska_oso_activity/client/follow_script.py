"""Follows what the script of one activity says: its output, progress and announcements (client)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from ska_oso_activity.client.devices import CHECK_INTERVAL, Output, ScriptExecution
from ska_oso_activity.client.errors import ClientError, DeviceAway
from ska_oso_activity.client.happenings import Announced, Happening, OutputWritten, Progressed
from ska_oso_activity.client.tango_device import Subscription

OUTPUT, PROGRESS, MESSAGE = "scriptOutput", "scriptProgress", "scriptMessage"


class Channel:
    """An executor that is listened to, for all activities that it runs."""

    def __init__(
        self,
        executor: ScriptExecution,
        deliver: Callable[[str, Any], None],
        disturbed: Callable[[], None],
    ) -> None:
        """Begin to listen; values come with the attribute's name.

        Args:
            disturbed: called when the executor may be away.

        Raises:
            ClientError: it cannot be listened to now.
        """
        self.executor = executor
        self._subscriptions: list[Subscription] = []
        self.started = executor.started_at()
        try:
            for attribute in (OUTPUT, PROGRESS, MESSAGE):
                self._subscriptions.append(
                    executor.device.subscribe(attribute, partial(deliver, attribute), disturbed)
                )
        except ClientError:
            self.close()
            raise

    def look(self) -> None:
        """Listen anew if the executor's server was started anew."""
        with suppress(ClientError):  # away: a later look finds out
            started = self.executor.started_at()
            if started != self.started:
                self.renew()
                self.started = started

    def renew(self) -> None:
        """Listen anew: events were missed."""
        for subscription in self._subscriptions:
            subscription.renew()

    def close(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions:
            subscription.close()


class ScriptFollower:
    """Tells what one activity's script says, once it is known which executor runs it."""

    def __init__(
        self,
        activity_id: int,
        open_channel: Callable[[str], Channel] | None,
        *,
        listening: bool,
        offset: int = 0,
    ) -> None:
        """Follow from now on.

        Args:
            open_channel: listens to an executor; None: nothing of the script is told.
            listening: executors were listened to before the script began.
            offset: the first line of output to tell of.
        """
        self._activity_id = activity_id
        self._open_channel = open_channel
        self._channel: Channel | None = None
        self._procedure_id: int | None = None
        self._request_id: str | None = None
        self._verified: tuple[str | None] | None = None  # the start of the server that was asked
        self._offset = offset
        self._percent = 0.0
        self._message = ""
        self._heard_at = time.monotonic() if listening else 0.0
        # Told by executors before it was known which of them runs the script.
        self._early: deque[tuple[str, str, Mapping[str, Any]]] = deque(maxlen=10_000)

    def runs_in(self, executor: str | None, procedure_id: int | None) -> Iterator[Happening]:
        """It is known where the script runs: listen there, and fetch what was missed.

        An executor that is away is no trouble: the next look tries again.
        """
        if self._open_channel is None or self._channel is not None:
            return
        if executor is None or procedure_id is None:
            return
        try:
            self._channel = self._open_channel(executor)
        except ClientError:
            return
        self._procedure_id = procedure_id
        yield from self._fetch()
        while self._early:
            yield from self.heard(*self._early.popleft())

    def heard(self, executor: str, attribute: str, told: Mapping[str, Any]) -> Iterator[Happening]:
        """An executor said something, perhaps about another script."""
        if self._channel is None:
            if attribute != OUTPUT:  # its lines can be fetched at any time
                self._early.append((executor, attribute, told))
            return
        if self._channel.executor.device.name != executor:
            return
        if told.get("procedure_id") != self._procedure_id:
            return
        if attribute != OUTPUT and not self._may_be_heard():
            return
        self._heard_at = time.monotonic()
        if attribute == OUTPUT:
            # The event is a hint: asking from where we are gives every line, in order.
            yield from self._fetch()
        elif attribute == PROGRESS:
            yield from self._progressed(told["progress"], told.get("message") or "")
        elif attribute == MESSAGE:
            yield from self._announced(told["message"])

    def _may_be_heard(self) -> bool:
        if self._channel is None or self._procedure_id is None:
            return False
        try:
            return self._is_ours(self._channel, self._procedure_id)
        except DeviceAway:
            return True  # said before it went
        except ClientError:
            return False  # it does not know our script any more

    def look(self, summary: Mapping[str, Any]) -> Iterator[Happening]:
        """Tell what events should have told."""
        if self._open_channel is None:
            return
        if self._channel is not None:
            self._channel.look()
        news = list(self._fetch())
        if time.monotonic() - self._heard_at > CHECK_INTERVAL:
            # Sooner, events that are on their way would be told after what came later.
            news += self._said(summary)
            if news and self._channel:
                self._channel.renew()
        yield from news

    def started_at(self) -> str | None:
        """When main began, where the executor tells."""
        if self._channel is None or self._procedure_id is None:
            return None
        try:
            return self._channel.executor.running_since(self._procedure_id)
        except ClientError:
            return None

    def up_to_date(self, summary: Mapping[str, Any]) -> bool:
        """Whether the last that the script said, as its record has it, was told."""
        return self._channel is None or (summary.get("message") or "") in ("", self._message)

    def rest(self, summary: Mapping[str, Any]) -> Iterator[Happening]:
        """The last lines, from the executor or, if it is away, the activity's own record."""
        if self._open_channel is None:
            return
        if self._channel is not None:
            self._channel.look()
        yield from self._fetch()
        tail = [line for line in summary.get("output_tail") or () if line["n"] >= self._offset]
        if tail:
            yield from self._written(Output(tail, tail[-1]["n"] + 1))
        yield from self._said(summary)

    def _fetch(self) -> Iterator[Happening]:
        while self._channel is not None and self._procedure_id is not None:
            try:
                if not self._is_ours(self._channel, self._procedure_id):
                    return
                output = self._channel.executor.output(self._procedure_id, self._offset)
            except ClientError:
                return
            if output.next_offset <= self._offset:
                return
            yield from self._written(output)

    def _is_ours(self, channel: Channel, procedure_id: int) -> bool:
        """Whether the number still means our script; a server that lost its history reuses it.

        Asked once for each start of the server.
        """
        if self._verified == (channel.started,):
            return True
        known = channel.executor.process(procedure_id)
        labels = known.get("labels") or {}
        ours = labels.get("activity_id") in (None, self._activity_id)
        if self._request_id is not None:
            ours = ours and known.get("request_id") == self._request_id
        if ours:
            self._request_id, self._verified = known.get("request_id"), (channel.started,)
        return ours

    def _written(self, output: Output) -> Iterator[Happening]:
        if output.lines:
            # What the executor no longer keeps leaves a hole in the numbers.
            lost = output.lines[0]["n"] - self._offset
            yield OutputWritten(self._activity_id, tuple(output.lines), lost)
        self._offset = output.next_offset

    def _said(self, summary: Mapping[str, Any]) -> Iterator[Happening]:
        message = summary.get("message") or ""
        if message and message != self._message:
            yield from self._announced(message)
        yield from self._progressed(summary.get("progress") or 0.0, message)

    def _announced(self, message: str) -> Iterator[Happening]:
        self._message = message
        yield Announced(self._activity_id, message)

    def _progressed(self, percent: float, message: str) -> Iterator[Happening]:
        if percent != self._percent:
            self._percent, self._message = percent, message
            yield Progressed(self._activity_id, percent, message)
