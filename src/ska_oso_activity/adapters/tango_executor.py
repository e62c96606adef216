"""A ScriptExecution device, as ActivityDevice sees it (adapters layer; port `Executor`).

Commands go out as Tango commands. What happens over there comes in as change events, which one
thread hands on in the order of their `seq`: gaps are filled by EventsSince, repeats are dropped.
The same thread looks after the contact: it notices a restart of the server within half a second,
and then subscribes anew at once (left to itself, cppTango takes 8 to 10 s). A second one notices
when no answer has come for a second. From an executor that answers and takes no subscription, the
same is learnt by asking.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import tango

from ska_oso_activity.application.ports import ExecutorListener
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.control_model import HealthState
from ska_oso_activity.domain.errors import (
    ActivityError,
    ExecutorUnavailable,
    ExecutorUncertain,
    NoCapacity,
    NoSpace,
    NotOnline,
    Reason,
    ScriptNotAllowed,
    ScriptNotFound,
    UnknownActivity,
    WrongState,
)
from ska_oso_activity.domain.procedure import (
    TERMINAL,
    PrepareProcessCommand,
    StartProcessCommand,
    StopProcessCommand,
)
from ska_oso_activity.domain.procedure_request import (
    prepare_to_json,
    start_to_json,
    stop_to_json,
)

_log = logging.getLogger(__name__)

HEARTBEAT = 0.4
"""Seconds between two looks at an executor that says nothing."""
SILENCE = 1.0
"""Seconds without an answer after which an executor counts as lost."""
QUICK_HEARTBEAT = 0.1
"""The same for one that takes no subscriptions, and so can only be asked."""
RESUBSCRIBE_PAUSE = 2.0
"""Seconds between tries to subscribe to such a one."""
RECONNECT_PAUSE = 0.1
"""Seconds between tries to make contact."""
COMMAND_TIMEOUT_MS = 3000

_ENDS = frozenset(state.name for state in TERMINAL)
_ASKED_FOR = ("freeSlots", "healthState", "scriptProgress", "scriptMessage")
"""What is read, besides the events that are kept, where there are no subscriptions."""

_REFUSALS: dict[Reason, type[ActivityError]] = {
    error.reason: error
    for error in (
        ExecutorUnavailable,
        NoCapacity,
        NoSpace,
        NotOnline,
        ScriptNotAllowed,
        ScriptNotFound,
        UnknownActivity,
        WrongState,
    )
}
_NOT_DELIVERED = frozenset(
    {
        "API_CantConnectToDevice",
        "API_CantConnectToDatabase",
        "API_DatabaseException",
        "API_DeviceNotExported",
        "API_DeviceNotDefined",
        "API_ServerNotRunning",
        "API_CommandNotAllowed",
        "API_CommandNotFound",
        "DB_DeviceNotDefined",
    }
)
"""Tango's reasons for which a command has certainly not reached the device."""


