"""What one script may use (domain layer)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Bounds of a script; 0 or empty: none.

    Attributes:
        address_space: memory that each of its processes may map, in bytes. Libraries count too.
        cpu_seconds: processor time of each of its processes.
        open_files: descriptors of each of its processes.
        processes: processes of the user it runs as, all scripts together; root is not bound by it.
        output_bytes: output that is kept on disk, the newest; 0: the host's own bound, 16 MiB.
        wall_seconds: time in which its code runs; not while it waits, prepared, to be started.
        user: who it runs as; only root can run it as somebody else.
    """

    address_space: int = 0
    cpu_seconds: float = 0.0
    open_files: int = 0
    processes: int = 0
    output_bytes: int = 0
    wall_seconds: float = 0.0
    user: str = ""

    def to_json(self) -> dict[str, Any]:
        """The keys in a message."""
        return asdict(self)

    @staticmethod
    def from_json(value: Any) -> Limits:
        """Read what a server of any release sent; what it did not name is not limited.

        Raises:
            TypeError, ValueError: it is not of our making.
        """
        given = dict(value or {})
        known: dict[str, Callable[[Any], Any]] = {
            name: type(default) for name, default in asdict(Limits()).items()
        }
        return Limits(**{name: kind(given[name]) for name, kind in known.items() if name in given})
