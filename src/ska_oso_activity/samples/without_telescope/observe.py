"""Goes through the scans of a Scheduling Block one by one, each for as long as the block says.

It drives no telescope: where it waits, a real script would configure the subarray and scan.
"""

import logging
import time
from itertools import zip_longest
from json import loads
from pathlib import Path
from typing import Any, NamedTuple

from ska_oso_activity import script

LOG = logging.getLogger("observe")
SECONDS_IN = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
SECONDS_IF_UNSAID = 1.0
remembered: dict[str, int] = {}


class Scan(NamedTuple):
    """What is observed together, in one go, and for how many seconds."""

    targets: list[str]
    seconds: float


def init(subarray_id: int) -> None:
    """Remember which subarray to observe with."""
    remembered["subarray_id"] = subarray_id
    LOG.info("ready to observe with subarray %d", subarray_id)


def main(
    sb_json: str, sbi_id: str | None = None, seconds_per_scan: float | None = None
) -> dict[str, Any]:
    """Observe the block in the file `sb_json`; return how many scans were made, and of what.

    `seconds_per_scan` replaces the duration of every scan, so that hours pass in a minute.
    """
    block = loads(Path(sb_json).read_text(encoding="utf-8"))
    subarray_id = remembered.get("subarray_id", script.subarray_id())
    LOG.info("%s, for %s, subarray %s", block.get("sbd_id", "a draft"), sbi_id, subarray_id)
    LOG.info("%s with %s", block["telescope"], ", ".join(receptors_of(block)) or "no receptors")

    scans = scans_of(block)
    if not scans:
        scans = [Scan([name], SECONDS_IF_UNSAID) for name in target_names(block).values()]
        script.announce(f"the block holds no scans: a single pass over its {len(scans)} target(s)")

    for number, scan in enumerate(scans, start=1):
        seconds = scan.seconds if seconds_per_scan is None else seconds_per_scan
        name = " and ".join(scan.targets) or "unnamed"
        message = f"scan {number} of {len(scans)}: target {name} for {seconds:.1f} s"
        script.announce(message)
        LOG.info(message)
        time.sleep(seconds)
        script.progress(number / len(scans), f"scan {number} of {len(scans)} done")

    observed = list(dict.fromkeys(name for scan in scans for name in scan.targets))
    return {"scans": len(scans), "targets": observed, "subarray_id": subarray_id}


# From here on: where things are in a block. Every generation of blocks since OET 4 is understood.


def scans_of(block: dict[str, Any]) -> list[Scan]:
    """The block's scans in order; station beams observe side by side, so they share a scan."""
    names = target_names(block)
    scans = []
    for together in zip_longest(*scan_sequences(block)):
        definitions = [definition for definition in together if definition]
        refs = [ref for definition in definitions for ref in target_refs(definition, block)]
        targets = list(dict.fromkeys(names.get(ref, ref) for ref in refs))
        scans.append(Scan(targets, max(seconds_of(definition) for definition in definitions)))
    return scans


def scan_sequences(block: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The scan definitions of the dishes or of each station beam (older: of the block)."""
    known = {scan["scan_definition_id"]: scan for scan in block.get("scan_definitions") or []}
    owners = [block.get("dish_allocations") or {}, *station_beams(block)]
    sequences = [owner["scan_sequence"] for owner in owners if owner.get("scan_sequence")]
    sequences = sequences or [block.get("scan_sequence") or list(known)]
    unknown = {scan for scans in sequences for scan in scans if isinstance(scan, str)} - set(known)
    if unknown:
        raise ValueError(f"the scan sequence names {sorted(unknown)}; defined are {sorted(known)}")
    return [[known[scan] if isinstance(scan, str) else scan for scan in s] for s in sequences]


def seconds_of(definition: dict[str, Any]) -> float:
    """How long a scan lasts: a quantity with its unit, or (older) a number of milliseconds."""
    duration = definition.get("scan_duration")
    if isinstance(duration, dict):
        return float(duration["value"] * SECONDS_IN[duration["unit"]])
    milliseconds = definition.get("scan_duration_ms", duration)
    return SECONDS_IF_UNSAID if milliseconds is None else float(milliseconds / 1000)


def target_names(block: dict[str, Any]) -> dict[str, str]:
    """What the block's targets are called, by their ids."""
    fields = block.get("field_configurations") or []
    targets = [*(block.get("targets") or []), *(t for field in fields for t in field["targets"])]
    ids = [target["target_id"] for target in targets]
    names = [target.get("name") or target.get("target_name") for target in targets]
    return {target_id: name or target_id for target_id, name in zip(ids, names, strict=True)}


def target_refs(definition: dict[str, Any], block: dict[str, Any]) -> list[str]:
    """The ids of a scan's targets, which OET 4 named by way of a beam or a field."""
    ref = definition.get("target_ref") or definition.get("target")
    if ref:
        return [ref]
    beam_ids = definition.get("target_beam_configurations") or []
    beams = block.get("target_beam_configurations") or []
    fields = block.get("field_configurations") or []
    return [beam["target"] for beam in beams if beam["target_beam_id"] in beam_ids] or [
        target["target_id"]
        for field in fields
        if field["field_id"] == definition.get("field_configuration")
        for target in field["targets"]
    ]


def station_beams(block: dict[str, Any]) -> list[dict[str, Any]]:
    """The subarray beams of a Low block."""
    return (block.get("mccs_allocation") or {}).get("subarray_beams") or []


def receptors_of(block: dict[str, Any]) -> list[str]:
    """The dishes or stations that take part."""
    dishes = block.get("dish_allocations") or {}
    older = (block.get("mccs_allocation") or {}).get("station_ids") or []
    stations = [a["station_id"] for beam in station_beams(block) for a in beam["apertures"]]
    stations = stations or [station for group in older for station in group]
    names = [f"station {station}" for station in dict.fromkeys(stations)]
    return dishes.get("dish_ids") or dishes.get("receptor_ids") or names
