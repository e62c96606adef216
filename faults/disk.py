"""A small disk for the state directory of a stack: a tmpfs in a mount namespace of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

SIZE = "192m"
BALLAST = "ballast"
_MOUNT = (
    f'mount -t tmpfs -o size={SIZE},mode=0700 tmpfs "$1" && '
    'ln -s "$1.tango.db" "$1/tango.db" && shift && exec "$@"'
)
"""The Tango database has its file elsewhere: it is not ours to promise what it does when full."""


@cache
def namespace() -> tuple[str, ...] | None:
    """The command before which a program may mount for itself; None where nobody may."""
    if shutil.which("unshare") is None:
        return None
    for options in (("--mount",), ("--user", "--map-root-user", "--mount")):
        words = ("unshare", *options)
        trial = (*words, "sh", "-c", f"mount -t tmpfs tmpfs '{tempfile.gettempdir()}'")
        if subprocess.run(trial, check=False, capture_output=True).returncode == 0:
            return words
    return None


def with_small_disk(directory: Path, command: list[str]) -> list[str]:
    """The command, in a place where `directory` is a small disk."""
    return [*(namespace() or ()), "sh", "-c", _MOUNT, "sh", str(directory), *command]


def fill(directory: Path) -> None:
    """Leave no room on the disk of that directory."""
    piece = bytes(1024 * 1024)
    with (directory / BALLAST).open("ab", buffering=0) as file:
        while len(piece) > 512:
            try:
                if file.write(piece) < len(piece):
                    piece = piece[: len(piece) // 2]
            except OSError:
                piece = piece[: len(piece) // 2]


def make_room(directory: Path) -> None:
    with suppress(FileNotFoundError):
        (directory / BALLAST).unlink()
