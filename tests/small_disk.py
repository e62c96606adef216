"""Small disks that a test may fill, or have read-only, mounted for the test's own process alone.

A test that uses them is forked (`pytest.mark.forked`): the mounts go with its process.
"""

import ctypes
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

_NEW_NAMESPACE, _NEW_USER = 0x00020000, 0x10000000
_READ_ONLY, _REMOUNT, _BIND, _PRIVATE = 1, 32, 4096, (1 << 18) | (1 << 14)
_FILLING = "filling"
MIB = 1024 * 1024


class SmallDisk:
    """A tmpfs of a few megabytes."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        _have_own_mounts()
        _mount("tmpfs", path, "tmpfs", 0, f"size={size},mode=0700")

    @property
    def free(self) -> int:
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def fill(self) -> None:
        """Leave not a byte."""
        with (self.path / _FILLING).open("ab", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass

    def make_room(self) -> None:
        (self.path / _FILLING).unlink(missing_ok=True)


class Glutton:
    """Takes whatever becomes free on a disk, at once."""

    def __init__(self, disk: SmallDisk) -> None:
        self._disk = disk
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._eat)

    def __enter__(self) -> "Glutton":
        self._disk.fill()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _eat(self) -> None:
        while not self._enough.is_set():
            self._disk.fill()


def make_read_only(path: Path) -> None:
    """Let nothing be written below `path`, by root neither."""
    _have_own_mounts()
    _mount(str(path), path, "", _BIND, "")
    _mount("", path, "", _BIND | _REMOUNT | _READ_ONLY, "")


def _have_own_mounts() -> None:
    """Mounts of this process are its own from now on; skips the test where that is forbidden."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    wanted = _NEW_NAMESPACE if user == 0 else _NEW_NAMESPACE | _NEW_USER
    if libc.unshare(wanted) != 0:
        pytest.skip(f"nothing may be mounted here: {os.strerror(ctypes.get_errno())}")
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount("none", Path("/"), "", _PRIVATE, "")


def _mount(source: str, target: Path, kind: str, flags: int, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [source.encode(), bytes(target), kind.encode()]
    if libc.mount(*words, ctypes.c_ulong(flags), options.encode()) != 0:
        pytest.skip(f"nothing may be mounted here: {os.strerror(ctypes.get_errno())}")
