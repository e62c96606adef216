"""The host's event loop: descriptors, timers and signals, in one thread (script host)."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import selectors
import signal
import time
from collections.abc import Callable

LOG = logging.getLogger(__name__)

Callback = Callable[[], object]


class Timer:
    """A call to come."""

    def __init__(self, when: float, callback: Callback) -> None:
        self.when = when
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Forget it; also after it was made."""
        self.callback = None


class Loop:
    """Calls back when a descriptor is ready, a time has come or a signal arrived.

    A callback that raises is logged: trouble with one script is not the end of the others.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = False
        self._signals: dict[int, Callback] = {}
        self._signal_pipe: tuple[int, int] | None = None

    def watch(self, fd: int, on_readable: Callback, on_writable: Callback | None = None) -> None:
        """Call back while `fd` is readable, and while it is writable if that is asked for."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if on_writable else 0)
        data = (on_readable, on_writable)
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, data)
        else:
            self._selector.register(fd, events, data)

    def unwatch(self, fd: int) -> None:
        """No more calls for `fd`; to be called before it is closed, and harmless after that.

        After that only as -1, which is what a closed socket gives: the number may be another's.
        """
        if fd >= 0 and fd in self._selector.get_map():
            self._selector.unregister(fd)

    def call_later(self, delay: float, callback: Callback) -> Timer:
        """Call back once, in `delay` seconds."""
        timer = Timer(time.monotonic() + delay, callback)
        heapq.heappush(self._timers, (timer.when, next(self._order), timer))
        return timer

    def on_signal(self, number: int, callback: Callback) -> None:
        """Call back from the loop, not from within other code, when a signal arrives."""
        if self._signal_pipe is None:
            reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._signal_pipe = reader, writer
            signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
            self.watch(reader, self._on_signals)
        self._signals[number] = callback
        signal.signal(number, lambda _number, _frame: None)

    def run(self) -> None:
        """Go on until `stop` is called."""
        self._running = True
        while self._running:
            ready = self._selector.select(self._wait())
            for key, events in ready:
                on_readable, on_writable = key.data
                if events & selectors.EVENT_WRITE and self._still_watches(key):
                    self._call(on_writable)
                if events & selectors.EVENT_READ and self._still_watches(key):
                    self._call(on_readable)
            self._run_timers()

    def stop(self) -> None:
        """Return from `run` after the callbacks that are due."""
        self._running = False

    def _still_watches(self, key: selectors.SelectorKey) -> bool:
        """Whether no earlier callback closed the descriptor, or asked for other calls."""
        return self._selector.get_map().get(key.fd) is key

    def _wait(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            callback, timer.callback = timer.callback, None
            self._call(callback)

    def _on_signals(self) -> None:
        assert self._signal_pipe is not None  # noqa: S101 - for the type checker
        for number in os.read(self._signal_pipe[0], 512):
            self._call(self._signals.get(number))

    @staticmethod
    def _call(callback: Callback | None) -> None:
        if callback is None:
            return
        try:
            callback()
        except Exception:
            LOG.exception("a callback failed; the host goes on")
