"""A Tango device as a client sees it, with errors that are sentences (client)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ska_oso_activity.client.errors import DeviceAway, refused

if TYPE_CHECKING:
    import tango  # at run time only where it is needed: help and completion do without

CALL_TIMEOUT = 3.0
"""Seconds for an answer to one call; Tango's own default."""

# The class of the exception does not tell: a second attempt to connect raises a plain DevFailed.
_AWAY_REASONS = {
    "API_CantConnectToDatabase",
    "API_CantConnectToDevice",
    "API_CorbaException",
    "API_DatabaseException",
    "API_DeviceNotDefined",
    "API_DeviceNotExported",
    "API_DeviceTimedOut",
    "API_ServerNotRunning",
}

# With the first subscription of a process cppTango makes its event consumer. Threads that do so at
# the same time make several (10.3.1, measured): "Could not find event consumer for ptr".
_making_consumer = threading.Lock()
_consumer_is_made = threading.Event()


class Device:
    """A Tango device, by its name in a Tango database or its full `tango://` name."""

    def __init__(self, name: str, tango_host: str, timeout: float = CALL_TIMEOUT) -> None:
        """`timeout`: seconds for an answer to one call."""
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
            DeviceAway: it does not answer.
        """
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
        self._proxy, self._attribute = proxy, attribute
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

        with suppress(tango.DevFailed, KeyError):
            self._proxy.unsubscribe_event(self._id)

    def _subscribe(self) -> int:
        import tango

        def subscribe() -> int:
            event = tango.EventType.CHANGE_EVENT
            return int(self._proxy.subscribe_event(self._attribute, event, self._on_event))

        if _consumer_is_made.is_set():
            return subscribe()
        with _making_consumer:
            number = subscribe()
            _consumer_is_made.set()
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
        raise refused(" ".join(str(first.desc).split()), str(first.reason)) from failure
