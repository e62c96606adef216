"""A script's output on disk: the host writes it, whoever may read the directory reads it.

One folder per procedure; in it segments named after their first line, `<n>.jsonl`; in them JSON
lines `{"n", "stream", "time", "text"}`. The oldest segment goes when the bound is reached. Lines
are numbered from 0, so `n` of the oldest line kept is how many were dropped.
"""

from __future__ import annotations

import json
import logging
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import Any

from ska_oso_activity.domain.times import utc_now

OUTPUT_LIMIT = 16 * 1024 * 1024
"""Most that is kept of one procedure's output, in bytes on disk."""

SEGMENTS = 16
READ_LIMIT = 1024 * 1024
"""Most that one read returns, in bytes; a longer answer comes in several reads."""

LOG = logging.getLogger(__name__)

_KEYS = {"n", "stream", "time", "text"}


class OutputWriter:
    """Appends the lines of one procedure. Trouble with the disk costs lines, never the script."""

    def __init__(self, folder: Path, limit: int = OUTPUT_LIMIT) -> None:
        self.next = 0
        self._folder = folder
        self._limit = limit
        self._segment_limit = limit // SEGMENTS
        self._closed: list[tuple[Path, int]] = []
        self._file = -1
        self._size = 0
        self._path = folder

    def write(self, lines: Sequence[tuple[str, str]]) -> None:
        """Append lines, each a stream and a text; they are readable when this returns."""
        time = utc_now()
        first = self.next
        self.next += len(lines)
        batch = "".join(
            f'{{"n":{n},"stream":"{stream}","time":"{time}","text":{quoted(text)}}}\n'
            for n, (stream, text) in enumerate(lines, first)
        )
        try:
            self._append(batch.encode("ascii"), first)
        except OSError as error:
            LOG.warning("%d lines of output are lost: %s", len(lines), error)

    def close(self) -> None:
        """Close the file; another is begun if more is written. Not needed for lines to be there."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._closed.append((self._path, self._size))

    def _append(self, data: bytes, first: int) -> None:
        if self._file < 0 or self._size >= self._segment_limit:
            self._begin_segment(first)
        written = os.write(self._file, data)
        if written < len(data):  # no half lines: the next would continue it
            os.ftruncate(self._file, self._size)
            raise OSError(None, f"only {written} of {len(data)} bytes could be written")
        self._size += written

    def _begin_segment(self, first: int) -> None:
        self.close()
        while sum(size for _, size in self._closed) + self._segment_limit > self._limit:
            oldest, _ = self._closed.pop(0)
            oldest.unlink(missing_ok=True)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = self._folder / f"{first}.jsonl"
        self._size = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)


class OutputReader:
    """Reads the lines of one procedure, also while they are being written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, offset: int, limit: int) -> tuple[list[dict[str, Any]], int, int]:
        """Lines from number `offset` on.

        Args:
            limit: how many lines at most; fewer come when they are long.

        Returns:
            The lines, the offset to go on with, and how many lines before the oldest kept were
            dropped.
        """
        firsts = self._segments()
        dropped = firsts[0] if firsts else 0
        lines: list[dict[str, Any]] = []
        room = READ_LIMIT
        for raw in self._raw_lines(firsts[max(0, bisect_right(firsts, offset) - 1) :]):
            if len(lines) >= limit or room <= 0:
                break
            if _number(raw) >= offset and (line := _line(raw)) is not None:
                lines.append(line)
                room -= len(raw)
        return lines, lines[-1]["n"] + 1 if lines else max(offset, dropped), dropped

    def tail(self, count: int) -> list[dict[str, Any]]:
        """The last `count` lines."""
        newest_first: list[bytes] = []
        for first in reversed(self._segments()):
            newest_first.extend(reversed(list(self._raw_lines([first]))))
            if len(newest_first) >= count:
                break
        lines = map(_line, reversed(newest_first[:count]))
        return [line for line in lines if line is not None]

    def _segments(self) -> list[int]:
        try:
            names = [path.stem for path in self._folder.glob("*.jsonl")]
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def _raw_lines(self, firsts: Iterable[int]) -> Iterator[bytes]:
        """The whole lines of segments; the last one may be torn, or a segment just removed."""
        for first in firsts:
            try:
                data = (self._folder / f"{first}.jsonl").read_bytes()
            except OSError:
                continue
            for raw in data.split(b"\n")[:-1]:
                if raw.startswith(b'{"n":') and raw.endswith(b"}"):
                    yield raw


def _number(raw: bytes) -> int:
    """The line's number, without parsing the rest of it; -1 for a line that is damaged."""
    number, _, _ = raw[5:].partition(b",")
    return int(number) if number.isdigit() else -1


def _line(raw: bytes) -> dict[str, Any] | None:
    """The line; None for one that is damaged, which is dropped alone."""
    try:
        line: dict[str, Any] = json.loads(raw)
        return line if line.keys() >= _KEYS else None
    except ValueError:
        return None
