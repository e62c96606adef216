"""Waiting that has an end: a deadline, or another thread that interrupts it (client)."""

from __future__ import annotations

import math
import queue
import threading
import time
import weakref
from typing import Generic, TypeVar

from ska_oso_activity.client.errors import Interrupted

T = TypeVar("T")


def deadline_after(timeout: float | None) -> float:
    """When `timeout` seconds are over, by `time.monotonic`; None: never.

    Raises:
        ValueError: it is no number.
    """
    if timeout is not None and math.isnan(timeout):
        raise ValueError("a timeout is a number of seconds, or None for no limit, and not nan")
    return math.inf if timeout is None else time.monotonic() + timeout


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
