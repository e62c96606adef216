"""Looks at a dependency now and then, so that its loss is known before somebody needs it.

Application layer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ska_oso_activity.domain.errors import ActivityError

_log = logging.getLogger(__name__)


class Watch:
    """Calls a check again and again, and tells what is wrong.

    Args:
        check: raises an ActivityError while the dependency cannot be used; may hang.
        tell: called with the trouble, or None.
        interval: seconds between two checks.
        patience: seconds after which a check that has not come back is itself the trouble.
    """

    def __init__(
        self,
        check: Callable[[], None],
        tell: Callable[[str | None], None],
        *,
        interval: float = 2.0,
        patience: float = 2.0,
    ) -> None:
        self._check = check
        self._tell = tell
        self._interval = interval
        self._patience = patience
        self._closing = threading.Event()
        self._asked = threading.Event()
        self._answered = threading.Event()

    def begin(self) -> None:
        """Begin to look."""
        for target in (self._ask, self._supervise):
            threading.Thread(target=target, name="watch", daemon=True).start()

    def close(self) -> None:
        """Stop looking."""
        self._closing.set()
        self._asked.set()
        self._answered.set()

    def _ask(self) -> None:
        while not self._closing.wait(self._interval):
            self._asked.set()
            try:
                self._check()
            except ActivityError as error:
                trouble: str | None = str(error)
            except Exception as error:
                _log.exception("a check failed")
                trouble = f"{type(error).__name__}: {error}"
            else:
                trouble = None
            self._answered.set()
            if not self._closing.is_set():
                self._tell(trouble)

    def _supervise(self) -> None:
        """Notice a check that hangs."""
        while not self._closing.is_set():
            self._asked.wait()
            self._asked.clear()
            if not self._answered.wait(self._patience) and not self._closing.is_set():
                self._tell(f"has not answered for {self._patience:g} s")
                self._answered.wait()
            self._answered.clear()
