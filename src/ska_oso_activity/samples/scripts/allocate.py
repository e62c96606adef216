"""Assigns to a subarray what a Scheduling Block asks for: dishes, or stations and their beams."""

from typing import Any

from ska_oso_activity import script
from ska_oso_activity.observing import Observation, Subarray

given: dict[str, int | None] = {}


def init(subarray_id: int | None = None) -> None:
    """Remember the subarray, if the block names one. It is not commanded before `main`."""
    given["subarray_id"] = subarray_id


def main(
    sb_json: str, sbi_id: str | None = None, timeouts: dict[str, float] | None = None
) -> dict[str, Any]:
    """Assign resources, from EMPTY or IDLE; return the receptors and the execution block's id.

    Args:
        sb_json: file of the block.
        sbi_id: of the Scheduling Block Instance; the execution block is named after it.
        timeouts: seconds by command, such as `{"AssignResources": 120}`.
    """
    observation = Observation(script.load_scheduling_block(sb_json), sbi_id=sbi_id)
    with Subarray(given.get("subarray_id"), timeouts=timeouts) as subarray:
        allocated = observation.allocate(subarray)
        return {"subarray_id": subarray.id, **allocated}
