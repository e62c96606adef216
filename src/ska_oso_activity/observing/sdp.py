"""What SDP is told: of the newest blocks, and of those of PDM 17 (observing library)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ska_oso_activity.observing.block import Block, Scan
from ska_oso_activity.observing.errors import Untranslatable
from ska_oso_activity.observing.part import Part
from ska_oso_activity.observing.targets import Target

Json = dict[str, Any]
ASSIGN_INTERFACE = "https://schema.skao.int/ska-sdp-assignres/0.4"
CONFIGURE_INTERFACE = "https://schema.skao.int/ska-sdp-configure/0.4"
BEAM = "vis0"
POLARISATIONS = "all"
MAX_SCRIPTS = 99
"""What the two digits at the end of a processing block's id can count."""
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
    if len(block.sdp) > MAX_SCRIPTS:
        raise Untranslatable("sdp_configurations", len(block.sdp), f"at most {MAX_SCRIPTS}")
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
            _processing_block(script, identity, number)
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
    several = len(block.configurations) > 1
    return f"{scan.target.id} {scan.config_id}" if several else scan.target.id


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
                    "channels_id": channels_id(scan.config_id),
                    "polarisations_id": POLARISATIONS,
                }
            },
        }
        for name, scan in each.items()
    ]


def _processing_block(configuration: Part, identity: Identity, number: int) -> Json:
    name = configuration.at("sdp_script").text(supported="the name of an SDP script")
    kind = "realtime" if _REALTIME.search(name) else "batch"
    version = configuration.at("script_version").text(default="latest")
    found = {
        "pb_id": identity.pb_id(number),
        "parameters": _object(configuration.at("script_parameters")),
        "script": {"kind": kind, "name": name, "version": version},
    }
    return found | ({"sbi_ids": [identity.sbi_id]} if identity.sbi_id else {})


# From here on: PDM 17, whose blocks hold SDP's execution block as a whole.


def _whole(block: Block) -> Part | None:
    """The block's own execution block and what belongs to it."""
    return next((each for each in block.sdp if each.at("execution_block").given), None)


def _of_whole(
    whole: Part, identity: Identity, scans: Sequence[Scan], receptors: Sequence[str]
) -> Json:
    """The block's own execution block, with ids that no other run has had."""
    part = whole.at("execution_block")
    execution_block = _object(part)
    execution_block["eb_id"] = identity.eb_id
    processing = whole.at("processing_blocks").items()
    if len(processing) > MAX_SCRIPTS:
        raise whole.at("processing_blocks").refused(f"at most {MAX_SCRIPTS}")
    ids: dict[str, str] = {}
    for number, each in enumerate(processing, start=1):
        pb_id = each.at("pb_id")
        if pb_id.text() in ids:
            raise pb_id.refused("an id that no other processing block has")
        ids[pb_id.value] = identity.pb_id(number)
    given: dict[str, Json] = {}
    for each in part.at("scan_types").items():
        given.setdefault(each.at("scan_type_id").text(), _renamed_scan_type(each))
    named = {scan.scan_type or scan.target.id: scan for scan in scans}
    for name, scan in named.items():
        derived = {"derive_from": ".default"} if ".default" in given else {}
        of_beam = {"beams": {BEAM: {"field_id": scan.target.id}}}
        given.setdefault(name, {"scan_type_id": name, **derived, **of_beam})
    execution_block["scan_types"] = list(given.values())
    if not part.at("fields").items():
        execution_block["fields"] = _fields(scan.target for scan in scans)
    return {
        "interface": ASSIGN_INTERFACE,
        "resources": _object(whole.at("resources")) or {"receptors": list(receptors)},
        "execution_block": execution_block,
        "processing_blocks": [
            _renamed_processing_block(each, ids, identity) for each in processing
        ],
    }


def _object(part: Part) -> Json:
    """A copy of an object."""
    part.object()
    copied: Json = part.json() or {}
    return copied


def _renamed_scan_type(scan_type: Part) -> Json:
    """Its beams by their ids, as the CDM has them."""
    part = scan_type.at("beams")
    if isinstance(part.value, Mapping):
        beams = {str(beam): _object(part.at(beam)) for beam in part.object()}
    else:
        beams = {each.at("beam_ref", "beam_id").text(): _named(each) for each in part.items()}
    return {**_object(scan_type), "beams": beams}


def _named(beam: Part) -> Json:
    return {
        re.sub("_ref$", "_id", key): value
        for key, value in _object(beam).items()
        if key not in ("beam_ref", "beam_id")
    }


def _renamed_processing_block(block: Part, ids: Mapping[str, str], identity: Identity) -> Json:
    """Its keys as the CDM has them.

    Args:
        ids: of this run, by those of the block.
    """
    found = _object(block)
    found["pb_id"] = ids[block.at("pb_id").text()]
    found["parameters"] = _object(block.at("parameters"))
    theirs = [each.text() for each in block.at("sbi_refs", "sbi_ids").items()]
    for key in ("sbi_refs", "sbi_ids", "dependencies"):
        found.pop(key, None)
    if sbi_ids := [identity.sbi_id] if identity.sbi_id else theirs:
        found["sbi_ids"] = sbi_ids
    if (dependencies := block.at("dependencies")).given:
        found["dependencies"] = [_dependency(each, ids) for each in dependencies.items()]
    return found


def _dependency(part: Part, ids: Mapping[str, str]) -> Json:
    found, ref = _object(part), part.at("pb_ref", "pb_id").text()
    rest = {key: value for key, value in found.items() if key not in ("pb_ref", "pb_id")}
    return {"pb_id": ids.get(ref, ref), **rest}
