"""Which subscriptions to Tango's events are open, of all proxies of a process."""

from collections.abc import Callable

import tango


def watched(replace: Callable[[object, str, object], None] = setattr) -> set[tuple[int, int]]:
    """Those that are open now, from now on; `replace` puts our methods in place of PyTango's."""
    open_now: set[tuple[int, int]] = set()
    subscribe, unsubscribe = (
        tango.DeviceProxy.subscribe_event,
        tango.DeviceProxy.unsubscribe_event,
    )

    def opened(proxy, *words):
        number = subscribe(proxy, *words)
        open_now.add((id(proxy), number))
        return number

    def closed(proxy, number):
        unsubscribe(proxy, number)
        open_now.discard((id(proxy), number))

    replace(tango.DeviceProxy, "subscribe_event", opened)
    replace(tango.DeviceProxy, "unsubscribe_event", closed)
    return open_now
