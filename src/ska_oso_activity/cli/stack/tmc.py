"""The devices of the TMC simulators, and how scripts are told of them (cli)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from ska_oso_activity.cli.stack.description import Device, Telescope

PROGRAM = "TmcSimulator"


class TmcNames(str, Enum):
    """How the devices of TMC are named."""

    NEW = "new"
    OLD = "old"

    def central_node(self, telescope: Telescope) -> str:
        """The name of a CentralNode."""
        if self is TmcNames.OLD:
            return f"ska_{telescope.value}/tm_central/central_node"
        return f"{telescope.value}-tmc/central-node/0"

    def subarray_prefix(self, telescope: Telescope) -> str:
        """What the names of SubarrayNodes begin with, up to the slash before the number."""
        if self is TmcNames.OLD:
            return f"ska_{telescope.value}/tm_subarray_node"
        return f"{telescope.value}-tmc/subarray"

    def subarray(self, telescope: Telescope, number: int) -> str:
        """The name of a SubarrayNode."""
        digits = f"{number}" if self is TmcNames.OLD else f"{number:02}"
        return f"{self.subarray_prefix(telescope)}/{digits}"


@dataclass(frozen=True)
class Tmc:
    """The simulators that are to run: those of both telescopes, in one server.

    Attributes:
        subarrays: of each telescope.
        delay: seconds that a command takes.
    """

    subarrays: int
    names: TmcNames = TmcNames.NEW
    delay: float | None = None

    def devices(self) -> list[Device]:
        """All of them; of each telescope the CentralNode first."""
        found = []
        for telescope in Telescope:
            of = telescope.value.capitalize()
            classes = {self.names.central_node(telescope): f"CentralNode{of}"}
            for number in range(1, self.subarrays + 1):
                classes[self.names.subarray(telescope, number)] = f"SubarrayNode{of}"
            delay = [] if self.delay is None else [str(self.delay)]
            found += [
                Device(name, device_class, "01", {"DefaultDelay": delay}, PROGRAM)
                for name, device_class in classes.items()
            ]
        return found

    def known_to(self, executor: Device) -> Device:
        """ScriptExecution, with the environment by which its scripts find the simulators."""
        environments = {
            f"{telescope.value.capitalize()}Environment": self._environment(telescope)
            for telescope in Telescope
        }
        return replace(executor, properties={**executor.properties, **environments})

    def _environment(self, telescope: Telescope) -> list[str]:
        central_node = self.names.central_node(telescope)
        prefix = self.names.subarray_prefix(telescope)
        return [
            f"SKA_TELESCOPE=SKA-{telescope.value}",
            f"CENTRALNODE_TRL={central_node}",
            f"CENTRALNODE_FQDN={central_node}",
            f"SUBARRAYNODE_TRL_PREFIX={prefix}",
            f"SUBARRAYNODE_FQDN_PREFIX={prefix}",
        ]
