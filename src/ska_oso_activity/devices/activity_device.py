"""ActivityDevice: accepts requests to run activities of Scheduling Blocks, and shows them.

Devices layer.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tango.server import command, device_property

from ska_oso_activity.devices.base import (
    IN_USE,
    AdminMode,
    HealthState,
    OsoDevice,
    Trouble,
    published,
    set_up_process,
)
from ska_oso_activity.devices.bootstrap import ActivityParts, build_activity_parts
from ska_oso_activity.devices.refusals import LongRunning, as_dev_failed
from ska_oso_activity.devices.start_up import serve
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.activity import ActivityState
from ska_oso_activity.domain.arguments import LAST_SUBARRAY
from ska_oso_activity.domain.request import (
    ActivityCommand,
    ListRequest,
    StartRequest,
    StopRequest,
    parse_block_argument,
)

_LRC_OUT = (
    "[[2], [command id]] when accepted, [[5], ['<CODE>: <reason>']] when refused. The result comes "
    "in longRunningCommandResult."
)


class ActivityDevice(OsoDevice):
    """Runs activities of Scheduling Blocks: RunActivity starts one, activityEvent tells all."""

    ScriptExecutionDevices = device_property(
        dtype=(str,), default_value=["mid-oso/script-execution/01"], doc="The executors to use."
    )
    SubarrayId = device_property(
        dtype=int, default_value=0, doc="The one subarray this device serves; 0 for any."
    )
    OdaDirectory = device_property(
        dtype=str, default_value="/var/lib/ska-oso-activity/oda", doc="Filesystem archive (ODA)."
    )
    SchedulingBlockRoots = device_property(
        dtype=(str,), default_value=[], doc="Folders beneath which file:// blocks may lie."
    )
    StateDirectory = device_property(
        dtype=str,
        default_value="/var/lib/ska-oso-activity/activity",
        doc="Where the history is kept; private to this device, never on a network file system.",
    )
    HistorySize = device_property(
        dtype=int, default_value=1000, doc="How many finished activities are kept."
    )

    # --- Attributes ----------------------------------------------------------------------------

    activityState = published(
        "activityState", dtype=ActivityState, doc="State of the activity that changed last."
    )
    activityId = published(
        "activityId", dtype="DevLong64", doc="Id of the activity that changed last; 0: none yet."
    )
    activityEvent = published(
        "activityEvent",
        dtype=str,
        doc='The last transition, as JSON: {"epoch", "seq", "time", "activity_id", "state", ...}. '
        "Subscribe to this one for the whole story.",
    )
    activities = published(
        "activities",
        dtype=(str,),
        max_dim_x=100,
        doc="JSON summaries of the unfinished and the newest finished activities.",
    )
    subarrayActivityState = published(
        "subarrayActivityState",
        dtype=(ActivityState,),
        max_dim_x=LAST_SUBARRAY,
        doc="State of the newest activity of each subarray; index is subarray - 1.",
    )
    subarrayActivityId = published(
        "subarrayActivityId",
        dtype=("DevLong64",),
        max_dim_x=LAST_SUBARRAY,
        doc="Id of the newest activity of each subarray; 0: none yet.",
    )
    activityProgress = published(
        "activityProgress",
        dtype=float,
        unit="%",
        doc="What the script of the activity that changed last reported.",
    )
    activityMessage = published(
        "activityMessage",
        dtype=str,
        doc="What the script of the activity that changed last announced.",
    )
    activeActivities = published(
        "activeActivities", dtype="DevLong", doc="How many activities are not finished."
    )

    # --- Life --------------------------------------------------------------------------------

    _parts: ActivityParts | None = None

    def first_values(self) -> dict[str, Any]:
        """See `OsoDevice.first_values`."""
        return {
            **super().first_values(),
            "activityState": ActivityState.NONE,
            "activityId": 0,
            "activityEvent": "",
            "activities": [],
            "subarrayActivityState": [ActivityState.NONE] * LAST_SUBARRAY,
            "subarrayActivityId": [0] * LAST_SUBARRAY,
            "activityProgress": 0.0,
            "activityMessage": "",
            "activeActivities": 0,
        }

    def create_component_manager(self) -> None:
        """Build the services; see `bootstrap`."""
        self._parts = build_activity_parts(
            device=self.get_name(),
            publisher=self.publisher,
            tracker=self.tracker,
            health=self.report_trouble,
            executor_names=list(self.ScriptExecutionDevices),
            state_directory=Path(self.StateDirectory),
            oda_directory=Path(self.OdaDirectory),
            block_roots=[Path(root) for root in self.SchedulingBlockRoots],
            subarray_id=self.SubarrayId,
            keep=self.HistorySize,
        )

    def release_component_manager(self) -> None:
        """Let go of the services; activities go on."""
        if self._parts is not None:
            self._parts.close()
            self._parts = None

    @property
    def parts(self) -> ActivityParts:
        """The services.

        Raises:
            NoSpace, RuntimeError: they could not be set up; Status says why.
        """
        if self._parts is None:
            raise self.not_set_up()
        return self._parts

    def on_admin_mode(self, mode: AdminMode) -> None:
        """Take new work only while in use."""
        if self._parts is not None:
            closed = None if mode in IN_USE else f"adminMode is {mode.name}"
            self._parts.service.set_closed(closed)

    def judge_health(self, troubles: dict[str, Trouble]) -> HealthState:
        """FAILED when no executor is left."""
        executors = set(self.ScriptExecutionDevices)
        if executors and executors <= set(troubles):
            return HealthState.FAILED
        return super().judge_health(troubles)

    # --- Long-running commands -----------------------------------------------------------------

    @command(
        dtype_in=str,
        doc_in='JSON, e.g. {"sbd_id": "sbd-mid-20261124-00001", "activity_name": "observe", '
        '"subarray_id": 1, "script_args": {"main": {"kwargs": {}}}}',
        dtype_out="DevVarLongStringArray",
        doc_out=_LRC_OUT,
    )
    def RunActivity(self, request: str) -> LongRunning:
        return self.start_lrc(
            "RunActivity", lambda: self.parts.service.run_activity(ActivityCommand.parse(request))
        )

    @command(
        dtype_in=str,
        doc_in='JSON, e.g. {"activity_id": 12, "script_args": {"main": {"kwargs": {}}}}',
        dtype_out="DevVarLongStringArray",
        doc_out=_LRC_OUT,
    )
    def StartActivity(self, request: str) -> LongRunning:
        return self.start_lrc(
            "StartActivity", lambda: self.parts.service.start_activity(StartRequest.parse(request))
        )

    @command(
        dtype_in=str,
        doc_in='JSON, e.g. {"activity_id": 12} or {"subarray_id": 3, "run_abort": true}',
        dtype_out="DevVarLongStringArray",
        doc_out=_LRC_OUT,
    )
    def StopActivity(self, request: str) -> LongRunning:
        return self.start_lrc(
            "StopActivity", lambda: self.parts.service.stop_activity(StopRequest.parse(request))
        )

    @command(
        dtype_in=str,
        doc_in="JSON, as for RunActivity; nothing is executed.",
        dtype_out="DevVarLongStringArray",
        doc_out=_LRC_OUT,
    )
    def ValidateActivity(self, request: str) -> LongRunning:
        return self.start_lrc(
            "ValidateActivity",
            lambda: self.parts.enquiries.validate(ActivityCommand.parse(request)),
        )

    @command(
        dtype_in=str,
        doc_in="An sbd_id, or a URI: oda://<sbd_id>[?version=<n>] or file:///path.json",
        dtype_out="DevVarLongStringArray",
        doc_out=_LRC_OUT,
    )
    def DescribeSchedulingBlock(self, block: str) -> LongRunning:
        return self.start_lrc(
            "DescribeSchedulingBlock",
            lambda: self.parts.enquiries.describe(parse_block_argument(block)),
        )

    def stop_everything(self, *, tracked: bool) -> str:
        """See `LrcDevice.stop_everything`."""
        command_id, _ = self.parts.service.abort(tracked=tracked)
        return command_id

    # --- Questions ---------------------------------------------------------------------------

    @command(
        dtype_in=str,
        doc_in="An activity id, or any of its command ids.",
        dtype_out=str,
        doc_out="JSON: the activity, whole.",
    )
    def GetActivity(self, name: str) -> str:
        with as_dev_failed(self, "GetActivity"):
            return strict_json.dumps(self.parts.service.get_activity(name))

    @command(
        dtype_in=str,
        doc_in='JSON filter, all keys optional, e.g. {"state": "FAILED", "limit": 10}',
        dtype_out=str,
        doc_out="JSON list of short summaries, newest first.",
    )
    def ListActivities(self, request: str) -> str:
        with as_dev_failed(self, "ListActivities"):
            found = self.parts.service.list_activities(ListRequest.parse(request))
            return strict_json.dumps(found)

    @command(
        dtype_in="DevLong64",
        doc_in="A seq; 0 for all that are kept.",
        dtype_out=str,
        doc_out="JSON list of activityEvent values after that seq, oldest first.",
    )
    def EventsSince(self, seq: int) -> str:
        with as_dev_failed(self, "EventsSince"):
            return strict_json.join(self.parts.service.event_texts_since(seq))


def main(args: list[str] | None = None) -> int:
    """Run the device server, as any Tango server is run: `ActivityDevice 01`."""
    set_up_process()
    words = sys.argv[1:] if args is None else args
    return serve(ActivityDevice, words)


if __name__ == "__main__":
    main()
