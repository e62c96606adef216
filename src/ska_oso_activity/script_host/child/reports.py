"""What a script reports on its way: announcements and progress (script's process).

Scripts report through `ska_oso_activity.script`, or by pypubsub messages, as those written for the
OET do. Both are connected at the moment when the script imports them, so a script that uses neither
pays for neither.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from ska_oso_activity.script_host.child.channel import Channel

LOG = logging.getLogger(__name__)

ANNOUNCEMENT_TOPICS = frozenset({"user.script.announce", "script.announce"})
MESSAGE_LIMIT = 8 * 1024
"""Longest text of an announcement, in characters."""


class Reporter:
    """Takes a script's reports to the host; what `ska_oso_activity.script` is connected to."""

    def __init__(self, channel: Channel, subarray_id: int | None) -> None:
        self._channel = channel
        self.subarray_id = subarray_id

    def announce(self, message: str) -> None:
        """Tell the operator something."""
        self._channel.send("message", message=message[:MESSAGE_LIMIT])

    def progress(self, percent: float, message: str) -> None:
        """Tell how far the script has come."""
        self._channel.send("progress", progress=percent, message=message[:MESSAGE_LIMIT])


def connect(reporter: Reporter) -> None:
    """Connect the script's ways to report, as soon as it imports them."""

    def connect_script(module: ModuleType) -> None:
        module.report_to(reporter)

    def connect_pubsub(pub: ModuleType) -> None:
        snoop = _snoop(pub, reporter)
        pub.subscribe(snoop, pub.ALL_TOPICS)
        # pypubsub holds listeners weakly, so the module holds ours.
        vars(pub)["_ska_oso_activity_snoop"] = snoop

    sys.meta_path.insert(
        0, ImportWatch({"ska_oso_activity.script": connect_script, "pubsub.pub": connect_pubsub})
    )


def _snoop(pub: Any, reporter: Reporter) -> Callable[..., None]:
    def snoop(topic: Any = pub.AUTO_TOPIC, **data: Any) -> None:
        """Listen to all topics; taking any data, it does not say what a topic's must be."""
        if topic.getName() in ANNOUNCEMENT_TOPICS and "msg" in data:
            reporter.announce(str(data["msg"]))

    return snoop


class ImportWatch(MetaPathFinder):
    """Calls back when one of some modules has been imported."""

    def __init__(self, callbacks: dict[str, Callable[[ModuleType], None]]) -> None:
        self._callbacks = callbacks

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - what an import gives
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Find the module as ever, and have its loader call back after its work."""
        callback = self._callbacks.pop(fullname, None)
        if callback is None:
            return None
        spec = find_spec(fullname)
        if spec is None:
            self._callbacks[fullname] = callback  # there may be another try
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_tell(module: ModuleType) -> None:
                load(module)
                try:
                    callback(module)
                except Exception:  # reports are lost, the script is not
                    LOG.exception("%s of this kind cannot be listened to", fullname)

            spec.loader.exec_module = load_and_tell  # type: ignore[method-assign]
        return spec
