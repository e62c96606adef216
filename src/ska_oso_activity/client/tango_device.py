"""A Tango device as a client sees it, with errors that are sentences (client)."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ska_oso_activity.client.errors import DeviceAway, InvalidRequest, refused
from ska_oso_activity.domain.errors import Reason

if TYPE_CHECKING:
    import tango  # at run time only where it is needed: help and completion do without

CALL_TIMEOUT = 3.0
"""Seconds for an answer to one call; Tango's own default."""

# The class of the exception does not tell: a second attempt to connect raises a plain DevFailed.
_AWAY_REASONS = {
    "API_CantConnectToDatabase",
    "API_CantConnectToDevice",
    "API_CommandTimedOut",  # a lock of cppTango was not free for 3 s: nothing was sent
    "API_CorbaException",
    "API_DatabaseException",
    "API_DeviceNotDefined",
    "API_DeviceNotExported",
    "API_DeviceTimedOut",
    "API_ServerNotRunning",
}

_WRONG_DEVICE_REASONS = {"API_CommandNotFound", "API_AttrNotFound"}
LONGEST_CALL = 1e6
"""Seconds; Tango counts milliseconds in 32 bits."""

# With the first subscription of a process cppTango makes its event consumer. Threads that do so at
# the same time make several (10.3.1, measured): "Could not find event consumer for ptr". Later ones
# stand in line for a monitor of cppTango, 3 s at most; in ours there is no such limit.
_subscribing = threading.Lock()
_open: weakref.WeakSet[Subscription] = weakref.WeakSet()
_ended = threading.Event()


def _close_all() -> None:
    """At Python's exit: an event that comes while it ends aborts the process (PyTango 10.3)."""
    _ended.set()
    for subscription in list(_open):
        subscription.close()


class Device:
    """A Tango device, by its name in a Tango database or its full `tango://` name."""

    def __init__(self, name: str, tango_host: str, timeout: float = CALL_TIMEOUT) -> None:
        """`timeout`: seconds for an answer to one call.

        Raises:
            ValueError: not from 0.001 to `LONGEST_CALL`.
            DeviceAway: the Tango database does not answer, or has no such device.
            Refused: it is no name of a device.
        """
        if not 0.001 <= timeout <= LONGEST_CALL:
            raise ValueError(
                f"the time for a call is 0.001 to {LONGEST_CALL:g} seconds, and not {timeout}"
            )
        import tango

        self.name = name
        self._where = f"{name} (Tango database {tango_host})"
        with errors_of(self._where):
            # Of several databases, that stand in for each other, Tango takes TANGO_HOST's.
            as_it_is = name.startswith("tango://") or "," in tango_host
            full = name if as_it_is else f"tango://{tango_host}/{name}"
            self._proxy = tango.DeviceProxy(full)
            self._proxy.set_timeout_millis(int(timeout * 1000))

    def call(self, command: str, argument: Any = None) -> Any:
        """Run a command.

        Raises:
            Refused: the device says no; the text is its sentence.
            InvalidRequest: text that Tango cannot carry as it is.
            DeviceAway: it does not answer.
        """
        if isinstance(argument, str) and not argument.isascii():
            # Latin-1 comes back as something else, and what is beyond is a SystemError of PyTango.
            raise InvalidRequest(
                f"{command} of {self._where} takes ASCII, and not {argument!r:.100}: no id or name "
                "that the device knows has other characters",
                Reason.INVALID_REQUEST,
            )
        with errors_of(self._where):
            return self._proxy.command_inout(command, argument)

    def read(self, attribute: str) -> Any:
        """The value of an attribute.

        Raises:
            Refused, DeviceAway: as in `call`.
        """
        with errors_of(self._where):
            reading: Any = self._proxy.read_attribute(attribute)
        return reading.value

    def class_name(self) -> str:
        """Its Tango class."""
        with errors_of(self._where):
            return str(self._proxy.info().dev_class)

    def property(self, name: str) -> list[str]:
        """The values of a property, from the Tango database.

        Raises:
            Refused, DeviceAway: as in `call`.
        """
        with errors_of(self._where):
            return [str(value) for value in self._proxy.get_property(name)[name]]

    def subscribe(
        self,
        attribute: str,
        deliver: Callable[[Any], None],
        disturbed: Callable[[], None] = lambda: None,
    ) -> Subscription:
        """Have the values of an attribute delivered, the one of now first; from a Tango thread.

        Args:
            deliver: takes a value; must return at once and never touch a subscription.
            disturbed: called likewise when Tango finds that the device is away, or back.

        Raises:
            Refused, DeviceAway: as in `call`.
        """
        with errors_of(self._where):
            return Subscription(self._proxy, attribute, deliver, disturbed)


class Subscription:
    """Change events of one attribute."""

    def __init__(
        self,
        proxy: tango.DeviceProxy,
        attribute: str,
        deliver: Callable[[Any], None],
        disturbed: Callable[[], None],
    ) -> None:
        self._proxy, self._attribute, self._process = proxy, attribute, os.getpid()
        self._deliver, self._disturbed = deliver, disturbed
        self._id = self._subscribe()

    def renew(self) -> None:
        """Subscribe anew: cppTango by itself needs 10 s to revive one after a server's restart."""
        import tango

        self.close()
        with suppress(tango.DevFailed):  # away again: the next look at the device will tell
            self._id = self._subscribe()

    def close(self) -> None:
        """Have no more events delivered."""
        import tango

        _open.discard(self)
        if self._process != os.getpid():
            return  # it is the parent's, which goes on listening
        with _subscribing, suppress(tango.DevFailed, KeyError):
            self._proxy.unsubscribe_event(self._id)

    def _subscribe(self) -> int:
        import tango

        event = tango.EventType.CHANGE_EVENT
        with _subscribing:
            if _ended.is_set():
                raise DeviceAway(f"Python ends: {self._attribute} is not subscribed to any more")
            number = int(self._proxy.subscribe_event(self._attribute, event, self._on_event))
            if not _open:
                # Now, after PyTango's own: what is registered last is done first.
                atexit.unregister(_close_all)
                atexit.register(_close_all)
            _open.add(self)
        return number

    def _on_event(self, event: tango.EventData) -> None:
        if event.err:
            # It says that the device is away, which whoever waits finds out by asking.
            self._disturbed()
        elif event.attr_value is not None:
            self._deliver(event.attr_value.value)


@contextmanager
def errors_of(where: str) -> Iterator[None]:
    """Turn Tango's errors into ours, about the device or database `where`.

    Raises:
        DeviceAway: nothing answers there.
        Refused: any other error; the text is its first sentence.
    """
    import tango

    try:
        yield
    except tango.DevFailed as failure:
        if any(problem.reason in _AWAY_REASONS for problem in failure.args):
            # The last error is the client's own view, such as "Failed to connect to device".
            why = str(failure.args[-1].desc).partition("\n")[0]
            raise DeviceAway(f"{where} does not answer: {why}") from failure
        first = failure.args[0]
        said = " ".join(str(first.desc).split())
        if first.reason in _WRONG_DEVICE_REASONS:
            said = f"{where} is another kind of device, or of another release: {said}"
        raise refused(said, str(first.reason)) from failure
