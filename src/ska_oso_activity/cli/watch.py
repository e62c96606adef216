"""`ska-oso-activity watch`: all activities, live, until Ctrl-C (cli)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ska_oso_activity.cli.connection import connect
from ska_oso_activity.cli.console import err, out
from ska_oso_activity.cli.options import DeviceOption, JsonOption, TangoHostOption
from ska_oso_activity.cli.views import view_for
from ska_oso_activity.client.follow import Follower
from ska_oso_activity.client.happenings import StateChanged


def watch(
    *,
    device: DeviceOption = None,
    tango_host: TangoHostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell every change of every activity as it happens, until Ctrl-C."""
    client = connect(device, tango_host).device
    names: dict[int, str] = {}

    def name(activity_id: int) -> str:
        return names.get(activity_id, f"[{activity_id}]")

    with Follower(client) as follower:
        for summary in client.activities():
            names[summary["activity_id"]] = _name(summary)
        err.print(f"watching {client.device.name}; Ctrl-C ends it", style="dim")
        with view_for(out, name, as_json=as_json, keep=False) as view:
            for happening in follower:
                if isinstance(happening, StateChanged) and happening.event:
                    names[happening.activity_id] = _name(happening.event)
                view.show(happening)


def _name(of: Mapping[str, Any]) -> str:
    """`[12] observe on subarray 1`, from an event or a summary."""
    lane = of.get("subarray_id")
    where = "" if lane is None else f" on subarray {lane}"
    return f"[{of['activity_id']}] {of['activity_name']}{where}"
