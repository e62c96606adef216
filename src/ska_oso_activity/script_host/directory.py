"""The host's directory: what is where in it, and the one host that owns it (script host).

host.sock     where a device server attaches
host.lock     locked by the living host, so a free lock means that there is none
host.json     which host this is or was
host.log      what it did
output/ID/    output of a procedure's script
ends/ID.jsonl events of an ended procedure that no server has acknowledged
leaders/      scripts that run, as PID.START
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import stat
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

_LONGEST_ADDRESS = 100
"""A socket's address holds 107 bytes; longer paths go through /proc."""


class UnsafeDirectory(OSError):
    """The directory is not ours alone, so nothing in it can be trusted."""


@dataclass(frozen=True)
class HostIdentity:
    """Which host owns, or last owned, the directory.

    Attributes:
        host: name of this run of the host, unique for ever; marks its scripts' processes.
        machine: where `pid` and the names in `leaders/` mean something (`machine_identity`).
    """

    host: str
    pid: int
    machine: str


class HostDirectory:
    """Paths, lock and socket of one host's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.log_file = self.path / "host.log"
        self.ends = self.path / "ends"
        self.leaders = self.path / "leaders"
        self._identity = self.path / "host.json"

    def create(self) -> None:
        """Make the directory if it is not there, for our user alone.

        Raises:
            UnsafeDirectory: it is there, but it is a link, or others may use it too.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise UnsafeDirectory(f"{self.path} must be a directory that belongs to our user")
        if found.st_mode & 0o077:
            raise UnsafeDirectory(
                f"{self.path} must be for its owner alone (mode 0700), "
                f"not {stat.S_IMODE(found.st_mode):04o}"
            )
        for folder in (self.ends, self.leaders, self.path / "output"):
            folder.mkdir(mode=0o700, exist_ok=True)

    def output_of(self, procedure_id: int) -> Path:
        """Where a procedure's output lies."""
        return self.path / "output" / str(procedure_id)

    def greatest_id(self) -> int:
        """The greatest procedure id that output is kept of; 0 for none."""
        try:
            names = [each.name for each in (self.path / "output").iterdir()]
        except OSError:
            return 0
        return max((int(name) for name in names if name.isdigit()), default=0)

    def end_of(self, procedure_id: int) -> Path:
        """Where the events of an ended procedure lie until they are acknowledged."""
        return self.ends / f"{procedure_id}.jsonl"

    def remove(self, procedure_id: int) -> None:
        """Remove what is kept of a procedure."""
        shutil.rmtree(self.output_of(procedure_id), ignore_errors=True)
        self.end_of(procedure_id).unlink(missing_ok=True)

    def try_lock(self) -> int | None:
        """Lock the directory; None if a host (or who looks after a lost one) has the lock.

        The lock goes with the descriptor, however its process ends.
        """
        fd = os.open(self.path / "host.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

    def read_identity(self) -> HostIdentity | None:
        """The host that owns or last owned the directory; None if it went in order.

        Raises:
            OSError: it cannot be read.
        """
        try:
            return HostIdentity(**json.loads(self._identity.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_identity(self, identity: HostIdentity | None) -> None:
        """Note the host; None when it goes in order and leaves nothing behind."""
        if identity is None:
            self._identity.unlink(missing_ok=True)
            return
        temporary = self._identity.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(identity)), encoding="utf-8")
        temporary.replace(self._identity)

    def listen(self) -> socket.socket:
        """The socket that device servers attach to; the caller holds the lock."""
        self.remove_socket()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with self._socket_address() as address:
            listener.bind(address.path)
        listener.listen(8)
        return listener

    def remove_socket(self) -> None:
        """Remove the socket's name, which outlives the socket."""
        (self.path / "host.sock").unlink(missing_ok=True)

    def connect(self, timeout: float) -> socket.socket:
        """Connect to the host.

        Raises:
            OSError: there is none, or it is not of our user.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            with self._socket_address() as address:
                connection.connect(address.path)
            check_peer(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _socket_address(self) -> _SocketAddress:
        return _SocketAddress(self.path)


class _SocketAddress:
    """The socket's path, short enough for the kernel for as long as the context lasts."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "host.sock")
        self._folder = folder
        self._fd = -1

    def __enter__(self) -> _SocketAddress:
        if len(os.fsencode(self.path)) > _LONGEST_ADDRESS:
            self._fd = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.path = f"/proc/self/fd/{self._fd}/host.sock"
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def check_peer(connection: socket.socket) -> None:
    """Check that the other end runs as our user, or as root.

    Raises:
        UnsafeDirectory: it does not.
    """
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    _, uid, _ = struct.unpack("3i", credentials)
    if uid not in (0, os.geteuid()):
        raise UnsafeDirectory(f"user {uid} is at the other end of the socket, not {os.geteuid()}")
