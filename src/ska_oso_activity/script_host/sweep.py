"""Finds and ends what scripts leave behind (script host).

The host adopts orphans, and so does each script's leader: whatever a script starts, double-forked
and setsid daemons included, stays below its leader, and becomes a child of the host when the leader
ends. A child of the host that is no leader is therefore left over.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ska_oso_activity.script_host.environment import MARK
from ska_oso_activity.script_host.loop import Loop
from ska_oso_activity.script_host.procfs import (
    Process,
    Snapshot,
    descendants,
    environment_value,
    own_children,
    snapshot,
)

POLITE_SECONDS = 0.5
"""How long leftovers of a script that ended by itself may take to end after SIGTERM."""

NEWBORN_SECONDS = 1.0
"""How long a child that bears the newborns' mark, and that we were not told of, is let be: a script
may have given that mark to a process of its own."""

KILL_SECONDS = 1.4
"""How long killing goes on; what is still alive then cannot be killed by us."""

ROUND_SECONDS = 0.002
BLIND_SECONDS = 0.05
"""Between two looks: while there is something, and after one that failed."""

LOG = logging.getLogger(__name__)


class Family:
    """The host's children: leaders of scripts, helpers, and strangers, which dead leaders left."""

    def __init__(self) -> None:
        self._leaders: dict[int, str] = {}
        self._helpers: set[int] = set()
        self.hear_of_births: Callable[[], bool] = lambda: False
        """Has `add_helper` called for every child that this process was told of by now; whether
        there may be one that it was not told of yet."""
        self.newborn_mark = ""
        """What such a child bears."""

    def add(self, leader: int, mark: str) -> None:
        """A leader was started, or a helper becomes one; it and its descendants bear `mark`."""
        self._helpers.discard(leader)
        self._leaders[leader] = mark

    def remove(self, leader: int) -> None:
        """A leader's process was waited for."""
        del self._leaders[leader]

    def add_helper(self, pid: int) -> None:
        """A child that has no script: the fork server, or a process that waits for a script."""
        self._helpers.add(pid)

    def remove_helper(self, pid: int) -> None:
        """A helper was waited for."""
        self._helpers.discard(pid)

    def collect_strangers(self) -> None:
        """Collect the dead among them."""
        children = own_children()
        self.hear_of_births()  # as in `leftovers`
        for pid in children:
            if pid not in self._leaders and pid not in self._helpers:
                _reap(pid)

    def leftovers(self, leader: int, *, spare_newborns: bool) -> Leftovers:
        """What a dead leader left that still runs; also what no other leader can be blamed for.

        Args:
            spare_newborns: what may have been forked by the fork server just now is none.
        """
        children = own_children()
        may_be_newborn = self.hear_of_births()
        known = self._leaders.keys() | self._helpers
        strangers = [pid for pid in children if pid not in known and not _reap(pid)]
        spared: list[int] = []
        if may_be_newborn and spare_newborns:
            marks = {pid: environment_value(pid, MARK) for pid in strangers}
            spared = [pid for pid in strangers if marks[pid] == self.newborn_mark]
            strangers = [pid for pid in strangers if pid not in spared]
        if not strangers:
            return Leftovers([], perhaps_more=bool(spared))
        processes = snapshot()
        for pid in strangers:  # one that /proc could not show is left over all the same
            processes.setdefault(pid, Process(pid, "R", os.getpid(), 0, 0, 0))
        roots = {pid for pid in strangers if self._is_of(leader, processes[pid])}
        below = {pid for pid in descendants(roots, processes) if processes[pid].alive}
        return Leftovers([processes[pid] for pid in roots | below], perhaps_more=bool(spared))

    def _is_of(self, leader: int, stranger: Process) -> bool:
        mark = environment_value(stranger.pid, MARK)
        if mark in self._leaders.values():
            return mark == self._leaders[leader]
        return stranger.session == leader or stranger.session not in self._leaders


