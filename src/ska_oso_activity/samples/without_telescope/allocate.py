"""Says which dishes or stations a Scheduling Block asks for.

It drives no telescope: a real script would now assign them to the subarray.
"""

import logging
from json import loads
from pathlib import Path
from typing import Any

from ska_oso_activity import script

LOG = logging.getLogger("allocate")
remembered: dict[str, int] = {}


def init(subarray_id: int) -> None:
    """Remember which subarray to allocate to."""
    remembered["subarray_id"] = subarray_id
    LOG.info("ready to allocate to subarray %d", subarray_id)


def main(sb_json: str, sbi_id: str | None = None) -> dict[str, Any]:
    """Name the receptors that the block in the file `sb_json` wants; return them as a list."""
    block = loads(Path(sb_json).read_text(encoding="utf-8"))
    subarray_id = remembered.get("subarray_id", script.subarray_id())
    LOG.info("%s, for %s", block.get("sbd_id", "a draft"), sbi_id)

    dishes = block.get("dish_allocations") or {}
    mccs = block.get("mccs_allocation") or {}
    beams = mccs.get("subarray_beams") or []
    stations = [aperture["station_id"] for beam in beams for aperture in beam["apertures"]]
    stations = stations or [station for group in mccs.get("station_ids") or [] for station in group]
    receptors = dishes.get("dish_ids") or dishes.get("receptor_ids") or []
    receptors = receptors or [f"station {station}" for station in dict.fromkeys(stations)]

    for number, receptor in enumerate(receptors, start=1):
        LOG.info("subarray %s would get %s", subarray_id, receptor)
        script.progress(number / len(receptors), receptor)
    script.announce(
        f"{block['telescope']}: subarray {subarray_id} would get {len(receptors)} receptors "
        f"({', '.join(receptors)}); nothing was sent to the telescope"
    )
    return {"subarray_id": subarray_id, "receptors": receptors}
