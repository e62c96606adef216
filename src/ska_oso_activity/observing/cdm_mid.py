"""What SKA-Mid's TMC is sent for a Scheduling Block: the CDM's JSON (observing library)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ska_oso_activity.observing import sdp
from ska_oso_activity.observing.block import Block, Scan
from ska_oso_activity.observing.errors import Untranslatable
from ska_oso_activity.observing.sdp import Band, Identity
from ska_oso_activity.observing.steps import Step, label
from ska_oso_activity.observing.targets import Pointing

Json = dict[str, Any]
SCHEMAS = "https://schema.skao.int"
ASSIGN_INTERFACE = f"{SCHEMAS}/ska-tmc-assignresources/2.1"
CONFIGURE_INTERFACE = f"{SCHEMAS}/ska-tmc-configure/4.0"
SCAN_INTERFACE = f"{SCHEMAS}/ska-tmc-scan/2.1"
RELEASE_INTERFACE = f"{SCHEMAS}/ska-tmc-releaseresources/2.1"
CSP_INTERFACE = f"{SCHEMAS}/ska-csp-configurescan/4.1"

CHANNEL_WIDTH = 13440
"""Hz of a channel of Mid's correlator; halved by each step of the zoom factor."""
SLICE_WIDTH = 198180864
"""Hz of a frequency slice of Mid's correlator. Slice k is centred on k times that; one FSP each."""
MAX_ZOOM = 6
_HZ_IN = {"hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9}


def assign(block: Block, identity: Identity) -> Json:
    """The argument of the CentralNode's AssignResources, for all scans of a block.

    Raises:
        Untranslatable: the block asks for something that is not supported.
    """
    dishes = list(block.dishes)
    configurations = {scan.csp["config_id"]: scan.csp for scan in block.scans}
    bands = {name: _bands(csp) for name, csp in configurations.items()}
    return {
        "interface": ASSIGN_INTERFACE,
        "subarray_id": 1,  # replaced by the subarray that it is sent for
        "dish": {"receptor_ids": dishes},
        "sdp": sdp.assign(block, identity, block.scans, bands, dishes),
    }


def steps(block: Block, _: Identity) -> tuple[Step, ...]:
    """All that is configured and scanned, in order.

    A scan whose target is observed in several pointings gives each the same share of its time.

    Raises:
        Untranslatable: the block asks for something that is not supported.
    """
    found = []
    for number, scan in enumerate(block.scans, start=1):
        pointings = scan.target.pointings
        names = (scan.target.name,)
        for place, pointing in enumerate(pointings, start=1):
            duration = scan.duration / len(pointings)
            found.append(
                Step(
                    number,
                    label(number, len(block.scans), names, place, len(pointings)),
                    names,
                    _configure(block, scan, pointing, duration),
                    duration,
                )
            )
    return tuple(found)


def scan(scan_id: int) -> Json:
    """The argument of Scan."""
    return {"interface": SCAN_INTERFACE, "scan_id": scan_id}


def release() -> Json:
    """The argument of the CentralNode's ReleaseResources, for all that a subarray has."""
    return {"interface": RELEASE_INTERFACE, "subarray_id": 1, "release_all": True}


def _configure(block: Block, scan: Scan, pointing: Pointing, duration: float) -> Json:
    csp = _csp(scan.csp)
    return {
        "interface": CONFIGURE_INTERFACE,
        "pointing": _pointing(scan, pointing),
        "dish": {"receiver_band": scan.receiver_band or csp["common"]["frequency_band"]},
        "csp": csp,
        "sdp": sdp.configure(block, scan),
        "tmc": {"scan_duration": duration},
    }


def _pointing(scan: Scan, pointing: Pointing) -> Json:
    target = {
        "reference_frame": "ICRS",
        "target_name": scan.target.name,
        "ra": pointing.ra,
        "dec": pointing.dec,
        "ca_offset_arcsec": pointing.ca_offset,
        "ie_offset_arcsec": pointing.ie_offset,
    }
    return {"target": target} | ({"correction": scan.correction} if scan.correction else {})


def _csp(csp: Mapping[str, Any]) -> Json:
    midcbf = _midcbf(csp)
    band = midcbf.get("frequency_band")
    at = f"csp_configurations[{csp['config_id']}].midcbf"
    if not band:
        raise Untranslatable(f"{at}.frequency_band", band, "the name of a band, such as 2")
    offsets = {}
    for number, subband in enumerate(_subbands(csp), start=1):
        if offset := _offset(subband, f"{at}.subbands[{number - 1}].frequency_slice_offset"):
            offsets[f"frequency_band_offset_stream{number}"] = offset
    return {
        "interface": CSP_INTERFACE,
        "common": {"config_id": csp["config_id"], "frequency_band": band},
        "midcbf": {**offsets, "correlation": {"processing_regions": _regions(csp)}},
    }


def _regions(csp: Mapping[str, Any]) -> list[Json]:
    """The correlator's processing regions; their channels are numbered through for SDP."""
    regions: list[Json] = []
    first_channel, first_fsp = 0, 1
    for window in _windows(csp):
        count, width = _count(csp, window), _width(csp, window)
        start = _start(csp, window)
        fsps = _fsps(window, start, count * width, first_fsp)
        regions.append(
            {
                "fsp_ids": fsps,
                "start_freq": start,
                "channel_width": width,
                "channel_count": count,
                "sdp_start_channel_id": first_channel,
                "integration_factor": int(window.get("time_integration_factor", 1)),
            }
        )
        first_channel += count
        first_fsp = max(fsps) + 1
    return regions


def _bands(csp: Mapping[str, Any]) -> list[Band]:
    """What SDP receives of a CSP configuration: one range of channels for each region."""
    return [
        Band(
            f"region_{number}",
            region["channel_count"],
            region["sdp_start_channel_id"],
            region["start_freq"] - region["channel_width"] / 2,
            region["start_freq"] + region["channel_width"] * (region["channel_count"] - 0.5),
        )
        for number, region in enumerate(_regions(csp), start=1)
    ]


def _fsps(window: Mapping[str, Any], start: float, bandwidth: float, first: int) -> list[int]:
    """The frequency slice processors: the block's own, or as many as the band touches slices."""
    given = [int(each) for each in window.get("logical_fsp_ids") or []]
    if given:
        return [each + 1 for each in given] if 0 in given else given
    lowest = math.floor(start / SLICE_WIDTH + 0.5)
    highest = math.ceil((start + bandwidth) / SLICE_WIDTH - 0.5)
    return list(range(first, first + highest - lowest + 1))


def _start(csp: Mapping[str, Any], window: Mapping[str, Any]) -> int:
    """The centre of the first channel, in Hz."""
    below = _width(csp, window) * (_count(csp, window) - 1) / 2
    return round(float(window["centre_frequency"]) - below)


def _width(csp: Mapping[str, Any], window: Mapping[str, Any]) -> int:
    zoom = window.get("zoom_factor") or 0
    if zoom not in range(MAX_ZOOM + 1):
        at = f"csp_configurations[{csp['config_id']}].midcbf..zoom_factor"
        raise Untranslatable(at, zoom, f"0 to {MAX_ZOOM}")
    return CHANNEL_WIDTH >> int(zoom)


def _count(csp: Mapping[str, Any], window: Mapping[str, Any]) -> int:
    count = window.get("number_of_channels")
    if not isinstance(count, (int, float)) or count < 1 or "centre_frequency" not in window:
        at = f"csp_configurations[{csp['config_id']}].midcbf..correlation_spws"
        raise Untranslatable(at, dict(window), "centre_frequency and number_of_channels")
    return int(count)


def _midcbf(csp: Mapping[str, Any]) -> Mapping[str, Any]:
    midcbf = csp.get("midcbf")
    if not isinstance(midcbf, Mapping):
        found = sorted(set(csp) - {"config_id", "name"})
        raise Untranslatable(f"csp_configurations[{csp['config_id']}]", found, "midcbf")
    return midcbf


def _subbands(csp: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    subbands = list(_midcbf(csp).get("subbands") or [])
    if not 1 <= len(subbands) <= 2:
        at = f"csp_configurations[{csp['config_id']}].midcbf.subbands"
        raise Untranslatable(at, subbands, "one subband, or two")
    return subbands


def _windows(csp: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    windows: list[Mapping[str, Any]] = []
    for number, subband in enumerate(_subbands(csp)):
        at = f"csp_configurations[{csp['config_id']}].midcbf.subbands[{number}]"
        for key in sorted(set(subband) - {"frequency_slice_offset", "correlation_spws"}):
            if subband[key]:
                raise Untranslatable(f"{at}.{key}", subband[key], "correlation_spws")
        windows += subband.get("correlation_spws") or []
    if not windows:
        at = f"csp_configurations[{csp['config_id']}].midcbf..correlation_spws"
        raise Untranslatable(at, windows, "at least one spectral window")
    return windows


def _offset(subband: Mapping[str, Any], at: str) -> int:
    """Hz by which a subband's slices are shifted."""
    offset = subband.get("frequency_slice_offset") or {}
    unit = str(offset.get("unit", offset.get("units", "Hz")))
    if unit.lower() not in _HZ_IN:
        raise Untranslatable(f"{at}.unit", unit, "Hz, kHz, MHz or GHz")
    return round(float(offset.get("value") or 0) * _HZ_IN[unit.lower()])
