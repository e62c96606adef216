"""Signals as something to wait for, beside a time limit (cli)."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any

STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""They ask the launcher to end; the last comes when its terminal is closed."""


class Signals:
    """While entered, signals arrive through `wait` and interrupt nothing. Main thread only."""

    def __enter__(self) -> Signals:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._previous_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._previous: dict[signal.Signals, Any] = {}
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            # `nohup` has a closed terminal ignored, and so do we.
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, _only_wake_up)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float | None) -> frozenset[signal.Signals]:
        """Wait for signals, `seconds` at most (None: without limit); returns those that came."""
        ready, _, _ = select.select(
            [self._reader], [], [], None if seconds is None else max(0.0, seconds)
        )
        if not ready:
            return frozenset()
        return frozenset(signal.Signals(number) for number in os.read(self._reader, 4096))


def _only_wake_up(number: int, frame: FrameType | None) -> None:
    """The number is in the pipe already; without a handler it would not be."""
