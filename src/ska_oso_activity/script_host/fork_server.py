"""The host's side of the fork server: starts it, orders processes, takes in what it says."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from ska_oso_activity.script_host import orders
from ska_oso_activity.script_host.channels import HostEnds, open_channels
from ska_oso_activity.script_host.death import DeathWatch
from ska_oso_activity.script_host.fresh import CHILD, sigint_blocked
from ska_oso_activity.script_host.leader import Leader
from ska_oso_activity.script_host.loop import Loop
from ska_oso_activity.script_host.sweep import Family

LAST_WORDS = 4096
"""What is logged at most of what a process wrote that could not begin, in bytes."""

BIRTH_SECONDS = 10.0
"""How long a forked process may take until it says that it is there; after that it is killed."""


class Owner(Protocol):
    """Told what comes of a fork server, from the loop."""

    def on_ready(self) -> None:
        """It takes orders."""

    def on_born(self, leader: Leader) -> None:
        """An order is done: the process waits for its script."""

    def on_failed(self, text: str) -> None:
        """An order came to nothing."""

    def on_refused(self, text: str) -> None:
        """It will never fork, for a reason that another one would have too."""

    def on_gone(self, text: str) -> None:
        """It has ended, and so have all orders that it has not told of."""


class ForkServer:
    """One fork server, from start to end."""

    def __init__(
        self,
        loop: Loop,
        family: Family,
        owner: Owner,
        environment: Mapping[str, str],
        umask: int,
    ) -> None:
        """Start it; it is of use after `on_ready`.

        Args:
            environment: what it and its processes are started with, their mark included.
            umask: what scripts make their own files with.

        Raises:
            OSError: it cannot be started.
        """
        self.preloaded: frozenset[str] | None = None
        self._loop = loop
        self._family = family
        self._owner = owner
        self._numbers = itertools.count(1)
        self._ordered: dict[int, HostEnds] = {}
        self._births: set[Birth] = set()
        self._closed = False
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs, sigint_blocked():
                fd = theirs.fileno()
                self._process = subprocess.Popen(
                    [sys.executable, str(CHILD), "--fork-server", str(fd), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    close_fds=True,
                    pass_fds=(fd,),
                    start_new_session=True,
                    umask=umask,
                    # Its one thread is what makes it possible to fork it.
                    env={**environment, "OPENBLAS_NUM_THREADS": "1"},
                )
        except BaseException:
            self._socket.close()
            raise
        self.pid = self._process.pid
        family.add_helper(self.pid)
        self._socket.setblocking(False)
        loop.watch(self._socket.fileno(), self.hear)
        self._death = DeathWatch(loop, self.pid, self._on_death)

    @property
    def unheard(self) -> int:
        """How many orders it has not answered: each may have been forked already."""
        return len(self._ordered)

    @property
    def coming(self) -> int:
        """How many processes are on their way."""
        return len(self._ordered) + len(self._births)

    def order(self) -> None:
        """Order a process.

        Raises:
            OSError: the order cannot be given.
        """
        number = next(self._numbers)
        ours, theirs = open_channels()
        try:
            fds = (theirs.control, theirs.packets, theirs.stdout, theirs.stderr)
            orders.send(self._socket, {"order": number}, fds)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._ordered[number] = ours

    def hear(self) -> None:
        """Take in what it has said."""
        while self._socket.fileno() >= 0:
            try:
                packet = self._socket.recv(orders.PACKET_LIMIT)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._loop.unwatch(self._socket.fileno())  # its end is told by its process
                return
            self._take_in(packet)

    def close(self) -> None:
        """Kill it, and what it has forked and nobody was given yet; the owner hears no more."""
        if self._closed:
            return
        self._closed = True
        self._process.kill()
        self._process.wait()
        self.hear()  # what it has forked and told of is ours to end
        self._put_away()
        while self._births:
            birth = self._births.pop()
            birth.abandon()
            discard(self._loop, self._family, birth.leader)

    def _take_in(self, packet: bytes) -> None:
        message = orders.decode(packet)
        ends = self._ordered.pop(message.get("order", 0), None)
        if "pid" in message and ends is not None:
            self._family.add_helper(int(message["pid"]))
            leader = Leader(int(message["pid"]), ends, partial(collect, int(message["pid"])))
            self._births.add(
                Birth(self._loop, leader, on_born=self._on_born, on_death=self._on_stillborn)
            )
            return
        if ends is not None:
            ends.close()
        # We may have been called in the middle of other work.
        if "ready" in message:
            self.preloaded = frozenset(message["ready"])
            self._tell_soon(self._owner.on_ready)
        elif "refused" in message:
            self._tell_soon(partial(self._owner.on_refused, str(message["refused"])))
        elif "failed" in message:
            self._tell_soon(partial(self._owner.on_failed, str(message["failed"])))

    def _tell_soon(self, tell: Callable[[], None]) -> None:
        """Tell the owner, unless we are closed or gone by then: it may have another one."""
        self._loop.call_later(0, lambda: None if self._closed else tell())

    def _on_born(self, birth: Birth) -> None:
        self._births.discard(birth)
        self._owner.on_born(birth.leader)

    def _on_stillborn(self, birth: Birth, last_words: str) -> None:
        self._births.discard(birth)
        bury(self._family, birth.leader)
        text = f"process {birth.leader.pid} died before it was of use {last_words}"
        self._owner.on_failed(text.strip())

    def _on_death(self) -> None:
        """What it has forked and told of lives on, and the owner will hear of it."""
        self.hear()
        self._closed = True
        code = self._process.wait()
        self._put_away()
        self._owner.on_gone(f"it ended with code {code}")

    def _put_away(self) -> None:
        self._death.cancel()
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        for ends in self._ordered.values():
            ends.close()
        self._ordered.clear()
        self._family.remove_helper(self.pid)


class Birth:
    """A forked process until it says that it is there; one of the calls is made, once.

    One that says nothing for long is killed, and so has died.
    """

    def __init__(
        self,
        loop: Loop,
        leader: Leader,
        on_born: Callable[[Birth], None],
        on_death: Callable[[Birth, str], None],
    ) -> None:
        self.leader = leader
        self._loop = loop
        self._report_birth = on_born
        self._report_death = on_death
        self._patience = loop.call_later(BIRTH_SECONDS, partial(kill, leader.pid))
        leader.watch(loop, self._on_death)
        loop.watch(leader.ends.control.fileno(), self._on_word)

    def abandon(self) -> None:
        """Make no call any more; the process is the caller's to end."""
        self._patience.cancel()
        self.leader.unwatch()
        self._loop.unwatch(self.leader.ends.control.fileno())

    def _on_word(self) -> None:
        control = self.leader.ends.control
        try:
            word = control.recv(len(orders.BORN) + 1)
        except BlockingIOError:
            return
        except OSError:
            word = b""
        if word == orders.BORN:
            self.abandon()
            self.leader.greet()
            self._report_birth(self)
        else:
            self._loop.unwatch(control.fileno())  # its death will be told

    def _on_death(self) -> None:
        self.abandon()
        last_words = b""
        with contextlib.suppress(OSError):
            last_words = os.read(self.leader.ends.stderr.fileno(), LAST_WORDS)
        self._report_death(self, last_words.decode("utf-8", "replace"))


def kill(pid: int) -> None:
    """Kill a process that nobody has collected, so that its number is nobody else's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def discard(loop: Loop, family: Family, leader: Leader) -> None:
    """End a process that has no script, and collect it."""
    leader.watch(loop, partial(bury, family, leader))
    leader.ends.close()
    kill(leader.pid)


def bury(family: Family, leader: Leader) -> None:
    """Collect a dead process that never had a script."""
    leader.close()
    collect(leader.pid)
    family.remove_helper(leader.pid)


def collect(pid: int) -> int:
    """Collect a dead child of ours; its code, or minus its signal."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:  # there is no such child: nothing more can be learnt
        return -signal.SIGKILL
    return os.waitstatus_to_exitcode(status)
