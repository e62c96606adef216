"""Finds the host of a directory, starting one if there is none, and talks to it (script host)."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from ska_oso_activity import __version__
from ska_oso_activity.script_host.directory import HostDirectory, UnsafeDirectory
from ska_oso_activity.script_host.messages import (
    PROTOCOL,
    LineReader,
    Message,
    NotAMessage,
    encode,
)

ANSWER_SECONDS = 5.0
"""How long a host may take to say hello, or to read what it is sent."""

START_SECONDS = 15.0
LONGEST_PAUSE = 1.0
"""Seconds between two attempts, after some."""

READ_BYTES = 256 * 1024

QUEUE_BYTES = 4 * 1024 * 1024
"""What may wait for a host that does not read; with more, the connection is given up."""


class HostUnavailable(Exception):
    """There is no host, and none could be started; the text says why."""


class OtherProtocol(HostUnavailable):
    """There is a host, of a release that ours cannot talk to."""


class Attachment:
    """A connection to a host that has said hello. One thread receives, any may send.

    Sending never blocks. What the socket does not take at once waits in a queue, which a thread
    empties that lives as long as there is something in it.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Say hello and wait for the answer.

        Raises:
            OSError: the host does not answer, or not as one of ours.
            OtherProtocol: it is one of ours, of another release.
        """
        self._socket = sock
        self._reader = LineReader()
        self._lock = threading.Lock()
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._writer: threading.Thread | None = None
        self._broken = False
        sock.settimeout(ANSWER_SECONDS)
        sock.sendall(encode({"hello": PROTOCOL, "server": __version__}))
        first, *self._early = self._read()
        if "hello" not in first:
            raise ConnectionError(f"the script host does not say hello but {first!r:.200}")
        if first["hello"] != PROTOCOL:
            raise OtherProtocol(
                f"process {first.get('pid')} is a script host of another release (its protocol is "
                f"{first['hello']!r:.20}, and ours {PROTOCOL}): let its scripts end, then end it"
            )
        self.hello = first
        # From now on receiving may wait for ever, and the thread that sends still not.
        sock.settimeout(None)
        timeout = struct.pack("ll", int(ANSWER_SECONDS), 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)

    def send(self, *messages: Message) -> None:
        """Send messages, or have them sent as soon as the host reads on; takes no time.

        Raises:
            OSError: the host is gone, or has not read for long.
        """
        data = b"".join(map(encode, messages))
        with self._lock:
            if self._broken:
                raise ConnectionAbortedError("the script host did not read, or is gone")
            if self._queued > QUEUE_BYTES:
                self.close()
                raise ConnectionAbortedError(f"it does not read: {self._queued} bytes wait for it")
            if not self._queue:
                try:
                    data = data[self._socket.send(data, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    pass
                except OSError:
                    self.close()
                    raise
            if data:
                self._queue.append(data)
                self._queued += len(data)
                if self._writer is None:
                    self._writer = threading.Thread(
                        target=self._write, name="script-host-writer", daemon=True
                    )
                    self._writer.start()

    def _write(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._writer = None
                    return
                data = self._queue[0]
            try:
                self._socket.sendall(data)
            except OSError:  # it is gone, or has not read for ANSWER_SECONDS
                self._broken = True  # half a message may be there: nothing can follow it
                self.close()
                return
            with self._lock:
                self._queue.popleft()
                self._queued -= len(data)

    def batches(self) -> Iterator[list[Message]]:
        """What the host sends, as it comes, until the connection ends."""
        yield self._early
        with contextlib.suppress(OSError):
            while True:
                yield self._read()

    def close(self) -> None:
        """End the connection, also for the thread that receives."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    @property
    def takes_at_once(self) -> bool:
        """Whether a short message reaches the host's socket without waiting."""
        if self._queue:
            return False
        poll = select.poll()
        try:
            poll.register(self._socket, select.POLLOUT)
        except ValueError:  # it was released
            return False
        return poll.poll(0) == [(self._socket.fileno(), select.POLLOUT)]

    def answers(self, kind: str) -> bool:
        """Whether the host answers messages of a kind."""
        return kind in (self.hello.get("answers") or ())

    def release(self) -> None:
        """Give the descriptor back; nobody may be receiving."""
        self.close()  # which ends what the writer is at
        writer = self._writer
        if writer is not None:
            writer.join()
        with self._lock:  # nor sending: the number may be another's at once
            self._socket.close()

    def _read(self) -> list[Message]:
        messages: list[Message] = []
        while not messages:
            data = self._socket.recv(READ_BYTES)
            if not data:
                raise ConnectionResetError("the script host has closed the connection")
            try:
                messages = self._reader.feed(data)
            except NotAMessage as error:
                raise ConnectionError(str(error)) from None
        return messages


def attach(
    directory: HostDirectory,
    lifeline: int | None,
    idle_seconds: float,
    warm: int,
    given_up: Callable[[], bool] = lambda: False,
) -> Attachment:
    """Attach to the host of a directory; if there is none, start one that outlives us.

    Args:
        lifeline: descriptor of a pipe's read end, given to a host that we start.
        idle_seconds: how long a host that we start stays without scripts and servers.
        warm: how many processes are to wait for scripts.
        given_up: whether nobody waits for it any more.

    Raises:
        HostUnavailable: it cannot be.
    """
    deadline = time.monotonic() + START_SECONDS
    pause = 0.01
    try:
        directory.create()
        while True:
            try:
                attachment = _connect(directory)
                attachment.send({"kind": "pool", "warm": warm})  # it may have been another's
                return attachment
            except UnsafeDirectory:
                raise
            except OSError:
                if time.monotonic() > deadline or given_up():
                    raise
            start_host(directory, lifeline, idle_seconds, warm)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
    except OSError as error:
        raise HostUnavailable(f"no script host in {directory.path}: {error}") from error


def _connect(directory: HostDirectory) -> Attachment:
    sock = directory.connect(ANSWER_SECONDS)
    try:
        return Attachment(sock)
    except BaseException:
        sock.close()
        raise


def start_host(
    directory: HostDirectory, lifeline: int | None, idle_seconds: float, warm: int
) -> None:
    """Start a host in the background; if another has the directory's lock, that one is left to it.

    Raises:
        OSError: it did not come up.
    """
    command = [sys.executable, "-m", "ska_oso_activity.script_host", "--detach"]
    command += ["--directory", str(directory.path), "--idle-seconds", str(idle_seconds)]
    command += ["--warm", str(warm)]
    keep: tuple[int, ...] = ()
    if lifeline is not None:
        command += ["--lifeline", str(lifeline)]
        keep = (lifeline,)
    started = subprocess.Popen(
        command,
        cwd=directory.path,  # which is ours alone, and comes first on the module search path
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        close_fds=True,
        pass_fds=keep,
        start_new_session=True,
    )
    try:
        _, errors = started.communicate(timeout=START_SECONDS)
    except subprocess.TimeoutExpired:
        started.kill()
        started.communicate()
        raise OSError(f"the script host did not come up within {START_SECONDS:g} s") from None
    if started.returncode != 0:
        text = errors.decode("utf-8", "replace").strip()
        raise OSError(f"the script host ended with code {started.returncode}: {text[-2000:]}")
