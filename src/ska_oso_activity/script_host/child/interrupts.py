"""SIGINT, the polite way to stop a script (script's process)."""

from __future__ import annotations

import signal
from types import FrameType


class Interrupts:
    """Turns SIGINT into KeyboardInterrupt for as long as the script's code runs.

    Attributes:
        seen: whether one reached the script, which then was stopped however it goes on.
    """

    def __init__(self) -> None:
        self.seen = False
        self._over = False

    def begin(self) -> None:
        """Take SIGINT from now on, and one that came before: the host started us with it blocked.

        Raises:
            KeyboardInterrupt: one came before.
        """
        # Libraries such as asyncio ask whether SIGINT is handled as by default; it is.
        handler = self._handle
        signal.default_int_handler = handler  # type: ignore[assignment]
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def check(self) -> None:
        """Go on, if none has come.

        Raises:
            KeyboardInterrupt: one came, and our own code may have swallowed it.
        """
        if self.seen:
            raise KeyboardInterrupt

    def end(self) -> None:
        """The script's code has ended: who comes now comes too late."""
        self._over = True

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if not self._over:
            self.seen = True
            raise KeyboardInterrupt
