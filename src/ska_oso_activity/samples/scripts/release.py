"""Takes all resources from a subarray that is done with observing."""

from typing import Any

from ska_oso_activity.observing import ObsState, Subarray, release

given: dict[str, int | None] = {}


def init(subarray_id: int | None = None) -> None:
    """Remember the subarray, if the block names one. It is not commanded before `main`."""
    given["subarray_id"] = subarray_id


def main(timeouts: dict[str, float] | None = None) -> dict[str, Any]:
    """Release everything, from IDLE; ends EMPTY.

    Args:
        timeouts: seconds by command, such as `{"ReleaseResources": 120}`.
    """
    with Subarray(given.get("subarray_id"), timeouts=timeouts) as subarray:
        release(subarray)
        return {"subarray_id": subarray.id, "obs_state": ObsState.EMPTY.name}
