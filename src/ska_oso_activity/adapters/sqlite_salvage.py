"""Saves what can still be read of a damaged SQLite database, page by page (adapters layer).

SQLite finds a row by way of other pages: one that is damaged hides all that lies behind it. Here
every page is looked at by itself, in the database and in its write-ahead log (WAL), and whoever
asks knows by a checksum which rows are as they were written. See https://sqlite.org/fileformat.html
"""

from __future__ import annotations

import contextlib
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE_SIZE = 4096
"""Bytes in a page of our databases."""

_HEADER = 100
"""Bytes before the first page's own content."""

_LOG_HEADER, _FRAME_HEADER = 32, 24
_MOST_PAYLOAD = 64 * 1024 * 1024

Value = int | bytes | None
Pages = dict[int, bytes]
"""Pages by number, from 1."""


class Row(NamedTuple):
    """A row of any table: its key and its columns (that of the key itself is None)."""

    key: int
    values: tuple[Value, ...]


class LogFrames(NamedTuple):
    """What a log holds of committed pages."""

    length: int
    pages: Pages


def rows(database: Path) -> Iterator[Row]:
    """All rows that can be found, what is newer later; the same row may come more than once."""
    data = _read(database)
    pages = {
        number + 1: data[number * PAGE_SIZE : (number + 1) * PAGE_SIZE]
        for number in range(len(data) // PAGE_SIZE)
    }
    yield from _rows_in(pages)
    log = read_log(database)
    if log.length:
        yield from _rows_in({**pages, **log.pages})


def read_log(database: Path) -> LogFrames:
    """What the log of a database holds, damaged or not: SQLite stops at the first damaged page."""
    data = _read(Path(f"{database}-wal"))
    step = _FRAME_HEADER + PAGE_SIZE
    heads = [data[at : at + _FRAME_HEADER] for at in range(_LOG_HEADER, len(data) - step + 1, step)]
    # The header and all frames since the log last began anew bear the same two numbers. Where it
    # has just begun anew, the frames are of the time before, and in the database by now.
    salt = data[16:24]
    if not _is_sound_header(data[:_LOG_HEADER]):
        salts = Counter([salt, *(head[8:16] for head in heads[:2])])
        salt, _ = salts.most_common(1)[0]
    if not any(salt):
        return LogFrames(0, {})
    committed, waiting, count = Pages(), Pages(), 0
    for index, head in enumerate(heads):
        if head[8:12] != salt[:4] and head[12:16] != salt[4:]:
            break
        number, size_after = struct.unpack(">II", head[:8])
        start = _LOG_HEADER + index * step + _FRAME_HEADER
        waiting[number] = data[start : start + PAGE_SIZE]
        if size_after:
            committed.update(waiting)
            waiting.clear()
            count = index + 1
    return LogFrames(count, committed)


def _is_sound_header(header: bytes) -> bool:
    """Whether a log's header is as it was written, by the checksum in it."""
    if len(header) < _LOG_HEADER:
        return False
    words = struct.unpack(">6I" if header[3] & 1 else "<6I", header[:24])
    first = second = 0
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) % 2**32
        second = (second + other + first) % 2**32
    return struct.pack(">2I", first, second) == header[24:]


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def _rows_in(pages: Pages) -> Iterator[Row]:
    free = _free(pages)
    for number, page in pages.items():
        # Whatever kind of page it says to be: that may be the damage.
        start = _HEADER if number == 1 else 0
        count = _integer(page, start + 3, 2)
        if number in free or start + 8 + 2 * count > PAGE_SIZE:
            continue
        for index in range(count):
            # What a damaged page says of itself may be anything.
            with contextlib.suppress(IndexError, ValueError):
                yield _row(pages, page, _integer(page, start + 8 + 2 * index, 2))


def _free(pages: Pages) -> set[int]:
    """The pages that hold nothing now; what they held before is still in them."""
    free: set[int] = set()
    number = _integer(pages.get(1, b""), 32, 4)
    while number in pages and number not in free:
        trunk = pages[number]
        free.add(number)
        count = min(_integer(trunk, 4, 4), PAGE_SIZE // 4 - 2)
        free.update(_integer(trunk, 8 + 4 * index, 4) for index in range(count))
        number = _integer(trunk, 0, 4)
    return free


def _row(pages: Pages, page: bytes, at: int) -> Row:
    length, at = _varint(page, at)
    key, at = _varint(page, at)
    if key >= 1 << 63:
        key -= 1 << 64
    payload = _payload(pages, page, at, length)
    head_size, at = _varint(payload, 0)
    kinds: list[int] = []
    while at < head_size:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Value] = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    return Row(key, tuple(values))


def _payload(pages: Pages, page: bytes, at: int, length: int) -> bytes:
    """The bytes of a row, which may go on in a chain of further pages."""
    if length > _MOST_PAYLOAD:
        raise ValueError("too long")
    most, least = PAGE_SIZE - 35, (PAGE_SIZE - 12) * 32 // 255 - 23
    if length <= most:
        return page[at : at + length]
    local = least + (length - least) % (PAGE_SIZE - 4)
    local = local if local <= most else least
    parts, missing = [page[at : at + local]], length - local
    number = _integer(page, at + local, 4)
    while missing > 0:
        further = pages.get(number)
        if further is None:
            raise ValueError("a page is missing")
        parts.append(further[4 : 4 + missing])
        missing -= PAGE_SIZE - 4
        number = _integer(further, 0, 4)
    return b"".join(parts)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind >= 12:
        length = (kind - 12) // 2
        return payload[at : at + length], at + length
    if kind > 6:
        raise ValueError("no kind that we write")
    length = (1, 2, 3, 4, 6, 8)[kind - 1]
    return int.from_bytes(payload[at : at + length], "big", signed=True), at + length


def _integer(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "big")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9
