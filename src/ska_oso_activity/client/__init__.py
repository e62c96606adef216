"""The client library: runs activities on an ActivityDevice and follows them (client).

`ActivityClient` is for programs that wait, `AsyncActivityClient` for asyncio.
"""

from __future__ import annotations

from ska_oso_activity.client.activity_run import ActivityRun
from ska_oso_activity.client.asynchronous import AsyncActivityClient, AsyncActivityRun
from ska_oso_activity.client.devices import LrcResult
from ska_oso_activity.client.errors import (
    AmbiguousDevice,
    ClientError,
    CommandFailed,
    CommandForgotten,
    DeviceAway,
    Interrupted,
    InvalidRequest,
    NoCapacity,
    NoSpace,
    NotOnline,
    OutOfTime,
    Refused,
    SubarrayBusy,
    UnknownActivity,
    WrongState,
)
from ska_oso_activity.client.happenings import (
    Announced,
    Finished,
    Happening,
    Noted,
    OutputWritten,
    Progressed,
    StateChanged,
)
from ska_oso_activity.client.interruption import Interruption
from ska_oso_activity.client.lrc import LongRunningCommands
from ska_oso_activity.client.sync import ActivityClient
from ska_oso_activity.client.values import (
    ActivityEvent,
    ActivityRequest,
    ActivitySummary,
    BlockDescription,
    Finding,
    OutputLine,
    Validation,
)
from ska_oso_activity.domain.activity import ActivityState
from ska_oso_activity.domain.control_model import TaskStatus
from ska_oso_activity.domain.errors import Reason

__all__ = [
    "ActivityClient",
    "ActivityEvent",
    "ActivityRequest",
    "ActivityRun",
    "ActivityState",
    "ActivitySummary",
    "AmbiguousDevice",
    "Announced",
    "AsyncActivityClient",
    "AsyncActivityRun",
    "BlockDescription",
    "ClientError",
    "CommandFailed",
    "CommandForgotten",
    "DeviceAway",
    "Finding",
    "Finished",
    "Happening",
    "Interrupted",
    "Interruption",
    "InvalidRequest",
    "LongRunningCommands",
    "LrcResult",
    "NoCapacity",
    "NoSpace",
    "NotOnline",
    "Noted",
    "OutOfTime",
    "OutputLine",
    "OutputWritten",
    "Progressed",
    "Reason",
    "Refused",
    "StateChanged",
    "SubarrayBusy",
    "TaskStatus",
    "UnknownActivity",
    "Validation",
    "WrongState",
]
