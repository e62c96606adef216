"""Pushes attribute values as events, in order, from one thread.

Devices layer; port `Publisher`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import tango
from tango.server import Device

_log = logging.getLogger(__name__)

VIEW_INTERVAL = 0.1
"""Seconds between two pushes of a view."""
VIEW_DELAY = 0.01
"""Seconds from news to the first push: views come after what is urgent, and take in more."""


class TangoPublisher:
    """Holds what each attribute was last pushed as, and pushes what it is handed.

    One thread pushes everything, so that clients see what happened in the order in which it was
    handed over. It never waits for a lock of a service while it holds a Tango monitor, and services
    never wait for it.

    Args:
        on_told: called with the seq of each event once it has been pushed.
    """

    def __init__(self, device: Device, on_told: Callable[[int], None] = lambda _: None) -> None:
        self.values: dict[str, Any] = {}
        """What each attribute reads as: the value last pushed."""
        self.on_told = on_told
        self.handed_over = ("", 0)
        self._device = device
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._views: dict[object, _View] = {}
        self._views_lock = threading.Lock()
        self._attributes: dict[str, tango.Attribute] = {}
        self._has_device = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin to push."""
        self._thread.start()
        self.resume()

    def pause(self) -> None:
        """The device is let go, perhaps for good: what there is to push waits for `resume`."""
        self._has_device.clear()

    def end(self) -> None:
        """Nobody will resume it: what there is to push is for another one."""
        self._ended = True
        self._has_device.set()
        self._queue.put(_nothing)

    def resume(self) -> None:
        """The device is there (again)."""
        self._has_device.set()

    def publish(
        self, pushes: Iterable[tuple[str, Any]], *, event: tuple[str, int] | None = None
    ) -> None:
        """See `Publisher.publish`."""
        pushes = list(pushes)
        if event is not None:
            self.handed_over = event
        seq = None if event is None else event[1]
        self._queue.put(lambda: self._push_all(pushes, seq))

    def refresh(self, view: str, make: Callable[[], Any], *, key: object = None) -> None:
        """See `Publisher.refresh`."""
        with self._views_lock:
            noted = self._views.setdefault((view, key), _View(view))
            noted.make = make
            if noted.waiting:
                return
            noted.waiting = True
            noted.due = max(time.monotonic() + VIEW_DELAY, noted.due)
        self._queue.put(_nothing)  # have it see when it is to wake up

    def _work(self) -> None:
        # A thread that is not Tango's own must say so before it pushes (measured: it crashes else).
        with tango.EnsureOmniThread():
            while not self._ended:
                try:
                    task = self._queue.get(timeout=self._next_due())
                except queue.Empty:
                    task = _nothing
                self._do(task)
                if not self._ended:
                    self._push_due_views()

    def _do(self, task: Callable[[], None]) -> None:
        while True:
            self._has_device.wait()
            if self._ended:
                return
            try:
                task()
            except _DeviceGoneError:
                continue
            except Exception:
                _log.exception("a value could not be pushed")
            return

    def _push_all(self, pushes: list[tuple[str, Any]], seq: int | None) -> None:
        for name, value in pushes:
            self._push(name, value)
        if seq is not None:
            self.on_told(seq)

    def _push(self, name: str, value: Any) -> None:
        value = on_the_wire(value)
        if name == "State":
            self._device.set_state(value)
        elif name == "Status":
            self._device.set_status(value)
        self.values[name] = value  # first: who subscribes from now on reads it
        try:
            attribute = self._attribute(name)
            if attribute.change_event_subscribed():
                self._device.push_change_event(name, value)
            if attribute.archive_event_subscribed():
                self._device.push_archive_event(name, value)
        except tango.DevFailed as error:
            if not self._has_device.is_set():
                raise _DeviceGoneError from error  # while we pushed: once more when it is there
            _log.error("event of %s was not pushed: %s", name, error.args[0].desc)

    def _attribute(self, name: str) -> tango.Attribute:
        """An attribute, which knows whether anybody listens: a push costs even if nobody does."""
        attribute = self._attributes.get(name)
        if attribute is None:
            attribute = self._device.get_device_attr().get_attr_by_name(name)
            self._attributes[name] = attribute
        return attribute

    # --- Views -------------------------------------------------------------------------------

    def _next_due(self) -> float | None:
        with self._views_lock:
            waiting = [view.due for view in self._views.values() if view.waiting]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _push_due_views(self) -> None:
        for name, make in self._take_due_views():
            try:
                value = make()
                if value is not None:
                    self._push(name, value)
            except _DeviceGoneError:
                pass  # who takes up the device shows it anew
            except Exception:
                _log.exception("the view %s could not be made", name)

    def _take_due_views(self) -> list[tuple[str, Callable[[], Any]]]:
        now = time.monotonic()
        due = []
        with self._views_lock:
            for key, view in list(self._views.items()):
                if view.waiting and view.due <= now:
                    view.waiting = False
                    view.due = now + VIEW_INTERVAL
                    due.append((view.name, view.make))
                elif not view.waiting and view.due < now - 60:
                    del self._views[key]
        return due


class _DeviceGoneError(Exception):
    """The device was let go."""


def _nothing() -> None:
    """A task that only has the thread look at the views."""


class _View:
    """A view that is shown now and then."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.make: Callable[[], Any] = lambda: None
        self.waiting = False
        self.due = 0.0


def on_the_wire(value: Any) -> Any:
    """`value` with text that Tango can carry.

    A DevString is latin-1 and ends at a NUL (measured: anything else makes the push raise and the
    event is lost): other characters are written as escapes.
    """
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return value
        if "\0" in value:
            value = value.replace("\0", "\\x00")
        return value.encode("latin-1", "backslashreplace").decode("latin-1")
    if isinstance(value, (list, tuple)):
        return [on_the_wire(each) for each in value]
    return value
