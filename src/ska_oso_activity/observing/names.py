"""Which telescope, and what its devices are called, by the environment (observing library).

ScriptExecution sets the variables for each script by its block's telescope.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ska_oso_activity.observing.errors import NotConfigured

Telescope = Literal["mid", "low"]
_WHERE = "ScriptExecution sets it from MidEnvironment or LowEnvironment; by hand, export it"


@dataclass(frozen=True)
class Names:
    """The devices of one telescope's TMC.

    Attributes:
        telescope: `mid` or `low`.
        central_node: such as `mid-tmc/central-node/0`.
        subarray_prefix: what the subarrays' names begin with, such as `mid-tmc/subarray`.
    """

    telescope: Telescope
    central_node: str
    subarray_prefix: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Names:
        """Read `SKA_TELESCOPE`, `CENTRALNODE_TRL` and `SUBARRAYNODE_TRL_PREFIX`.

        The older `CENTRALNODE_FQDN` and `SUBARRAYNODE_FQDN_PREFIX` count where the newer are
        missing.

        Args:
            environment: instead of the process's own.

        Raises:
            NotConfigured: a variable is missing, or the telescope is neither Mid nor Low.
        """
        variables = os.environ if environment is None else environment
        telescope = _telescope(variables.get("SKA_TELESCOPE", ""))
        central_node = _first(variables, "CENTRALNODE_TRL", "CENTRALNODE_FQDN")
        prefix = _first(variables, "SUBARRAYNODE_TRL_PREFIX", "SUBARRAYNODE_FQDN_PREFIX")
        return cls(telescope, central_node, prefix.rstrip("/"))

    def subarray(self, subarray_id: int) -> str:
        """The name of a subarray's device.

        Where the prefix is of the older kind (`ska_mid/tm_subarray_node`), the number stands as
        it is: `ska_mid/tm_subarray_node/1`. Else it has two digits: `mid-tmc/subarray/01`. An
        option of a TRL, such as `#dbase=no`, stays at the end.

        Args:
            subarray_id: 1 to 16.

        Raises:
            ValueError: there is no such subarray.
        """
        if type(subarray_id) is not int or not 1 <= subarray_id <= 16:
            raise ValueError(f"subarrays are numbered 1 to 16, and {subarray_id!r} was asked for")
        older = "tm_subarray_node" in self.subarray_prefix.lower()
        number = str(subarray_id) if older else f"{subarray_id:02d}"
        prefix, mark, option = self.subarray_prefix.partition("#")
        return f"{prefix}/{number}{mark}{option}"


def _telescope(value: str) -> Telescope:
    words = value.lower()
    if "mid" in words or "meerkat" in words:
        return "mid"
    if "low" in words:
        return "low"
    raise NotConfigured(
        f"SKA_TELESCOPE is {value!r}, and must name Mid or Low, such as SKA-mid. {_WHERE}"
    )


def _first(variables: Mapping[str, str], newer: str, older: str) -> str:
    value = variables.get(newer) or variables.get(older)
    if value:
        return value
    raise NotConfigured(f"{newer} (older: {older}) is not set. {_WHERE}")
