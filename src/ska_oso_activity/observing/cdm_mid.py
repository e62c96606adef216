"""What SKA-Mid's TMC is sent for a Scheduling Block: the CDM's JSON (observing library)."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

from ska_oso_activity.observing import sdp
from ska_oso_activity.observing.block import MAX_STEPS, RECEIVER_BANDS, Block, Scan
from ska_oso_activity.observing.errors import Untranslatable
from ska_oso_activity.observing.part import Part
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
MAX_FSP = 27
"""Frequency slice processors of Mid's correlator."""
MAX_CHANNELS = MAX_FSP * SLICE_WIDTH // CHANNEL_WIDTH
"""As many as fit into the slices of all of them."""
MAX_INTEGRATION = 10
"""Of the correlator's shortest integrations, 140 ms each: Mid integrates for 1.4 s at most."""
FREQUENCIES = (350e6, 15.4e9)
"""Hz, from the lower edge of band 1 to the upper edge of band 5b."""
MAX_OFFSET = SLICE_WIDTH / 2
"""Hz by which slices can be shifted; by more, they would be other slices."""
_HZ_IN = {"hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9}


def assign(block: Block, identity: Identity) -> Json:
    """The argument of the CentralNode's AssignResources, for all scans of a block.

    Raises:
        Untranslatable: the block asks for something that is not supported.
    """
    dishes = list(block.dishes)
    bands = {name: _bands(csp) for name, csp in block.configurations.items()}
    return {
        "interface": ASSIGN_INTERFACE,
        "subarray_id": 1,  # replaced by the subarray that it is sent for
        "dish": {"receptor_ids": dishes},
        "sdp": sdp.assign(block, identity, block.scans, bands, dishes),
    }


def steps(block: Block) -> tuple[Step, ...]:
    """All that is configured and scanned, in order.

    A scan whose target is observed in several pointings gives each the same share of its time.

    Raises:
        Untranslatable: the block asks for something that is not supported.
    """
    every = sum(len(scan.target.pointings) for scan in block.scans)
    if every > MAX_STEPS:
        where = "dish_allocations.scan_sequence"
        raise Untranslatable(where, f"{every} pointings", f"at most {MAX_STEPS} pointings")
    configured = {name: _csp(name, csp) for name, csp in block.configurations.items()}
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
                    _configure(block, scan, pointing, duration, configured[scan.config_id]),
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


def _configure(block: Block, scan: Scan, pointing: Pointing, duration: float, csp: Json) -> Json:
    return {
        "interface": CONFIGURE_INTERFACE,
        "pointing": _pointing(scan, pointing),
        "dish": {"receiver_band": scan.receiver_band or csp["common"]["frequency_band"]},
        "csp": copy.deepcopy(csp),
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


def _csp(config_id: str, csp: Part) -> Json:
    band = _midcbf(csp).at("frequency_band").one_of(RECEIVER_BANDS)
    offsets = {}
    for number, subband in enumerate(_subbands(csp), start=1):
        if offset := _offset(subband.at("frequency_slice_offset")):
            offsets[f"frequency_band_offset_stream{number}"] = offset
    return {
        "interface": CSP_INTERFACE,
        "common": {"config_id": config_id, "frequency_band": band},
        "midcbf": {**offsets, "correlation": {"processing_regions": _regions(csp)}},
    }


@dataclass(frozen=True)
class _Window:
    """A spectral window.

    Attributes:
        start: Hz, the centre of the first channel.
        width: Hz of a channel.
        integration: a number of the correlator's shortest integrations.
        fsps: the frequency slice processors that the block names, as it counts them.
    """

    part: Part
    start: int
    width: int
    count: int
    integration: int
    fsps: list[int]

    @classmethod
    def of(cls, part: Part) -> _Window:
        count = part.at("number_of_channels").whole(1, MAX_CHANNELS)
        width = CHANNEL_WIDTH >> part.at("zoom_factor").whole(0, MAX_ZOOM, default=0)
        middle = part.at("centre_frequency").number(*FREQUENCIES, "Hz")
        lowest, highest = (middle + sign * width * count / 2 for sign in (-1, 1))
        if not FREQUENCIES[0] <= lowest < highest <= FREQUENCIES[1]:
            found = f"{lowest:g} to {highest:g} Hz"
            raise Untranslatable(part.path, found, "a window within 350 MHz to 15.4 GHz")
        integration = part.at("time_integration_factor").whole(1, MAX_INTEGRATION, default=1)
        fsps = [each.whole(0, MAX_FSP) for each in part.at("logical_fsp_ids").items()]
        start = round(middle - width * (count - 1) / 2)
        return cls(part, start, width, count, integration, fsps)


def _regions(csp: Part) -> list[Json]:
    """The correlator's processing regions; their channels are numbered through for SDP."""
    windows = _windows(csp)
    counted_from_0 = any(0 in window.fsps for window in windows)
    regions: list[Json] = []
    taken: set[int] = set()
    first_channel = 0
    for window in windows:
        fsps = [fsp + counted_from_0 for fsp in window.fsps] or _fsps(window, max({0, *taken}) + 1)
        if taken.intersection(fsps) or len(set(fsps)) != len(fsps) or max(fsps) > MAX_FSP:
            supported = f"FSPs that nothing else has, of 1 to {MAX_FSP}"
            raise Untranslatable(f"{window.part.path}.logical_fsp_ids", fsps, supported)
        regions.append(
            {
                "fsp_ids": fsps,
                "start_freq": window.start,
                "channel_width": window.width,
                "channel_count": window.count,
                "sdp_start_channel_id": first_channel,
                "integration_factor": window.integration,
            }
        )
        first_channel += window.count
        taken.update(fsps)
    return regions


def _bands(csp: Part) -> list[Band]:
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


def _fsps(window: _Window, first: int) -> list[int]:
    """As many frequency slice processors as the band touches slices."""
    lowest = math.floor(window.start / SLICE_WIDTH + 0.5)
    highest = math.ceil((window.start + window.count * window.width) / SLICE_WIDTH - 0.5)
    return list(range(first, first + highest - lowest + 1))


def _midcbf(csp: Part) -> Part:
    midcbf = csp.at("midcbf")
    if not midcbf.given:
        found = sorted(set(csp.object()) - {"config_id", "name", "midcbf"})
        raise Untranslatable(csp.path, found, "midcbf")
    return midcbf


def _subbands(csp: Part) -> list[Part]:
    part = _midcbf(csp).at("subbands")
    subbands = part.items()
    if not 1 <= len(subbands) <= 2:
        raise part.refused("one subband, or two")
    return subbands


def _windows(csp: Part) -> list[_Window]:
    windows: list[Part] = []
    for subband in _subbands(csp):
        spws = subband.at("correlation_spws")
        for key in sorted(set(subband.object()) - {"frequency_slice_offset", "correlation_spws"}):
            if subband.at(key).value:
                raise subband.at(key).refused("correlation_spws")
        windows += spws.items()
    if not 1 <= len(windows) <= MAX_FSP:
        raise spws.refused(f"1 to {MAX_FSP} spectral windows")
    return [_Window.of(window) for window in windows]


def _offset(part: Part) -> int:
    """Hz by which a subband's slices are shifted."""
    unit = part.at("unit", "units").text(default="Hz", supported="Hz, kHz, MHz or GHz")
    if unit.lower() not in _HZ_IN:
        raise part.at("unit", "units").refused("Hz, kHz, MHz or GHz")
    hertz = _HZ_IN[unit.lower()]
    most = MAX_OFFSET / hertz
    return round(part.at("value").number(-most, most, unit, default=0.0) * hertz)
