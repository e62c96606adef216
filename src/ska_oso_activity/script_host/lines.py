"""Joins what a script writes piece by piece into lines (script host)."""

from __future__ import annotations

LINE_LIMIT = 64 * 1024
"""Longest line kept, in bytes."""

CUT = f" [line cut at {LINE_LIMIT} bytes]"


WRITERS = 64
"""Most writers whose unfinished lines are waited for at a time, for each stream."""


class StreamLines:
    """The lines of one stream to which several threads and processes write.

    Each writer's pieces are joined by themselves, so what one writes in pieces (as `print` does)
    never ends up inside a line of another's.
    """

    def __init__(self) -> None:
        self._joiners: dict[int, LineJoiner] = {}

    def feed(self, writer: int, data: bytes) -> list[str]:
        """The lines that this writer's `data` completes."""
        joiner = self._joiners.pop(writer, None) or LineJoiner()
        lines = joiner.feed(data)
        if joiner.unfinished:
            self._joiners[writer] = joiner  # as the newest
        if len(self._joiners) > WRITERS:
            oldest = next(iter(self._joiners))
            lines += self._joiners.pop(oldest).finish()
        return lines

    def finish(self) -> list[str]:
        """The unfinished lines: nothing more will come."""
        lines = [line for joiner in self._joiners.values() for line in joiner.finish()]
        self._joiners.clear()
        return lines


class LineJoiner:
    """The lines of one writer. Holds one unfinished line at most, and no more than the limit."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._pending = bytearray()
        self._skipping = False

    @property
    def unfinished(self) -> bool:
        """Whether what comes next belongs to a line that has begun."""
        return bool(self._pending) or self._skipping

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes, without their line ends."""
        first, *rest = data.split(b"\n")
        lines: list[str] = []
        self._add(first, lines)
        for piece in rest:
            self._end_line(lines)
            self._add(piece, lines)
        return lines

    def finish(self) -> list[str]:
        """The unfinished line, if there is one: nothing more will come."""
        lines: list[str] = []
        if self._pending:
            self._end_line(lines)
        return lines

    def _add(self, piece: bytes, lines: list[str]) -> None:
        if self._skipping:
            return
        self._pending += piece
        if len(self._pending) > self._limit:
            lines.append(_text(self._pending[: self._limit]) + CUT)
            self._pending.clear()
            self._skipping = True

    def _end_line(self, lines: list[str]) -> None:
        if not self._skipping:
            lines.append(_text(self._pending.removesuffix(b"\r")))
        self._pending.clear()
        self._skipping = False


def _text(line: bytes | bytearray) -> str:
    return line.decode("utf-8", "backslashreplace")
