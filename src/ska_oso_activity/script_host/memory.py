"""Whether the kernel has lately killed for want of memory, as far as that can be told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

_OOM_KILL = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)


def find_counter() -> Path | None:
    """The file that counts kills: of our control group, else of the whole machine; None: none."""
    for path in (*_of_our_group(), Path("/proc/vmstat")):
        if read_count(path) is not None:
            return path
    return None


def read_count(path: Path) -> int | None:
    """How often the kernel has killed; None if the file does not say."""
    try:
        found = _OOM_KILL.search(path.read_bytes())
    except OSError:
        return None
    return int(found.group(1)) if found else None


class OutOfMemory:
    """Notices kills from one question to the next."""

    def __init__(self, find: Callable[[], Path | None] = find_counter) -> None:
        self._path = find()
        self._seen = self._count()

    def struck(self) -> bool:
        """Whether the kernel has killed a process since the last question."""
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        return (read_count(self._path) or 0) if self._path else 0


def _of_our_group() -> list[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    root = Path("/sys/fs/cgroup")
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2; in a container its own group is the root
            found += [root / path.lstrip("/") / "memory.events", root / "memory.events"]
        elif "memory" in controllers.split(","):
            memory = root / "memory"
            found += [memory / path.lstrip("/") / "memory.oom_control"]
            found += [memory / "memory.oom_control"]
    return found
