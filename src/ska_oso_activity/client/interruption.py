"""Waiting that another thread can end: a queue of news and a pause (client)."""

from __future__ import annotations

import queue
import threading
import weakref
from typing import Generic, TypeVar

from ska_oso_activity.client.errors import Interrupted

T = TypeVar("T")


class Interruption:
    """Ends, once and for all, whatever waits with it; any thread may call `interrupt`."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._lock = threading.Lock()
        # Of a client that lives for months; those that nobody waits for any more drop out.
        self._queues: weakref.WeakSet[queue.Queue[object]] = weakref.WeakSet()

    def interrupt(self) -> None:
        """Let all that wait now, or will, raise `Interrupted`."""
        with self._lock:
            self._ended.set()
            for each in self._queues:
                each.put(self)

    def pause(self, seconds: float) -> None:
        """Wait for so long.

        Raises:
            Interrupted: it was interrupted, perhaps long ago.
        """
        if self._ended.wait(seconds):
            raise Interrupted("the waiting was ended")

    def wake(self, waiting: queue.Queue[object]) -> None:
        """Put something into a queue when interrupted."""
        with self._lock:
            self._queues.add(waiting)


class Inbox(Generic[T]):
    """News from Tango's threads for the one that follows."""

    def __init__(self, interruption: Interruption | None = None) -> None:
        self._interruption = interruption or Interruption()
        self._queue: queue.Queue[object] = queue.Queue()
        self._interruption.wake(self._queue)

    def put(self, item: T) -> None:
        """Add news; never blocks."""
        self._queue.put(item)

    def get(self, timeout: float) -> T:
        """The oldest news, waiting `timeout` seconds for some.

        Raises:
            queue.Empty: there is none.
            Interrupted: the waiting was ended.
        """
        self._interruption.pause(0)
        item = self._queue.get(timeout=max(0.0, timeout))
        self._interruption.pause(0)
        return item  # type: ignore[return-value] # only `put` adds others

    def empty(self) -> bool:
        """Whether there is no news now."""
        return self._queue.empty()
