"""CentralNode of TMC, simulated, for Mid and Low (simulators)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tango import AttrWriteType, DevState
from tango.server import attribute

from ska_oso_activity.application.ports import Publisher
from ska_oso_activity.devices.base import HealthState, published
from ska_oso_activity.simulators.arguments import Telescope
from ska_oso_activity.simulators.central_node import CentralNode
from ska_oso_activity.simulators.simulation import Outlets, Tmc
from ska_oso_activity.simulators.tmc_device import (
    BAD_ARGUMENT,
    TmcDevice,
    long_running,
    refuse,
    silent,
)

_ASSIGN = "JSON: subarray_id, interface ska-tmc-assignresources or ska-low-tmc-assignresources."
_RELEASE = "JSON: subarray_id, interface ska-tmc- or ska-low-tmc-releaseresources."
_DISHES = "JSON: which dish is which."

STATES = {"ON": DevState.ON, "OFF": DevState.OFF, "STANDBY": DevState.STANDBY}


class _AsTango:
    """A publisher that is told states of the telescope by their names."""

    handed_over = ("", 0)

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def publish(
        self, pushes: Iterable[tuple[str, Any]], *, event: tuple[str, int] | None = None
    ) -> None:
        """See `Publisher.publish`."""
        self._publisher.publish(
            [(n, STATES[v] if n == "telescopeState" else v) for n, v in pushes], event=event
        )

    def refresh(self, view: str, make: Callable[[], Any], *, key: object = None) -> None:
        """See `Publisher.refresh`."""
        self._publisher.refresh(view, make, key=key)


class _CentralNode(TmcDevice):
    """What the central nodes of both telescopes have in common."""

    simulation: CentralNode

    telescopeState = published(
        "telescopeState",
        dtype="DevState",
        fget=lambda device: STATES[device.simulation.telescope_state],
        doc="ON, OFF or STANDBY.",
    )
    tmOpState = published("tmOpState", dtype="DevState", doc="State of the telescope manager: ON.")
    telescopeHealthState = published(
        "telescopeHealthState", dtype=HealthState, doc="As SetDirectHealthState says."
    )
    telescopeAvailability = published(
        "telescopeAvailability", dtype=str, doc="JSON: the devices that can be used."
    )

    @attribute(
        dtype=int, access=AttrWriteType.READ_WRITE, doc="Seconds that a subarray has for a command."
    )
    def commandTimeOut(self) -> int:
        return self.simulation.command_time_out

    @commandTimeOut.write
    def set_commandTimeOut(self, seconds: int) -> None:
        if seconds < 1:
            refuse(
                BAD_ARGUMENT,
                ValueError(f"commandTimeOut cannot be {seconds}: seconds from 1 are possible"),
                "commandTimeOut",
            )
        self.simulation.command_time_out = seconds

    def create_publisher(self) -> Publisher:
        return _AsTango(self.publisher)

    def create_simulation(self, tmc: Tmc, outlets: Outlets) -> CentralNode:
        simulation = CentralNode(self.get_name(), tmc, outlets)
        tmc.on_change = lambda: self.publisher.publish(
            [("telescopeAvailability", simulation.availability())]
        )
        tmc.on_change()
        return simulation

    def simulated_values(self) -> dict[str, Any]:
        return {
            **super().simulated_values(),
            "telescopeState": DevState.OFF,
            "telescopeHealthState": HealthState.OK,
            "tmOpState": DevState.ON,
        }

    def first_values(self) -> dict[str, Any]:
        return {**super().first_values(), "telescopeAvailability": "{}"}

    def on_direct_health(self, health: HealthState) -> None:
        super().on_direct_health(health)
        self.publisher.publish([("telescopeHealthState", health)])

    # --- Commands --------------------------------------------------------------------------------

    TelescopeOn = long_running("TelescopeOn")
    TelescopeOff = long_running("TelescopeOff")
    TelescopeStandby = long_running("TelescopeStandby")
    AssignResources = long_running("AssignResources", _ASSIGN)
    ReleaseResources = long_running("ReleaseResources", _RELEASE)


class _SilentCentralNode(_CentralNode):
    """The same, with commands that return nothing, after all is done."""

    TelescopeOn = silent("TelescopeOn")
    TelescopeOff = silent("TelescopeOff")
    TelescopeStandby = silent("TelescopeStandby")
    AssignResources = silent("AssignResources", _ASSIGN)
    ReleaseResources = silent("ReleaseResources", _RELEASE)


class CentralNodeMid(_CentralNode):
    """The central node of Mid."""

    TELESCOPE = Telescope.MID
    LoadDishCfg = long_running("LoadDishCfg", _DISHES)


class CentralNodeLow(_CentralNode):
    """The central node of Low."""

    TELESCOPE = Telescope.LOW


class SilentCentralNodeMid(_SilentCentralNode):
    """The central node of Mid whose commands return nothing, after all is done."""

    TELESCOPE = Telescope.MID
    LoadDishCfg = silent("LoadDishCfg", _DISHES)


class SilentCentralNodeLow(_SilentCentralNode):
    """The central node of Low whose commands return nothing, after all is done."""

    TELESCOPE = Telescope.LOW
