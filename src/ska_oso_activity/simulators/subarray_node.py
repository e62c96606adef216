"""SubarrayNode of TMC, simulated, for Mid and Low (simulators)."""

from __future__ import annotations

import re
from typing import Any

from tango.server import command, device_property

from ska_oso_activity.devices.base import published
from ska_oso_activity.simulators.arguments import Telescope
from ska_oso_activity.simulators.obs_state import ObsState
from ska_oso_activity.simulators.simulation import Outlets, Tmc
from ska_oso_activity.simulators.subarray import ABORT_LIMIT, MOST_RESOURCES, Subarray
from ska_oso_activity.simulators.tmc_device import (
    BAD_ARGUMENT,
    TmcDevice,
    long_running,
    refuse,
    silent,
)

_ASSIGN = "JSON, interface ska-tmc-assignresources or ska-low-tmc-assignresources."
_RELEASE = "JSON, interface ska-tmc-releaseresources or ska-low-tmc-releaseresources; empty: all."
_CONFIGURE = "JSON, interface ska-tmc-configure or ska-low-tmc-configure."
_SCAN = "JSON, interface ska-tmc-scan or ska-low-tmc-scan."


class _SubarrayNode(TmcDevice):
    """What the subarrays of both telescopes have in common."""

    simulation: Subarray

    SubarrayId = device_property(
        dtype=int, default_value=0, doc="Its number; 0: the one that its name ends with."
    )
    AbortTimeout = device_property(
        dtype=float,
        default_value=ABORT_LIMIT,
        doc="Seconds after which an Abort that is still under way ends in FAULT.",
    )

    obsState = published(
        "obsState",
        dtype=ObsState,
        fget=lambda device: device.simulation.obs_state,
        doc="What the subarray is doing.",
    )
    assignedResources = published(
        "assignedResources",
        dtype=(str,),
        max_dim_x=MOST_RESOURCES,
        doc="Receptors (Mid) or apertures (Low).",
    )
    scanId = published("scanId", dtype=int, doc="Number of the scan that goes on; 0: none does.")
    isSubarrayAvailable = published(
        "isSubarrayAvailable", dtype=bool, doc="Whether it can be used."
    )

    def create_simulation(self, tmc: Tmc, outlets: Outlets) -> Subarray:
        number = self.SubarrayId
        if not number:
            digits = re.search(r"\d+$", self.get_name())
            if digits is None:
                raise ValueError("the name ends with no number: set the property SubarrayId")
            number = int(digits[0])
        return Subarray(self.get_name(), number, tmc, outlets, abort_limit=self.AbortTimeout)

    def simulated_values(self) -> dict[str, Any]:
        return {
            **super().simulated_values(),
            "obsState": ObsState.EMPTY,
            "assignedResources": [],
            "scanId": 0,
            "isSubarrayAvailable": True,
        }

    # --- Commands --------------------------------------------------------------------------------

    AssignResources = long_running("AssignResources", _ASSIGN)
    ReleaseResources = long_running("ReleaseResources", _RELEASE)
    ReleaseAllResources = long_running("ReleaseAllResources")
    Configure = long_running("Configure", _CONFIGURE)
    Scan = long_running("Scan", _SCAN)
    EndScan = long_running("EndScan")
    End = long_running("End")
    Abort = long_running("Abort")
    Restart = long_running("Restart")

    @command(dtype_in=int, doc_in="ObsState: 0 EMPTY, 1 RESOURCING, ... 10 RESTARTING.")
    def SetDirectObsState(self, value: int) -> None:
        try:
            state = ObsState(value)
        except ValueError as error:
            refuse(BAD_ARGUMENT, error, "SetDirectObsState")
        self.simulation.set_obs_state(state)


class _SilentSubarrayNode(_SubarrayNode):
    """The same, with commands that return nothing, after all is done."""

    AssignResources = silent("AssignResources", _ASSIGN)
    ReleaseResources = silent("ReleaseResources", _RELEASE)
    ReleaseAllResources = silent("ReleaseAllResources")
    Configure = silent("Configure", _CONFIGURE)
    Scan = silent("Scan", _SCAN)
    EndScan = silent("EndScan")
    End = silent("End")
    Abort = silent("Abort")
    Restart = silent("Restart")


class SubarrayNodeMid(_SubarrayNode):
    """A subarray of Mid."""

    TELESCOPE = Telescope.MID


class SubarrayNodeLow(_SubarrayNode):
    """A subarray of Low."""

    TELESCOPE = Telescope.LOW


class SilentSubarrayNodeMid(_SilentSubarrayNode):
    """A subarray of Mid whose commands return nothing, after all is done."""

    TELESCOPE = Telescope.MID


class SilentSubarrayNodeLow(_SilentSubarrayNode):
    """A subarray of Low whose commands return nothing, after all is done."""

    TELESCOPE = Telescope.LOW
