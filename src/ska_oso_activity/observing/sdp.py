"""What SDP is told: of the newest blocks, and of those of PDM 17 (observing library)."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ska_oso_activity.observing.block import Block, Scan
from ska_oso_activity.observing.errors import Untranslatable
from ska_oso_activity.observing.targets import Target

Json = dict[str, Any]
ASSIGN_INTERFACE = "https://schema.skao.int/ska-sdp-assignres/0.4"
CONFIGURE_INTERFACE = "https://schema.skao.int/ska-sdp-configure/0.4"
BEAM = "vis0"
POLARISATIONS = "all"
_REALTIME = re.compile(r"receive|realtime|pointing-offset")
"""Names of SDP scripts that run while data come in; all others are batch scripts."""
_SBI_ID = re.compile(r"sbi-([a-z0-9]+-\d{8}-[a-z0-9]+)")


@dataclass(frozen=True)
class Identity:
    """The ids of an observation, which no block holds.

    Attributes:
        stem: what the ids of the execution block and its processing blocks have in common.
        sbi_id: of the Scheduling Block Instance; None: there is none.
    """

    stem: str
    sbi_id: str | None = None

    @classmethod
    def of(cls, sbi_id: str | None, now: datetime | None = None) -> Identity:
        """After the SBI where its id allows, which makes them as unique as it is; else by time."""
        if sbi_id and (match := _SBI_ID.fullmatch(sbi_id)):
            return cls(match[1], sbi_id)
        moment = now or datetime.now(timezone.utc)
        return cls(f"activity-{moment:%Y%m%d}-{moment:%H%M%S%f}", sbi_id)

    @property
    def eb_id(self) -> str:
        """The execution block's id."""
        return f"eb-{self.stem}"

    def pb_id(self, number: int) -> str:
        """A processing block's id, counted from 1."""
        return f"pb-{self.stem}{number:02d}"


@dataclass(frozen=True)
class Band:
    """A range of channels that SDP receives.

    Attributes:
        count: of channels.
        start: number of the first.
        freq_min, freq_max: Hz, the outer edges.
    """

    id: str
    count: int
    start: int
    freq_min: float
    freq_max: float


def assign(
    block: Block,
    identity: Identity,
    scans: Sequence[Scan],
    bands: Mapping[str, Sequence[Band]],
    receptors: Sequence[str],
) -> Json:
    """The `sdp` part of AssignResources.

    Args:
        scans: all that will be made.
        bands: what is received, by CSP configuration.
        receptors: as SDP calls them.
    """
    if whole := _whole(block):
        return _of_whole(whole, identity, scans, receptors)
    execution_block = {
        "eb_id": identity.eb_id,
        "max_length": float(sum(scan.duration for scan in scans)),
        "context": {},
        "beams": [{"beam_id": BEAM, "function": "visibilities"}],
        "channels": [_channels(config_id, bands[config_id]) for config_id in bands],
        "polarisations": [_polarisations()],
        "fields": _fields(scan.target for scan in scans),
        "scan_types": _scan_types(block, scans),
    }
    return {
        "interface": ASSIGN_INTERFACE,
        "resources": {"receptors": list(receptors), "receive_nodes": 1},
        "execution_block": execution_block,
        "processing_blocks": [
            _processing_block(script, identity, number, f"sdp_configurations[{number - 1}]")
            for number, script in enumerate(block.sdp, start=1)
        ],
    }


def configure(block: Block, scan: Scan) -> Json:
    """The `sdp` part of Configure."""
    return {"interface": CONFIGURE_INTERFACE, "scan_type": scan_type(block, scan)}


def scan_type(block: Block, scan: Scan) -> str:
    """SDP's name for what a scan does: the block's own, or its target (and, of several, its CSP
    configuration).
    """
    if scan.scan_type is not None:
        return scan.scan_type
    every = [*block.scans, *(each for beam in block.beams for each in beam.scans)]
    several = len({each.csp["config_id"] for each in every}) > 1
    return f"{scan.target.id} {scan.csp['config_id']}" if several else scan.target.id


def channels_id(config_id: str) -> str:
    """What SDP calls the channels of a CSP configuration."""
    return f"vis_channels {config_id}"


def _channels(config_id: str, bands: Sequence[Band]) -> Json:
    windows = [
        {
            "spectral_window_id": band.id,
            "count": band.count,
            "start": band.start,
            "stride": 1,
            "freq_min": band.freq_min,
            "freq_max": band.freq_max,
            "link_map": [],
        }
        for band in bands
    ]
    return {"channels_id": channels_id(config_id), "spectral_windows": windows}


def _polarisations() -> Json:
    return {"polarisations_id": POLARISATIONS, "corr_type": ["XX", "XY", "YX", "YY"]}


