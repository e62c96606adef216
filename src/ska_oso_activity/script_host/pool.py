"""Processes for scripts: warm ones that wait, forked ones, or fresh interpreters (script host).

Warm: forked ahead of time, and waiting. Where none waits, one is forked on demand. Fresh
interpreters stand in where the fork server cannot be used: see `Pool.take`.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ska_oso_activity.script_host.death import has_ended
from ska_oso_activity.script_host.environment import differ_at_start, script_environment, spare_mark
from ska_oso_activity.script_host.fork_server import ForkServer, bury, discard
from ska_oso_activity.script_host.fresh import start_fresh
from ska_oso_activity.script_host.leader import Leader
from ska_oso_activity.script_host.loop import Loop, Timer
from ska_oso_activity.script_host.sweep import Family

WARM = 4
"""How many processes wait for scripts."""

NO_FORK_SERVER = -1
"""In place of that number: all scripts get fresh interpreters."""

REFILL_SECONDS, LAZY_SECONDS = 0.01, 0.1
"""How long after a process was taken others are made, if few wait and if many do: the script that
took it comes first, and making several at once takes less than one after the other."""

PATIENCE_SECONDS = 0.5
"""How long a script waits for a forked process before it gets a fresh interpreter."""

ANSWER_SECONDS = 3.0
"""How long the fork server may take for an order; after that it is killed."""

READY_SECONDS = 30.0
"""How long it may take to start."""

SLOW_SECONDS = 3.0
"""How long there may be no fork server before that counts as trouble: the next one is coming."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between the end of a fork server, or of a process that died waiting, and the next."""

LOG = logging.getLogger(__name__)

OnLeader = Callable[[Leader], None]
OnError = Callable[[Exception], None]


@dataclass(eq=False)
class Wish:
    """A script that needs a process.

    Attributes:
        give_up: the timer that ends its waiting for a forked one.
    """

    environment: Mapping[str, str]
    python: str | None
    on_leader: OnLeader
    on_error: OnError
    give_up: Timer | None = None


