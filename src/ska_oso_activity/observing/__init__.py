"""For authors of observing scripts: command a subarray, and wait for what it really does.

Stands beside the layers. Needs Tango and `ska_oso_activity.script`, nothing else of ours.

    from ska_oso_activity import script
    from ska_oso_activity.observing import Observation, Subarray

    def main(sb_json, sbi_id=None):
        observation = Observation(script.load_scheduling_block(sb_json), sbi_id=sbi_id)
        with Subarray() as subarray:
            observation.allocate(subarray)
            observation.observe(subarray)
            observation.release(subarray)
"""

from ska_oso_activity.observing.errors import (
    CommandError,
    CommandFailed,
    ConnectionLost,
    NotConfigured,
    ObservingError,
    Refused,
    SubarrayAstray,
    TimedOut,
    Untranslatable,
    WrongState,
)
from ska_oso_activity.observing.names import Names
from ska_oso_activity.observing.observation import Observation, release
from ska_oso_activity.observing.states import ObsState
from ska_oso_activity.observing.subarray import Subarray

__all__ = [
    "CommandError",
    "CommandFailed",
    "ConnectionLost",
    "Names",
    "NotConfigured",
    "ObsState",
    "Observation",
    "ObservingError",
    "Refused",
    "Subarray",
    "SubarrayAstray",
    "TimedOut",
    "Untranslatable",
    "WrongState",
    "release",
]