def _fields(targets: Iterable[Target]) -> list[Json]:
    each = {target.id: target for target in targets}
    return [
        {
            "field_id": target.id,
            "phase_dir": {
                "ra": [target.position.ra],
                "dec": [target.position.dec],
                "reference_time": _moment(target.epoch),
                "reference_frame": "ICRF3",
            },
        }
        for target in each.values()
    ]


def _moment(year: float) -> str:
    """A Julian year as a time."""
    noon = datetime(2000, 1, 1, 12, tzinfo=timezone.utc)
    return (noon + timedelta(days=365.25 * (year - 2000))).isoformat(timespec="microseconds")


def _scan_types(block: Block, scans: Iterable[Scan]) -> list[Json]:
    each = {scan_type(block, scan): scan for scan in scans}
    return [
        {
            "scan_type_id": name,
            "beams": {
                BEAM: {
                    "field_id": scan.target.id,
                    "channels_id": channels_id(scan.csp["config_id"]),
                    "polarisations_id": POLARISATIONS,
                }
            },
        }
        for name, scan in each.items()
    ]


def _processing_block(script: Mapping[str, Any], identity: Identity, number: int, at: str) -> Json:
    name = script.get("sdp_script")
    if not name:
        raise Untranslatable(f"{at}.sdp_script", name, "the name of an SDP script")
    kind = "realtime" if _REALTIME.search(name) else "batch"
    found = {
        "pb_id": identity.pb_id(number),
        "parameters": copy.deepcopy(script.get("script_parameters") or {}),
        "script": {"kind": kind, "name": name, "version": script.get("script_version", "latest")},
    }
    return found | ({"sbi_ids": [identity.sbi_id]} if identity.sbi_id else {})


# From here on: PDM 17, whose blocks hold SDP's execution block as a whole.


def _whole(block: Block) -> Mapping[str, Any] | None:
    """The block's own execution block and what belongs to it."""
    return next((each for each in block.sdp if "execution_block" in each), None)


def _of_whole(
    whole: Mapping[str, Any], identity: Identity, scans: Sequence[Scan], receptors: Sequence[str]
) -> Json:
    """The block's own execution block, with ids that no other run has had."""
    execution_block = copy.deepcopy(dict(whole["execution_block"]))
    execution_block["eb_id"] = identity.eb_id
    processing = whole.get("processing_blocks") or []
    ids = {each["pb_id"]: identity.pb_id(number) for number, each in enumerate(processing, 1)}
    given: dict[str, Json] = {}
    for each in execution_block.get("scan_types") or []:
        given.setdefault(each["scan_type_id"], _renamed_scan_type(each))
    named = {scan.scan_type or scan.target.id: scan for scan in scans}
    for name, scan in named.items():
        derived = {"derive_from": ".default"} if ".default" in given else {}
        of_beam = {"beams": {BEAM: {"field_id": scan.target.id}}}
        given.setdefault(name, {"scan_type_id": name, **derived, **of_beam})
    execution_block["scan_types"] = list(given.values())
    if not execution_block.get("fields"):
        execution_block["fields"] = _fields(scan.target for scan in scans)
    return {
        "interface": ASSIGN_INTERFACE,
        "resources": dict(whole.get("resources") or {"receptors": list(receptors)}),
        "execution_block": execution_block,
        "processing_blocks": [
            _renamed_processing_block(each, ids, identity) for each in processing
        ],
    }


def _renamed_scan_type(scan_type: Mapping[str, Any]) -> Json:
    beams = scan_type.get("beams") or []
    if not isinstance(beams, Mapping):
        ids = {each.get("beam_ref", each.get("beam_id")): each for each in beams}
        beams = {
            beam: {
                re.sub("_ref$", "_id", key): value
                for key, value in each.items()
                if key not in ("beam_ref", "beam_id")
            }
            for beam, each in ids.items()
        }
    return {**scan_type, "beams": beams}


def _renamed_processing_block(
    block: Mapping[str, Any], ids: Mapping[str, str], identity: Identity
) -> Json:
    """Its keys as the CDM has them.

    Args:
        ids: of this run, by those of the block.
    """
    found = {key: copy.deepcopy(value) for key, value in block.items() if key != "sbi_refs"}
    found["pb_id"] = ids[block["pb_id"]]
    found["parameters"] = found.get("parameters") or {}
    sbi_ids = [identity.sbi_id] if identity.sbi_id else block.get("sbi_refs", block.get("sbi_ids"))
    if sbi_ids:
        found["sbi_ids"] = list(sbi_ids)
    if "dependencies" in block:
        found["dependencies"] = []
        for each in block["dependencies"]:
            ref = each.get("pb_ref", each.get("pb_id"))
            rest = {key: value for key, value in each.items() if key not in ("pb_ref", "pb_id")}
            found["dependencies"].append({"pb_id": ids.get(ref, ref), **rest})
    return found
