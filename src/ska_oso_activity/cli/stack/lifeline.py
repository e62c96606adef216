"""The pipe by which processes that outlive their parents learn that the launcher is gone (cli)."""

from __future__ import annotations

import os
from types import TracebackType

ENVIRONMENT_VARIABLE = "SKA_OSO_ACTIVITY_LIFELINE"
"""Names the descriptor of the reading end to the processes that hold it."""


class Lifeline:
    """A pipe whose writing end only this process has: the readers see its end when we end.

    The script host leaves the process tree of the device server that started it, so no signal of
    the kernel's follows it; end-of-file on the inherited reading end does.
    """

    def __init__(self) -> None:
        # Neither end is inheritable; the reading one is handed over by name (`pass_fds`).
        self.reader, self._writer = os.pipe()

    def __enter__(self) -> Lifeline:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._writer)
        os.close(self.reader)

    def environment(self) -> dict[str, str]:
        """What a program that inherits the reading end must find in its environment."""
        return {ENVIRONMENT_VARIABLE: str(self.reader)}