class Pool:
    """Hands out processes. Without a single script it is idle: everything waits in the kernel."""

    def __init__(self, loop: Loop, family: Family, name: str, *, umask: int, size: int) -> None:
        """Start the fork server, unless `size` is NO_FORK_SERVER.

        Args:
            name: that of the host; marks our processes.
            umask: what scripts make their own files with.
            size: how many processes are to wait.
        """
        self._loop = loop
        self._family = family
        self._environment = script_environment(os.environ, {}, spare_mark(name))
        self._umask = umask
        self._size = size
        self._server: ForkServer | None = None
        self._preloaded: frozenset[str] | None = None
        self._waiting: deque[Leader] = deque()
        self._wishes: deque[Wish] = deque()
        self._failures = 0
        self._refill_timer: Timer | None = None
        self._refill_is_lazy = False
        self._answer_timer: Timer | None = None
        self._told: set[str] = set()
        self._unusable: str | None = None
        self._without_since: float | None = time.monotonic()
        family.hear_of_births = self._hear
        family.newborn_mark = spare_mark(name)
        self._start_server()

    @property
    def warm(self) -> int:
        """How many processes wait."""
        return len(self._waiting)

    @property
    def trouble(self) -> str | None:
        """Why scripts start more slowly than they are meant to; None: they do not."""
        if self._size == NO_FORK_SERVER:
            return None
        slowly = "scripts start as fresh interpreters, which takes longer"
        if self._unusable is not None:
            return f"{slowly}: the fork server is of no use: {self._unusable}"
        since = self._without_since
        if since is None or time.monotonic() - since < SLOW_SECONDS:
            return None
        return f"{slowly}: there has been no fork server for more than {SLOW_SECONDS:g} s"

    def resize(self, size: int) -> None:
        """Have another number of processes wait from now on."""
        if size == self._size:
            return
        LOG.info("%d processes are to wait for scripts, in place of %d", size, self._size)
        if self._size == NO_FORK_SERVER:
            self._without_since = time.monotonic()
        self._size = size
        while len(self._waiting) > max(0, size):
            self._let_go(self._waiting.pop())
        if size == NO_FORK_SERVER and self._server:
            self._server.close()
            self._on_no_server()
        self._start_server()
        self._refill_soon()

    def take(
        self,
        script_path: str,
        python: str | None,
        environment: Mapping[str, str],
        on_leader: OnLeader,
        on_error: OnError,
    ) -> None:
        """Hand out a process for a script, perhaps before this returns.

        A fresh interpreter it is for an interpreter of the script's own; while the fork server is
        not there or does not answer; and where a script would notice that it was forked: it asks
        for variables that an interpreter reads when it starts, or has a module of its own with the
        name of one that is already imported.
        """
        wish = Wish(environment, python, on_leader, on_error)
        if self._preloaded is None or python is not None:
            self._start_fresh(wish)
        elif reason := self._reason_for_fresh(self._preloaded, script_path, environment):
            if reason not in self._told:
                self._told.add(reason)
                LOG.info(
                    "%s starts as a fresh interpreter, which takes longer: %s", script_path, reason
                )
            self._start_fresh(wish)
        elif leader := self._pop():
            on_leader(leader)
            self._refill_soon()
        elif self._server is None or self._server.preloaded is None:
            self._start_fresh(wish)
        else:
            wish.give_up = self._loop.call_later(PATIENCE_SECONDS, partial(self._give_up, wish))
            self._wishes.append(wish)
            self._order_for_wishes()

    def close(self) -> None:
        """Let go of the processes that wait, and end the fork server."""
        for timer in (self._refill_timer, self._answer_timer):
            if timer:
                timer.cancel()
        self._size = NO_FORK_SERVER
        if self._server:
            self._server.close()
            self._server = None
        while self._waiting:
            self._let_go(self._waiting.pop())

    # --- The fork server (`fork_server.Owner`)

    def on_ready(self) -> None:
        """It takes orders."""
        LOG.info("the fork server is ready")
        if self._server:
            self._preloaded = self._server.preloaded
        self._without_since = None
        self._note_answer()
        self._family.collect_strangers()  # of the last one
        self._refill_soon()

    def on_born(self, leader: Leader) -> None:
        """A process waits for a script."""
        self._failures = 0
        self._note_answer()
        if self._wishes:
            wish = self._wishes.popleft()
            _cancel(wish.give_up)
            wish.on_leader(leader)
        elif len(self._waiting) >= self._size:  # what it was ordered for has changed
            self._let_go(leader)
        else:
            leader.watch(self._loop, partial(self._on_death, leader))
            self._waiting.append(leader)
        self._refill_soon()

    def on_failed(self, text: str) -> None:
        """An order came to nothing."""
        LOG.warning("no process could be forked: %s", text)
        self._failures += 1
        self._note_answer()
        if self._wishes:
            wish = self._wishes.popleft()
            _cancel(wish.give_up)
            self._start_fresh(wish)
        self._refill_soon()

    def on_refused(self, text: str) -> None:
        """It cannot be forked, and the next one could not either."""
        if self._unusable is not None:
            return
        LOG.error("the fork server is of no use, so scripts start as fresh interpreters: %s", text)
        self._unusable = text
        if self._server:
            self._server.close()
        self._on_no_server()

    def on_gone(self, text: str) -> None:
        """It has ended."""
        pause = self._pause()
        self._failures += 1
        LOG.error("the fork server is gone (%s); the next is started in %g s", text, pause)
        self._on_no_server()
        self._loop.call_later(pause, self._start_server)

    def _start_server(self) -> None:
        if self._server or self._unusable is not None or self._size == NO_FORK_SERVER:
            return
        try:
            self._server = ForkServer(
                self._loop, self._family, self, self._environment, self._umask
            )
            self._answer_timer = self._loop.call_later(READY_SECONDS, self._too_late)
        except OSError as error:
            pause = self._pause()
            self._failures += 1
            LOG.error("the fork server cannot be started: %s", error)  # noqa: TRY400
            self._loop.call_later(pause, self._start_server)

    def _on_no_server(self) -> None:
        self._server = None
        if self._without_since is None:
            self._without_since = time.monotonic()
        self._note_answer()
        wishes, self._wishes = self._wishes, deque()
        for wish in wishes:
            _cancel(wish.give_up)
            self._start_fresh(wish)

    def _hear(self) -> bool:
        if self._server is None:
            return False
        self._server.hear()
        return self._server.unheard > 0

    def _pause(self) -> float:
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 20))

    # --- Orders

    def _order_for_wishes(self) -> None:
        server = self._server
        while server and server.coming < len(self._wishes) and self._order(server):
            pass

    def _refill_soon(self) -> None:
        if len(self._waiting) >= self._size:
            return
        few = len(self._waiting) <= self._size // 2
        if self._refill_timer and few and self._refill_is_lazy:
            self._refill_timer.cancel()
            self._refill_timer = None
        if self._refill_timer is None:
            self._refill_is_lazy = not few
            pause = self._pause() if self._failures else REFILL_SECONDS if few else LAZY_SECONDS
            self._refill_timer = self._loop.call_later(pause, self._refill)

    def _refill(self) -> None:
        """Order what is missing, unless others are on their way: these are waited for."""
        self._refill_timer = None
        server = self._server
        if server and server.preloaded is not None and not server.coming:
            for _ in range(self._size - len(self._waiting)):
                if not self._order(server):
                    break

    def _order(self, server: ForkServer) -> bool:
        try:
            server.order()
        except OSError as error:  # it is just ending, or has more orders than it can take
            LOG.warning("no process could be ordered: %s", error)
            return False
        if self._answer_timer is None:
            self._answer_timer = self._loop.call_later(ANSWER_SECONDS, self._too_late)
        return True

    def _note_answer(self) -> None:
        """It answers: it has its time again for what is still ordered."""
        _cancel(self._answer_timer)
        self._answer_timer = None
        if self._server and self._server.coming:
            self._answer_timer = self._loop.call_later(ANSWER_SECONDS, self._too_late)

    def _too_late(self) -> None:
        self._answer_timer = None
        if self._server:
            self._server.close()
            self.on_gone("killed: it has not answered for long")

    # --- Wishes

    def _pop(self) -> Leader | None:
        while self._waiting:
            leader = self._waiting.popleft()
            leader.unwatch()
            if not has_ended(leader.pid):
                return leader
            self._on_death(leader)
        return None

    def _give_up(self, wish: Wish) -> None:
        if wish in self._wishes:
            LOG.warning("the fork server has not answered for %g s", PATIENCE_SECONDS)
            self._wishes.remove(wish)
            self._start_fresh(wish)

    def _start_fresh(self, wish: Wish) -> None:
        try:
            leader = start_fresh(wish.python, wish.environment, self._umask)
        except Exception as error:  # a name with a null in it is a ValueError
            wish.on_error(error)
            return
        wish.on_leader(leader)

    def _reason_for_fresh(
        self, preloaded: frozenset[str], script_path: str, environment: Mapping[str, str]
    ) -> str | None:
        differ = differ_at_start(environment, self._environment)
        if differ:
            return f"{', '.join(differ)} can only be set for a new interpreter"
        hidden = sorted(preloaded & own_modules(Path(script_path).parent))
        if hidden:
            return f"its folder has a module {hidden[0]}, which would not be found"
        return None

    # --- Processes that wait

    def _on_death(self, leader: Leader) -> None:
        """One that waited is gone."""
        LOG.warning("process %d, which waited for a script, has ended", leader.pid)
        if leader in self._waiting:
            self._waiting.remove(leader)
        self._failures += 1
        bury(self._family, leader)
        self._refill_soon()

    def _let_go(self, leader: Leader) -> None:
        """End one that is not needed."""
        discard(self._loop, self._family, leader)


def own_modules(folder: Path) -> set[str]:
    """Names under which Python would find modules in a folder."""
    try:
        with os.scandir(folder) as entries:
            return {name for name in map(_module_name, entries) if name}
    except (OSError, ValueError):
        return set()


def _module_name(entry: os.DirEntry[str]) -> str:
    name, dot, rest = entry.name.partition(".")
    if dot:
        return name if rest == "py" or rest.endswith(("pyc", "so")) else ""
    is_package = entry.is_dir() and Path(entry, "__init__.py").exists()
    return name if is_package else ""


def _cancel(timer: Timer | None) -> None:
    if timer:
        timer.cancel()
