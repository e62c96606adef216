"""Observes a Scheduling Block from beginning to end: assigns, scans and releases."""

from typing import Any

from ska_oso_activity import script
from ska_oso_activity.observing import Observation, ObsState, Subarray

given: dict[str, int | None] = {}


def init(subarray_id: int | None = None) -> None:
    """Remember the subarray, if the block names one. It is not commanded before `main`."""
    given["subarray_id"] = subarray_id


def main(
    sb_json: str,
    sbi_id: str | None = None,
    seconds_per_scan: float | None = None,
    timeouts: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Assign resources, make all scans, release: from EMPTY to EMPTY; return what was observed.

    After a failure the subarray stays as it is, for people to look at; the abort script clears up.

    Args:
        sb_json: file of the block.
        sbi_id: of the Scheduling Block Instance; the execution block is named after it.
        seconds_per_scan: what each scan takes instead of what the block says.
        timeouts: seconds by command, such as `{"Configure": 400}`.
    """
    observation = Observation(
        script.load_scheduling_block(sb_json), sbi_id=sbi_id, seconds_per_scan=seconds_per_scan
    )
    with Subarray(given.get("subarray_id"), timeouts=timeouts) as subarray:
        allocated = observation.allocate(subarray)
        observed = observation.observe(subarray)
        observation.release(subarray)
        ends = {"obs_state": ObsState.EMPTY.name}
        return {"subarray_id": subarray.id, **observed, **allocated, **ends}
