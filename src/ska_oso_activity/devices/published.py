"""Attributes that read as what was last pushed for them (devices layer)."""

from __future__ import annotations

from typing import Any, Protocol

from tango.server import attribute

from ska_oso_activity.devices.publisher import TangoPublisher


class Publishing(Protocol):
    """A device with a publisher."""

    publisher: TangoPublisher


def published(name: str, **options: Any) -> Any:
    """An attribute that reads as the value that was last pushed for `name`."""

    def read(device: Publishing) -> Any:
        return device.publisher.values[name]

    options.setdefault("fget", read)
    return attribute(name=name, **options)