class Leftovers(NamedTuple):
    """What a script left.

    Attributes:
        running: processes that are certainly left over.
        perhaps_more: there are others of which that cannot be told yet.
    """

    running: list[Process]
    perhaps_more: bool


class Clearing:
    """Ends what a dead leader left, without holding up the loop."""

    def __init__(
        self,
        loop: Loop,
        find: Callable[[bool], Leftovers],
        polite: bool,
        on_done: Callable[[], None],
    ) -> None:
        """Begin at once.

        Args:
            find: what is left now, told whether newborns are to be spared.
            polite: SIGTERM and half a second come before SIGKILL.
            on_done: called once, when nothing is left (perhaps before this returns).
        """
        self._loop = loop
        self._find = find
        self._on_done = on_done
        began = time.monotonic()
        self._kill_at = began + (POLITE_SECONDS if polite else 0.0)
        self._spare_until = began + NEWBORN_SECONDS
        self._asked: set[int] = set()
        self._round()

    def _round(self) -> None:
        now = time.monotonic()
        try:
            left, perhaps_more = self._find(now < self._spare_until)
        except Exception:
            if now <= self._kill_at + KILL_SECONDS:  # no descriptor is free, perhaps
                self._loop.call_later(BLIND_SECONDS, self._round)
                return
            LOG.exception("it cannot be seen what a script has left")
            left, perhaps_more = [], False
        if left and now > self._kill_at + KILL_SECONDS:
            LOG.error("processes %s cannot be killed", [each.pid for each in left])
            left, perhaps_more = [], False
        if not left and not perhaps_more:
            self._on_done()
            return
        if now >= self._kill_at:
            kill(left)
        else:
            self._ask([each for each in left if each.pid not in self._asked])
        self._loop.call_later(ROUND_SECONDS, self._round)

    def _ask(self, processes: list[Process]) -> None:
        for each in processes:
            self._asked.add(each.pid)
            _send(os.kill, each.pid, signal.SIGTERM)
            _send(os.kill, each.pid, signal.SIGCONT)


def kill(processes: Iterable[Process]) -> None:
    """Kill processes and their groups.

    A group dies in one step in the kernel, so that members which fork all the time cannot escape.
    """
    listed = list(processes)
    for group in {each.group for each in listed} - {0, os.getpgrp()}:
        _send(os.killpg, group, signal.SIGKILL)
    for each in listed:
        _send(os.kill, each.pid, signal.SIGKILL)


def kill_until_gone(
    find: Callable[[Snapshot], Iterable[int]], seconds: float = KILL_SECONDS
) -> list[int]:
    """Kill what `find` names in a snapshot, again and again, until it names nothing alive.

    Blocks for `seconds` at most. A second look follows a first one that finds nothing: a process
    that is just being made, or executing another program, shows nothing of its environment.

    Returns:
        The pids that are still alive.

    Raises:
        OSError: there is no seeing what is alive, up to the last.
    """
    deadline = time.monotonic() + seconds
    looks_left = 2
    while True:
        try:
            processes = snapshot()
            left = [processes[pid] for pid in find(processes) if processes[pid].alive]
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(BLIND_SECONDS)
            continue
        looks_left = 2 if left else looks_left - 1
        if not looks_left or time.monotonic() > deadline:
            return [each.pid for each in left]
        kill(left)
        time.sleep(ROUND_SECONDS)


def kill_own_descendants() -> list[int]:
    """End everything that this process started, at once; returns the pids still alive."""
    own = os.getpid()

    def find(processes: Snapshot) -> set[int]:
        for pid in own_children():
            _reap(pid)
        return descendants([own], processes)

    return kill_until_gone(find)


def _reap(child: int) -> bool:
    """Collect a child of ours if it has ended; whether it is gone."""
    try:
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG) is not None
    except ChildProcessError:
        return True


def _send(send: Callable[[int, int], None], target: int, number: signal.Signals) -> None:
    try:
        send(target, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        LOG.warning("process or group %d may not be signalled", target)
