"""Aborts a subarray, whatever it is doing: to be run after an activity was stopped."""

from typing import Any

from ska_oso_activity import script
from ska_oso_activity.observing import ObsState, Subarray

given: dict[str, int | None] = {}


def init(subarray_id: int | None = None) -> None:
    """Remember the subarray, if one is named; else it is that of the stopped activity."""
    given["subarray_id"] = subarray_id


def main(
    subarray_id: int | None = None,
    restart: bool = False,
    timeouts: dict[str, float] | None = None,
    **_: Any,
) -> dict[str, Any]:
    """Bring the subarray to ABORTED, or to EMPTY; return what it was and what it is.

    A subarray that is EMPTY, or in ABORTED already, is left as it is. One in FAULT can only be
    restarted: without `restart` that is an error.

    Args:
        subarray_id: None: as `init` was told, or that of the stopped activity.
        restart: go on to EMPTY, also out of FAULT.
        timeouts: seconds by command, such as `{"Abort": 120}`.
    """
    number = given.get("subarray_id") if subarray_id is None else subarray_id
    with Subarray(number, timeouts=timeouts) as subarray:
        before = subarray.obs_state
        after = subarray.abort(restart=restart)
        if before is after is ObsState.EMPTY:
            script.announce(f"subarray {subarray.id} is EMPTY: there is nothing to abort")
        elif after is not before:
            script.announce(f"subarray {subarray.id} was {before.name} and is {after.name}")
        return {"subarray_id": subarray.id, "was": before.name, "obs_state": after.name}
