"""Tells when a disk is nearly full, before it is (adapters layer)."""

from __future__ import annotations

import os
from pathlib import Path

from ska_oso_activity.domain.errors import NoSpace

FREE_SHARE = 0.05
"""Of a small disk, the share that should be free."""
FREE_BYTES = 1024**3
"""Of a large one, how much: scripts' output and repositories fit for a while."""


def require_free_space(directory: Path) -> None:
    """See that the disk of `directory` is not nearly full.

    Raises:
        NoSpace: it is; or nobody can tell.
    """
    try:
        disk = os.statvfs(directory)
    except OSError as error:
        raise NoSpace(f"{directory} cannot be looked at: {error.strerror}") from error
    free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    if free < min(FREE_BYTES, FREE_SHARE * size):
        raise NoSpace(
            f"the disk of {directory} is nearly full, {_mib(free)} of {_mib(size)} MiB are free: "
            "make room before it takes no more"
        )


def _mib(size: float) -> str:
    return f"{size / 1024**2:.1f}"
