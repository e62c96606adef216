"""The greatest numbers a history has used, kept beside it (adapters layer).

They tell whether all is there that was written, and which numbers must not be given again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
import zlib
from pathlib import Path

LOCK_SECONDS = 5.0
"""How long to wait for who has the history open."""

_FORM = struct.Struct(">QQI")


class LastNumbers:
    """The greatest record id and seq; what was written before the process was killed is there.

    Trouble with the file is passed over: it is a second witness, not the first.

    Attributes:
        record_id, seq: as they were found; 0 where nothing was.
        found: whether there was anything to find.
    """

    def __init__(self, path: Path) -> None:
        self.record_id = self.seq = 0
        self.found = False
        self._file = -1
        with contextlib.suppress(OSError):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take_up(self) -> None:
        """Read them, once nobody else has the history open.

        The lock goes with the descriptor, however its process ends. A life of ours that is just
        being closed holds it to its end: what it does to the log meanwhile is not taken for damage.

        Raises:
            BlockingIOError: somebody has it open, and keeps it.
        """
        if self._file < 0:
            return
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise BlockingIOError(
                        error.errno, "another server has it open: end that one first"
                    ) from error
                time.sleep(0.01)
            except OSError:  # a file system without locks: SQLite has its own
                break
        with contextlib.suppress(OSError):
            self._read(os.pread(self._file, _FORM.size, 0))

    def _read(self, data: bytes) -> None:
        if len(data) == _FORM.size:
            record_id, seq, crc = _FORM.unpack(data)
            if crc == zlib.crc32(data[:-4]):
                self.record_id, self.seq, self.found = record_id, seq, True

    def note(self, record_id: int, seq: int) -> None:
        """These are in the history now."""
        if record_id > self.record_id or seq > self.seq:
            self.record_id = max(record_id, self.record_id)
            self.seq = max(seq, self.seq)
            data = struct.pack(">QQ", self.record_id, self.seq)
            with contextlib.suppress(OSError):
                os.pwrite(self._file, data + struct.pack(">I", zlib.crc32(data)), 0)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
