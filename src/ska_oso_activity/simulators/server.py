"""The Tango server `TmcSimulator`: CentralNodes and SubarrayNodes of one or both telescopes
(simulators).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tango.server import Device, run

from ska_oso_activity.devices.base import set_up_process
from ska_oso_activity.devices.start_up import START_UP
from ska_oso_activity.simulators.central_node_device import (
    CentralNodeLow,
    CentralNodeMid,
    SilentCentralNodeLow,
    SilentCentralNodeMid,
)
from ska_oso_activity.simulators.subarray_node import (
    SilentSubarrayNodeLow,
    SilentSubarrayNodeMid,
    SubarrayNodeLow,
    SubarrayNodeMid,
)

SERVER = "TmcSimulator"
CLASSES = (
    CentralNodeMid,
    CentralNodeLow,
    SubarrayNodeMid,
    SubarrayNodeLow,
    SilentCentralNodeMid,
    SilentCentralNodeLow,
    SilentSubarrayNodeMid,
    SilentSubarrayNodeLow,
)


def main(args: list[str] | None = None) -> int:
    """Run the device server, as any Tango server is run: `TmcSimulator 01`."""
    set_up_process()
    words = sys.argv[1:] if args is None else args
    code = run(
        _classes(words),
        args=[SERVER, *words],
        pre_init_callback=START_UP.begin,
        post_init_callback=START_UP.end,
    )
    return int(code or 0)


def _classes(words: Sequence[str]) -> tuple[type[Device], ...]:
    """The classes to serve: all, but of a file in place of a database only what it lists.

    Such a file must list a device of each class that is served (measured: the server exits else).
    """
    file = next((word.removeprefix("-file=") for word in words if word.startswith("-file=")), None)
    if file is None:
        return CLASSES
    text = Path(file).read_text(encoding="latin-1")
    listed = set(re.findall(r"/DEVICE/(\w+)\s*:", text))
    return tuple(each for each in CLASSES if each.__name__ in listed)


if __name__ == "__main__":
    main()
