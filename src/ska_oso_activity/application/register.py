"""Registers: where things with a state machine are created and changed, each in one place.

Application layer. A change is checked against the state machine, written to the history, then
told; see `Journal`.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from ska_oso_activity.application.journal import Entry, Journal
from ska_oso_activity.application.ports import History, Publisher
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.errors import ActivityError

_log = logging.getLogger(__name__)

_NOTHING = object()
MAX_VIEW = 100
"""How many entries a view attribute shows."""

T = TypeVar("T")


class RegisterClosed(Exception):
    """The device has let go of this register: whoever still works on it for the last life ends."""


class Register(ABC, Generic[T]):
    """All activities, or all procedures, of one device.

    Unfinished ones live in memory and are changed here alone, under `lock`; of the finished ones
    memory keeps a short summary, and the history the rest.

    Args:
        on_disk_health: called with the trouble when the history cannot be written, else None.
    """

    view_name: str
    """The attribute that lists them."""

    def __init__(
        self,
        history: History,
        publisher: Publisher,
        on_disk_health: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self.lock = threading.RLock()
        self._history = history
        self._publisher = publisher
        self._journal = Journal(history, self.lock, on_disk_health)
        self._next_id = history.next_id()
        self._live: dict[int, T] = {}
        self._short: dict[int, dict[str, Any]] = {}
        self._told: dict[int, dict[str, Any]] = {}
        self._view_texts: dict[int, str] = {}
        self._last_pushed: dict[str, Any] = {}
        self._last_changed: int | None = None
        self._closed = False

    # --- What differs between activities and procedures ----------------------------------------

    @abstractmethod
    def _key(self, entity: T) -> int: ...

    @abstractmethod
    def _read(self, record: Mapping[str, Any]) -> T: ...

    @abstractmethod
    def _record(self, entity: T) -> dict[str, Any]: ...

    @abstractmethod
    def _shorten(self, record: Mapping[str, Any]) -> dict[str, Any]: ...

    @abstractmethod
    def _is_over(self, entity: T) -> bool:
        """Whether nothing will change any more."""

    @abstractmethod
    def _index(self, entity: T, state: str) -> None:
        """Bring the indexes up to date; `state` is the recorded one."""

    @abstractmethod
    def _retired(self, entity: T) -> None:
        """It has left memory."""

    @abstractmethod
    def _forget(self, short: Mapping[str, Any]) -> None:
        """Its record was removed from the history."""

    @abstractmethod
    def _event_pushes(self, event: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """What is pushed for a transition, in this order, changed or not."""

    @abstractmethod
    def _other_values(self) -> list[tuple[str, Any]]:
        """Attributes that follow from all of it, and from the one that changed last."""

    # --- Taking up the history ---------------------------------------------------------------

    def load(self) -> list[T]:
        """Take up what the history holds; returns what is not over.

        The attributes take the last recorded values, and events that were recorded but perhaps not
        pushed are pushed (again) with their own seq.
        """
        with self.lock:
            for record in self._history.records():
                try:
                    entity = self._read(record)
                except (KeyError, TypeError, ValueError, ActivityError):
                    _log.exception("a record cannot be understood and is passed over")
                    continue
                key = self._key(entity)
                if not self._is_over(entity):
                    self._live[key] = entity
                    self._told[key] = record
                self._short[key] = self._shorten(record)
                self._index(entity, record["state"])
            newest = self._history.last_seq()
            epoch, handed_over = self._publisher.handed_over  # before Init, and still to be pushed
            for event in self._history.events_since(min(self._history.told, newest - 1)):
                self._last_changed = self._key_of_event(event)
                if epoch != self._history.epoch or event["seq"] > handed_over:
                    self._tell_event(event, self._event_pushes(event))
            self.publish_news()
            self.refresh_view()
            return list(self._live.values())

    def _key_of_event(self, event: Mapping[str, Any]) -> int | None:
        key = int(event.get("activity_id") or event["procedure_id"])
        return key if key in self._short else None

    # --- Creating and changing ---------------------------------------------------------------

    def _accept(self, entity: T, event: Mapping[str, Any], *, durable: bool) -> None:
        """Take in something new.

        Raises:
            NoSpace: the disk takes no record; nothing was created and no id used.
        """
        if self._closed:
            raise RegisterClosed
        key = self._key(entity)
        self._live[key] = entity
        try:
            self._journal.accept(self._entry(entity, event, durable=durable))
        except BaseException:
            del self._live[key]
            raise
        self._next_id += 1

    def _append(
        self,
        entity: T,
        event: Mapping[str, Any] | None,
        *,
        durable: bool,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Record a change and tell it; `then` is called once it has been told."""
        if self._closed:
            raise RegisterClosed
        self._journal.append(self._entry(entity, event, durable=durable, then=then))

    def save(
        self, entity: T, *, durable: bool = False, then: Callable[[], None] | None = None
    ) -> None:
        """Record a change that is not a transition; `then` is called once it is recorded."""
        with self.lock:
            self._append(entity, None, durable=durable, then=then)

    def save_or_refuse(self, entity: T) -> None:
        """Record, synced, a change that a client asked for.

        Raises:
            NoSpace: the disk takes no record; undoing the change is the caller's.
        """
        with self.lock:
            self._journal.accept(self._entry(entity, None, durable=True))

    def _retire(self, entity: T) -> None:
        if not self._is_over(entity) or self._live.pop(self._key(entity), None) is None:
            return
        del self._told[self._key(entity)]
        self._retired(entity)
        try:
            removed = self._history.trim()
        except OSError as error:
            _log.warning("old records stay for now: %s", error)
            return
        for key in removed:
            short = self._short.pop(key, None)
            self._view_texts.pop(key, None)
            if short is not None:
                self._forget(short)

    def _entry(
        self,
        entity: T,
        event: Mapping[str, Any] | None,
        *,
        durable: bool,
        then: Callable[[], None] | None = None,
    ) -> Entry:
        key = self._key(entity)
        record = self._record(entity)

        def tell() -> None:
            self._show(entity, record)
            if event is not None:
                self._last_changed = key
                pushes = self._event_pushes(event)
                self._last_pushed.update(pushes)
                self._tell_event(event, [*pushes, *self._news()])
            else:
                self.publish_news()
            self.refresh_view()
            self._retire(entity)
            if then is not None:
                then()

        return Entry(
            record_id=key,
            record=record,
            event=event,
            finished=self._is_over(entity),
            durable=durable,
            tell=tell,
        )

    def _tell_event(self, event: Mapping[str, Any], pushes: list[tuple[str, Any]]) -> None:
        self._publisher.publish(pushes, event=(self._history.epoch, event["seq"]))

    def show(self, entity: T) -> None:
        """Let clients see what has changed, without a record of its own: the next one has it."""
        with self.lock:
            if not self._closed:
                self._show(entity, self._record(entity))
                self.refresh_view()

    def _show(self, entity: T, record: dict[str, Any]) -> None:
        """Have clients who ask find a record from now on."""
        key = self._key(entity)
        self._short[key] = self._shorten(record)
        self._view_texts.pop(key, None)
        if key in self._live:
            self._told[key] = record
        self._index(entity, record["state"])

    def publish_news(self) -> None:
        """Push what has changed without a transition."""
        news = self._news()
        if news:
            self._publisher.publish(news)

    def _news(self) -> list[tuple[str, Any]]:
        news = [
            (name, value)
            for name, value in self._other_values()
            if self._last_pushed.get(name, _NOTHING) != value
        ]
        self._last_pushed.update(news)
        return news

    def _report(self, key: int, progress: float, message: str) -> None:
        """Take in what a script says of itself; it is kept with the next record."""
        short = self._short[key]
        short["progress"], short["message"] = progress, message
        self._view_texts.pop(key, None)
        self.refresh_view()

    # --- Looking up --------------------------------------------------------------------------

    def live(self) -> list[T]:
        """What is not over, oldest first."""
        with self.lock:
            return list(self._live.values())

    def find(self, key: int) -> T | None:
        """What is not over, by its id."""
        return self._live.get(key)

    def short(self, key: int) -> dict[str, Any] | None:
        """The short summary of one, over or not."""
        return self._short.get(key)

    def shorts(self) -> list[dict[str, Any]]:
        """Short summaries of all, newest first."""
        with self.lock:
            return [dict(self._short[key]) for key in sorted(self._short, reverse=True)]

    def record_of(self, key: int) -> dict[str, Any] | None:
        """The whole record of one as it was last told; None: there is none of that id."""
        with self.lock:
            told = self._told.get(key)
            if told is None:
                return self._history.record(key)
            return {**told, **{name: self._short[key][name] for name in ("progress", "message")}}

    def skip_ids(self, last_used: int) -> None:
        """Give no id up to `last_used`: somebody knows it, though our records do not."""
        with self.lock:
            self._next_id = max(self._next_id, last_used + 1)

    def known(self) -> str:
        """Which ids there are, in words."""
        with self.lock:
            if not self._short:
                return "there is none yet"
            return f"known are {min(self._short)} to {max(self._short)}"

    def events_since(self, seq: int) -> list[dict[str, Any]]:
        """Events after `seq`, oldest first."""
        with self.lock:
            return self._history.events_since(seq)

    def event_texts_since(self, seq: int) -> list[str]:
        """The same as JSON texts."""
        with self.lock:
            return self._history.event_texts_since(seq)

    def refresh_view(self) -> None:
        """Have the view attribute pushed soon."""
        self._publisher.refresh(self.view_name, self.view)

    def view(self) -> list[str]:
        """The view attribute: what is not over and the newest that is, by rising id."""
        with self.lock:
            live = [key for key in self._short if key in self._live]
            over = [key for key in self._short if key not in self._live]
            room = max(0, MAX_VIEW - len(live))
            chosen = sorted([*(over[-room:] if room else []), *live[-MAX_VIEW:]])
            return [self._view_text(key) for key in chosen]

    def _view_text(self, key: int) -> str:
        text = self._view_texts.get(key)
        if text is None:
            text = self._view_texts[key] = strict_json.dumps(self._short[key])
        return text

    # --- Small values ------------------------------------------------------------------------

    def note(self, key: str) -> str | None:
        """A small value kept in the history."""
        with self.lock:
            return self._history.get_note(key)

    def set_note(self, key: str, value: str) -> None:
        """Keep a small value in the history.

        Raises:
            OSError: the disk takes nothing.
        """
        with self.lock:
            self._history.set_note(key, value)

    def told(self, seq: int) -> None:
        """Note that the event `seq` has been pushed."""
        self._history.told = max(self._history.told, seq)

    @property
    def closed(self) -> bool:
        """Whether the device has let go of this register: work for it should end."""
        return self._closed

    def close(self) -> None:
        """Let go of the history."""
        with self.lock:
            self._closed = True
            self._journal.close()
            self._history.close()
