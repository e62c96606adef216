"""What scripts noted about themselves, read as it is written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.003


@dataclass(frozen=True)
class Note:
    """One line; `time` is of `time.monotonic`, `started` in clock ticks since boot."""

    time: float
    what: str
    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether the process that wrote it is alive now."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text(errors="replace")
        except OSError:
            return False
        fields = stat[stat.rindex(")") + 2 :].split()
        return fields[0] not in "ZX" and int(fields[19]) == self.started


def read(path: Path) -> list[Note]:
    """The notes of one activity, whole lines only."""
    with suppress(FileNotFoundError):
        lines = path.read_text().split("\n")[:-1]
        words = [line.split() for line in lines]
        return [Note(int(at) / 1e9, what, int(pid), int(s)) for at, what, pid, s in words]
    return []


class NotesReader:
    """Reads the notes of some activities as they are written; one thread for all of them."""

    def __init__(self, folder: Path, names: list[str], on_note: Callable[[str, Note], None]):
        self._folder = folder
        self._seen = dict.fromkeys(names, 0)
        self._on_note = on_note
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> NotesReader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def _read(self) -> None:
        sizes: dict[str, int] = {}
        while not self._closing.wait(INTERVAL):
            for name, seen in self._seen.items():
                path = self._folder / name
                with suppress(FileNotFoundError):
                    size = path.stat().st_size
                    if size == sizes.get(name):
                        continue
                    sizes[name] = size
                    found = read(path)
                    self._seen[name] = len(found)
                    for note in found[seen:]:
                        self._on_note(name, note)