class TangoExecutor:
    """Talks to one ScriptExecution device.

    Args:
        name: the device.
        listener: told what happens there, from one thread.
        cursor: where the last life of ours had come to, as `epoch seq`; None for a first contact.
        on_cursor: told, now and then, where we have come to.
        proxy_of: makes a proxy of a device.
    """

    def __init__(
        self,
        name: str,
        listener: ExecutorListener,
        cursor: str | None = None,
        on_cursor: Callable[[str], None] = lambda _: None,
        proxy_of: Callable[[str], tango.DeviceProxy] = tango.DeviceProxy,
    ) -> None:
        self.name = name
        self._proxy_of = proxy_of
        self._listener = listener
        self._on_cursor = on_cursor
        epoch, _, seq = (cursor or "").partition(" ")
        self._epoch: str | None = epoch or None
        self._seq = int(seq) if seq.isdigit() else 0
        self._kept_cursor = cursor
        self._proxy: tango.DeviceProxy | None = None
        self._pulse: tango.DeviceProxy | None = None
        self._proxy_lock = threading.Lock()
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._subscriptions: list[int] = []
        self._hears = True
        self._subscribe_again_at = 0.0
        self._heard: dict[str, str] = {}
        self._checks: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        self._server_started: str | None = None
        self._closing = threading.Event()
        self._unanswered_since: float | None = None
        self._last_sign = 0.0
        """When it last answered a command or told an event: the heartbeat of one that is busy may
        wait long for its turn."""
        self._contact_lock = threading.Lock()
        self._lost = False
        self._thread = threading.Thread(target=self._follow, name=f"follow-{name}", daemon=True)

    # --- Commands ----------------------------------------------------------------------------

    def prepare(self, command: PrepareProcessCommand) -> dict[str, Any]:
        """See `Executor.prepare`."""
        return self._json_command("PrepareProcess", prepare_to_json(command))

    def start(self, command: StartProcessCommand) -> dict[str, Any]:
        """See `Executor.start`."""
        return self._json_command("StartProcess", start_to_json(command))

    def stop(self, command: StopProcessCommand) -> dict[str, Any]:
        """See `Executor.stop`."""
        return self._json_command("StopProcess", stop_to_json(command))

    def get(self, procedure_id: int) -> dict[str, Any]:
        """See `Executor.get`."""
        reply: dict[str, Any] = json.loads(self._command("GetProcess", procedure_id))
        return reply

    def events_since(self, seq: int) -> list[dict[str, Any]]:
        """See `Executor.events_since`."""
        reply: list[dict[str, Any]] = json.loads(self._command("EventsSince", seq))
        return reply

    def unfinished(self) -> list[int]:
        """See `Executor.unfinished`."""
        states = {each["procedure_id"]: each["state"] for each in self.events_since(0)}
        # The events of one that has run for very long are not kept; the view shows it, if one of
        # its 100 lines is left for it.
        for text in self._call("procedures", lambda proxy: _lines(proxy, "procedures")):
            summary = json.loads(text)
            states.setdefault(summary["procedure_id"], summary["state"])
        return [key for key, state in states.items() if state not in _ENDS]

    def check(self, command: PrepareProcessCommand, timeout: float) -> list[dict[str, str]]:
        """See `Executor.check`."""
        asked = {**prepare_to_json(command), "request_id": command.request_id or "check"}
        check_id = str(self._json_command("CheckProcess", asked)["check_id"])
        answers = self._checks.setdefault(check_id, queue.SimpleQueue())
        try:
            deadline = time.monotonic() + timeout
            # The answer comes as an event; should that be lost, or have come before we listened,
            # asking now and then finds it.
            while (left := deadline - time.monotonic()) > 0:
                outcome = json.loads(self._command("GetCheck", check_id))
                if outcome["valid"] is None:
                    with contextlib.suppress(queue.Empty):
                        outcome = answers.get(timeout=min(left, SILENCE))
                if outcome["valid"] is not None:
                    return list(outcome["findings"])
        finally:
            self._checks.pop(check_id, None)
        raise ActivityError(
            f"{self.name} has not finished checking the script within {timeout:g} s",
            reason=Reason.TIMEOUT,
        )

    def _json_command(self, name: str, argument: dict[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(self._command(name, strict_json.dumps(argument)))
        return reply

    def _command(self, name: str, argument: Any) -> Any:
        return self._call(name, lambda proxy: proxy.command_inout(name, argument))

    def _call(self, name: str, call: Callable[[tango.DeviceProxy], Any]) -> Any:
        with self._translated(name):
            with self._proxy_lock:
                if self._proxy is None:
                    self._proxy = self._connect(COMMAND_TIMEOUT_MS)
                proxy = self._proxy
            answer = call(proxy)
            self._last_sign = time.monotonic()
            return answer

    def _connect(self, timeout_ms: int) -> tango.DeviceProxy:
        proxy = self._proxy_of(self.name)
        proxy.set_timeout_millis(timeout_ms)
        return proxy

    @contextlib.contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        """Tango's errors as ours: a refusal, not delivered, or not known to be delivered."""
        try:
            yield
        except tango.DevFailed as failure:
            reason, text = failure.args[0].reason, failure.args[0].desc
            if reason in Reason.__members__:
                code = Reason(reason)
                raise _REFUSALS.get(code, ActivityError)(text, reason=code) from failure
            what = f"{name} to {self.name}: {text}"
            if any("CallTimedout" in error.desc for error in failure.args):
                raise ExecutorUncertain(what) from failure
            if any(error.reason in _NOT_DELIVERED for error in failure.args):
                # A proxy that failed to connect waits a second before it tries again: take another.
                self._proxy = None
                raise ExecutorUnavailable(what) from failure
            raise ExecutorUncertain(what) from failure

    # --- Following ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin to follow the executor."""
        self._thread.start()
        threading.Thread(target=self._guard, name=f"guard-{self.name}", daemon=True).start()

    def close(self) -> None:
        """Stop following: nothing more is told. A call that is under way is not waited for."""
        self._closing.set()
        self._inbox.put(("wake", None))

    def _follow(self) -> None:
        connected = told = False
        while not self._closing.is_set():
            try:
                if self._unanswered_since is None:
                    self._unanswered_since = time.monotonic()
                if connected and not self._lost:
                    self._look()
                else:
                    self._make_contact()
                    connected = True
                self._unanswered_since = None
                told = False
                self._keep_cursor()
                self._take(HEARTBEAT if self._hears else QUICK_HEARTBEAT)
            except Exception as error:
                if isinstance(error, ExecutorUncertain) and not self._is_silent() and connected:
                    self._closing.wait(RECONNECT_PAUSE)
                    continue
                if not told:
                    unexpected = None if isinstance(error, ExecutorUnavailable) else error
                    _log.info("%s: %s", self.name, error, exc_info=unexpected)
                connected, told = False, True
                self._let_go()
                self._closing.wait(RECONNECT_PAUSE)
        self._let_go()

    def _guard(self) -> None:
        """Notice silence in time: a call to a server that hangs comes back only after seconds."""
        pause = SILENCE
        while not self._closing.wait(pause):
            since = self._unanswered_since
            silent = 0.0 if since is None else time.monotonic() - max(since, self._last_sign)
            # Whatever is asked from now on is not overdue before this.
            pause = max(SILENCE - silent, RECONNECT_PAUSE)
            if self._lost or since is None or silent < SILENCE:
                continue
            # Under one lock with the news that it is back: the later of the two must be told last.
            with self._contact_lock:
                if self._unanswered_since == since:
                    self._lost = True
                    self._tell(lambda: self._listener.on_executor_lost(self.name))

    def _is_silent(self) -> bool:
        return time.monotonic() - self._last_sign >= SILENCE

    def _make_contact(self) -> None:
        """Subscribe (anew), catch up with what was missed, and say that the executor is there."""
        self._let_go()
        with self._translated("contact"):
            if self._pulse is None:
                self._pulse = self._connect(int(SILENCE * 1000))
            (started,) = _read(self._pulse, "serverStartedAt")
            self._heard.pop("healthState", None)  # to be told again after `on_executor_back`
            self._try_to_subscribe(self._pulse)
            self._server_started = started
            self._catch_up()
        with self._contact_lock:
            self._lost = False
            self._unanswered_since = None
            self._tell(lambda: self._listener.on_executor_back(self.name))

    def _look(self) -> None:
        """See that the executor is there, is the same one, and has told us everything."""
        with self._translated("heartbeat"):
            pulse = self._pulse
            if pulse is None:
                raise ExecutorUnavailable(f"{self.name} was never reached")
            asked = () if self._hears else _ASKED_FOR
            started, newest, *texts = _read(pulse, "serverStartedAt", "procedureEvent", *asked)
            if started != self._server_started:
                raise ExecutorUnavailable(f"{self.name} was restarted")
            if newest:
                self._on_procedure_event(json.loads(newest))
            for name, text in zip(asked, texts, strict=True):
                if text not in ("", self._heard.get(name)):
                    self._heard[name] = text
                    self._handle(name, text)
            if not self._hears and time.monotonic() >= self._subscribe_again_at:
                self._try_to_subscribe(pulse)

    def _try_to_subscribe(self, proxy: tango.DeviceProxy) -> None:
        """Subscribe; where that fails, and yet there are answers, the heartbeat has to do."""
        heard = self._hears
        try:
            self._subscribe(proxy)
        except tango.DevFailed as failure:
            self._unsubscribe(proxy)
            _read(proxy, "serverStartedAt")  # fails, too, if it is the executor that is away
            self._hears = False
            self._subscribe_again_at = time.monotonic() + RESUBSCRIBE_PAUSE
            if heard:
                _log.warning(
                    "%s answers and takes no subscription: it is asked every %g s instead: %s",
                    self.name,
                    QUICK_HEARTBEAT,
                    failure.args[0].desc,
                )
        else:
            self._hears = True
            self._heard.clear()
            if not heard:
                _log.info("%s takes subscriptions again", self.name)

    def _subscribe(self, proxy: tango.DeviceProxy) -> None:
        with _ONE_BY_ONE if not _EVENTS_CAME.is_set() else contextlib.nullcontext():
            self._subscribe_to_all(proxy)
            _EVENTS_CAME.set()

    def _subscribe_to_all(self, proxy: tango.DeviceProxy) -> None:
        for attribute in (
            "procedureEvent",
            "scriptProgress",
            "scriptMessage",
            "processCheck",
            "freeSlots",
            "healthState",
        ):
            self._subscriptions.append(
                proxy.subscribe_event(
                    attribute,
                    tango.EventType.CHANGE_EVENT,
                    lambda event, name=attribute: self._on_event(name, event),
                )
            )

    def _unsubscribe(self, proxy: tango.DeviceProxy) -> None:
        for subscription in self._subscriptions:
            with contextlib.suppress(tango.DevFailed, KeyError):
                proxy.unsubscribe_event(subscription)
        self._subscriptions.clear()

    def _let_go(self) -> None:
        """Drop the subscriptions, and the proxy with them: a new one connects at once."""
        pulse, self._pulse = self._pulse, None
        if pulse is not None:
            self._unsubscribe(pulse)

    def _on_event(self, name: str, event: tango.EventData) -> None:
        """Called by Tango's thread: hand over and return."""
        if event.err:
            self._inbox.put(("wake", None))
        elif event.attr_value is not None and event.attr_value.value not in ("", None):
            self._last_sign = time.monotonic()
            self._inbox.put((name, event.attr_value.value))

    def _take(self, seconds: float) -> None:
        """Handle what comes for so many seconds, or until there is a reason to look."""
        until = time.monotonic() + seconds
        while not self._closing.is_set() and (left := until - time.monotonic()) > 0:
            try:
                name, text = self._inbox.get(timeout=left)
            except queue.Empty:
                return
            if name == "wake":
                return
            self._handle(name, text)

    def _handle(self, name: str, text: Any) -> None:
        if name == "freeSlots":
            self._tell(partial(self._listener.on_executor_room, self.name, int(text)))
            return
        if name == "healthState":
            self._on_health(int(text))
            return
        value: dict[str, Any] = json.loads(text)
        if name == "procedureEvent":
            self._on_procedure_event(value)
        elif name == "scriptProgress":
            self._tell(lambda: self._listener.on_script_progress(self.name, value))
        elif name == "scriptMessage":
            self._tell(lambda: self._listener.on_script_message(self.name, value))
        elif value["check_id"] in self._checks:
            self._checks[value["check_id"]].put(value)

    def _on_health(self, value: int) -> None:
        health = HealthState(value) if value in set(HealthState) else HealthState.UNKNOWN
        why = ""
        if health is not HealthState.OK and self._pulse is not None:
            with self._translated("Status"):
                (status,) = _read(self._pulse, "Status")
            why = "; ".join(status.splitlines()[1:])  # the first line gives its State
        self._tell(partial(self._listener.on_executor_health, self.name, health.name, why))

    def _on_procedure_event(self, event: dict[str, Any]) -> None:
        if event["epoch"] != self._epoch or event["seq"] > self._seq + 1:
            self._catch_up()
        if event["epoch"] == self._epoch and event["seq"] == self._seq + 1:
            self._hand_on(event)

    def _catch_up(self) -> None:
        """Get the events that were missed, and hand them on."""
        if self._epoch is None and not self._adopt_epoch():
            return
        events = self.events_since(self._seq)
        if not events and self._seq > 0:
            # Nothing new, or a history that began anew and is shorter than ours was.
            self._check_epoch()
        for event in events:
            if event["epoch"] != self._epoch:
                self._epoch, self._seq = event["epoch"], 0
                for again in self.events_since(0):
                    self._hand_on(again)
                return
            if event["seq"] > self._seq:
                self._hand_on(event)

    def _adopt_epoch(self) -> bool:
        """At a first contact: begin where the executor is now; False if it has no history yet."""
        events = self.events_since(0)
        if not events:
            return False
        self._epoch, self._seq = events[0]["epoch"], events[0]["seq"] - 1
        return True

    def _check_epoch(self) -> None:
        newest = self._newest_event()
        if newest is not None and newest["epoch"] != self._epoch:
            self._epoch, self._seq = newest["epoch"], 0
            for event in self.events_since(0):
                self._hand_on(event)

    def _newest_event(self) -> dict[str, Any] | None:
        if self._pulse is None:
            return None
        (text,) = _read(self._pulse, "procedureEvent")
        return json.loads(text) if text else None

    def _hand_on(self, event: dict[str, Any]) -> None:
        self._seq = event["seq"]
        self._tell(lambda: self._listener.on_procedure_event(self.name, event))

    def _keep_cursor(self) -> None:
        """Remember where we are; a next life of ours that knows less asks for more, no worse."""
        cursor = f"{self._epoch} {self._seq}"
        if self._epoch is not None and cursor != self._kept_cursor:
            with contextlib.suppress(OSError):
                self._on_cursor(cursor)
                self._kept_cursor = cursor

    def _tell(self, tell: Callable[[], None]) -> None:
        """A listener that fails must not end the following."""
        if self._closing.is_set():
            return
        try:
            tell()
        except Exception:
            _log.exception("handling news of %s", self.name)


_ONE_BY_ONE = threading.Lock()
_EVENTS_CAME = threading.Event()
"""The first subscriptions of a process, made by several threads at once, fail in cppTango now and
then (measured: "Could not find event consumer for ptr"); later ones need not wait for each other.
"""


def _lines(proxy: tango.DeviceProxy, attribute: str) -> list[str]:
    """The texts that an attribute holds; an empty one reads as None."""
    return list(proxy.read_attribute(attribute).value or ())  # type: ignore[attr-defined]


def _read(proxy: tango.DeviceProxy, *attributes: str) -> list[str]:
    """Values of attributes; PyTango adds `value` in a way that its types do not show."""
    return [str(each.value) for each in proxy.read_attributes(attributes)]  # type: ignore[attr-defined]
