"""Threads for work that may take long, so that nobody who asks has to wait (application layer)."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)

Task = Callable[[], None]


class Workers:
    """A pool of daemon threads that grows as it is needed.

    Daemon threads, unlike those of `concurrent.futures`, let the process end while an archive
    hangs.

    Args:
        name: for the threads' names in logs.
        most: how many threads at most; further tasks wait.

    Raises:
        RuntimeError: the system gives us no thread.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 1
        self._threads = 0
        self._start_thread()  # there is always one, so that no task is stranded

    def submit(self, task: Task) -> None:
        """Run a task soon; what it raises is logged."""
        with self._lock:
            self._tasks.put(task)
            if self._idle > 0:
                self._idle -= 1
            elif self._threads < self._most:
                try:
                    self._start_thread()
                except RuntimeError as error:  # the system gives none now
                    _log.error("a task of %s waits for a thread: %s", self._name, error)

    def _start_thread(self) -> None:
        name = f"{self._name}-{self._threads + 1}"
        threading.Thread(target=self._work, name=name, daemon=True).start()
        self._threads += 1

    def close(self) -> None:
        """Let the threads end once they are idle."""
        with self._lock:
            for _ in range(self._threads):
                self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception:
                _log.exception("a task of %s failed", self._name)
            with self._lock:
                self._idle += 1
