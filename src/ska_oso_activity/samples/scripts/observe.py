"""Makes the scans of a Scheduling Block, on a subarray that has its resources (see allocate)."""

from typing import Any

from ska_oso_activity import script
from ska_oso_activity.observing import Observation, Subarray

given: dict[str, int | None] = {}


def init(subarray_id: int | None = None) -> None:
    """Remember the subarray, if the block names one. It is not commanded before `main`."""
    given["subarray_id"] = subarray_id


def main(
    sb_json: str,
    sbi_id: str | None = None,
    seconds_per_scan: float | None = None,
    timeouts: dict[str, float] | None = None,
    first_scan_id: int = 1,
) -> dict[str, Any]:
    """Configure and make all scans, from IDLE; return how many, and of which targets.

    Args:
        sb_json: file of the block.
        sbi_id: of the Scheduling Block Instance.
        seconds_per_scan: what each scan takes instead of what the block says.
        timeouts: seconds by command, such as `{"Configure": 400}`.
        first_scan_id: scan ids count from here; another than 1 keeps them apart from those of scans
            that were made with the same resources before.
    """
    observation = Observation(
        script.load_scheduling_block(sb_json),
        sbi_id=sbi_id,
        seconds_per_scan=seconds_per_scan,
        first_scan_id=first_scan_id,
    )
    with Subarray(given.get("subarray_id"), timeouts=timeouts) as subarray:
        observed = observation.observe(subarray)
        return {"subarray_id": subarray.id, **observed}
