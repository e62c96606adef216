"""The same client for asyncio: it waits in threads of its own, which end with it (client).

Tango's calls block, so each call and each iteration has a thread for as long as it lasts. A task
that is cancelled ends its thread: at once where it waits for news, else with the Tango call that is
under way (`call_timeout` at most). Subscriptions are closed by then.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from ska_oso_activity.client.activity_run import ActivityRun
from ska_oso_activity.client.devices import AWAY_LIMIT, ActivityDevice, LrcResult
from ska_oso_activity.client.errors import DeviceAway
from ska_oso_activity.client.happenings import Happening
from ska_oso_activity.client.interruption import Interruption
from ska_oso_activity.client.request import Request, identified, telling_request_id
from ska_oso_activity.client.sync import ActivityClient
from ska_oso_activity.client.tango_device import CALL_TIMEOUT
from ska_oso_activity.client.values import (
    ActivityEvent,
    ActivitySummary,
    BlockDescription,
    OutputLine,
    Validation,
)

T = TypeVar("T")
AHEAD = 1000
"""How many items of an iteration may wait for a task that is slow to take them."""


class AsyncActivityClient:
    """`ActivityClient` with methods to await: the same names, arguments and errors.

    Use it as an async context manager, or `close` it: what still waits is ended then.
    """

    def __init__(
        self,
        device: str | ActivityDevice | None = None,
        *,
        tango_host: str | None = None,
        patience: float = AWAY_LIMIT,
        call_timeout: float = CALL_TIMEOUT,
        on_away: Callable[[DeviceAway], None] = lambda _: None,
    ) -> None:
        """See `ActivityClient`; the Tango database is asked by this, briefly."""
        self._client = ActivityClient(
            device,
            tango_host=tango_host,
            patience=patience,
            call_timeout=call_timeout,
            on_away=on_away,
        )
        self._waiting: set[Interruption] = set()

    async def __aenter__(self) -> AsyncActivityClient:
        return self

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        self.close()

    def close(self) -> None:
        """Let all that waits end, with `Interrupted`."""
        for each in list(self._waiting):
            each.interrupt()

    async def run(
        self, request: Request = None, *, timeout: float | None = None, **keys: Any
    ) -> AsyncActivityRun:
        """See `ActivityClient.run`.

        If it is cancelled, the request may have been sent: `CancelledError` has its `request_id`.
        """
        asked = identified(request, keys)
        with telling_request_id(asked):
            return self._handle(await self.call(lambda client: client.run(asked, timeout=timeout)))

    async def start(
        self, activity_id: int, script_args: Mapping[str, Any] | None = None
    ) -> AsyncActivityRun:
        """See `ActivityClient.start`."""
        return self._handle(await self.call(lambda client: client.start(activity_id, script_args)))

    async def activity(self, key: int | str, *, until_ready: bool = False) -> AsyncActivityRun:
        """See `ActivityClient.activity`."""
        return self._handle(
            await self.call(lambda client: client.activity(key, until_ready=until_ready))
        )

    async def stop(
        self,
        activity_id: int | None = None,
        *,
        subarray_id: int | None = None,
        run_abort: bool = True,
        timeout: float | None = None,
        command_id: str | None = None,
    ) -> LrcResult:
        """See `ActivityClient.stop`. If it is cancelled, the activity goes on stopping."""
        return await self.call(
            lambda client: client.stop(
                activity_id,
                subarray_id=subarray_id,
                run_abort=run_abort,
                timeout=timeout,
                command_id=command_id,
            )
        )

    async def validate(
        self, request: Request = None, *, timeout: float | None = None, **keys: Any
    ) -> Validation:
        """See `ActivityClient.validate`."""
        return await self.call(lambda client: client.validate(request, timeout=timeout, **keys))

    async def describe(self, block: str, *, timeout: float | None = None) -> BlockDescription:
        """See `ActivityClient.describe`."""
        return await self.call(lambda client: client.describe(block, timeout=timeout))

    async def get(self, key: int | str) -> ActivitySummary:
        """See `ActivityClient.get`."""
        return await self.call(lambda client: client.get(key))

    async def list(self, **filters: Any) -> list[ActivitySummary]:
        """See `ActivityClient.list`."""
        return await self.call(lambda client: client.list(**filters))

    def follow(self, key: int | str | None = None, **options: Any) -> AsyncIterator[Happening]:
        """See `ActivityClient.follow`, whose options it takes."""
        return self.iterate(lambda client: client.follow(key, **options))

    # What runs in threads

    def _handle(self, run: ActivityRun) -> AsyncActivityRun:
        return AsyncActivityRun(self, run)

    async def call(self, ask: Callable[[ActivityClient], T]) -> T:
        """The result of a call of the client that waits, made by a thread."""
        interruption = Interruption()
        thread = _Thread(lambda: ask(self._client.interruptible(interruption)))
        self._waiting.add(interruption)
        try:
            return await asyncio.shield(thread.result)
        finally:
            interruption.interrupt()
            await thread.ended()
            self._waiting.discard(interruption)

    async def iterate(self, begin: Callable[[ActivityClient], Iterator[T]]) -> AsyncIterator[T]:
        """What an iteration of the client that waits gives, made by a thread."""
        interruption = Interruption()
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[tuple[T] | None] = asyncio.Queue()
        room = threading.Semaphore(AHEAD)

        def pump() -> None:
            for item in begin(self._client.interruptible(interruption)):
                room.acquire()
                interruption.pause(0)
                loop.call_soon_threadsafe(told.put_nowait, (item,))

        thread = _Thread(pump)
        thread.result.add_done_callback(lambda _: told.put_nowait(None))
        self._waiting.add(interruption)
        try:
            while (item := await told.get()) is not None:
                room.release()
                yield item[0]
            thread.result.result()  # raises what ended it
        finally:
            interruption.interrupt()
            room.release()
            await thread.ended()
            self._waiting.discard(interruption)


class AsyncActivityRun:
    """One activity: `ActivityRun` with methods to await, and its attributes."""

    def __init__(self, client: AsyncActivityClient, run: ActivityRun) -> None:
        self._client = client
        self._run = run
        self.activity_id = run.activity_id
        self.command_id = run.command_id

    def __repr__(self) -> str:
        return f"<Async{repr(self._run)[1:]}"

    def events(
        self,
        *,
        after_seq: int | None = None,
        epoch: str | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[ActivityEvent]:
        """See `ActivityRun.events`."""
        return self._client.iterate(
            lambda client: self._in(client).events(
                after_seq=after_seq, epoch=epoch, timeout=timeout
            )
        )

    async def wait(self, timeout: float | None = None) -> ActivitySummary:
        """See `ActivityRun.wait`."""
        return await self._client.call(lambda client: self._in(client).wait(timeout))

    def output(self, *, offset: int = 0, timeout: float | None = None) -> AsyncIterator[OutputLine]:
        """See `ActivityRun.output`."""
        return self._client.iterate(
            lambda client: self._in(client).output(offset=offset, timeout=timeout)
        )

    async def start(self, script_args: Mapping[str, Any] | None = None) -> AsyncActivityRun:
        """See `ActivityRun.start`."""
        started = await self._client.call(lambda client: self._in(client).start(script_args))
        return AsyncActivityRun(self._client, started)

    async def stop(self, *, run_abort: bool = True, timeout: float | None = None) -> LrcResult:
        """See `ActivityRun.stop`."""
        return await self._client.call(
            lambda client: self._in(client).stop(run_abort=run_abort, timeout=timeout)
        )

    async def summary(self) -> ActivitySummary:
        """See `ActivityRun.summary`."""
        return await self._client.get(self.command_id)

    def _in(self, client: ActivityClient) -> ActivityRun:
        return ActivityRun(
            client, self.activity_id, self.command_id, until_ready=self._run.until_ready
        )


class _Thread:
    """A thread that may use Tango; its result is a future of the running event loop."""

    def __init__(self, job: Callable[[], Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._job = job
        self.result: asyncio.Future[Any] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, name="activity-client", daemon=True)
        self._thread.start()

    async def ended(self) -> None:
        """Wait for its end, whatever its result; a second cancellation does not hurry it."""
        while not self.result.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([self.result])
        self._thread.join()
        if not self.result.cancelled():
            self.result.exception()  # so that nobody is told that it was never looked at

    def _work(self) -> None:
        outcome: Any = None
        error: BaseException | None = None
        try:
            import tango

            with tango.EnsureOmniThread():
                outcome = self._job()
        except StopIteration as stop:  # no future takes one
            error = RuntimeError("what was called raised StopIteration")
            error.__cause__ = stop
        except BaseException as other:  # whatever it is: whoever waits is told
            error = other
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, outcome, error)

    def _settle(self, outcome: Any, error: BaseException | None) -> None:
        if self.result.done():
            return
        if error is None:
            self.result.set_result(outcome)
        else:
            self.result.set_exception(error)
