"""What SKA-Low's TMC is sent for a Scheduling Block: the CDM's JSON (observing library)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ska_oso_activity.observing import sdp
from ska_oso_activity.observing.block import Beam, Block, Scan
from ska_oso_activity.observing.errors import Untranslatable
from ska_oso_activity.observing.sdp import Band, Identity
from ska_oso_activity.observing.steps import Step, label

Json = dict[str, Any]
SCHEMAS = "https://schema.skao.int"
ASSIGN_INTERFACE = f"{SCHEMAS}/ska-low-tmc-assignresources/4.0"
CONFIGURE_INTERFACE = f"{SCHEMAS}/ska-low-tmc-configure/4.1"
SCAN_INTERFACE = f"{SCHEMAS}/ska-low-tmc-scan/4.0"
RELEASE_INTERFACE = f"{SCHEMAS}/ska-low-tmc-releaseresources/3.0"
MCCS_INTERFACE = f"{SCHEMAS}/ska-low-mccs-controller-allocate/3.0"
CSP_INTERFACE = f"{SCHEMAS}/ska-low-csp-configure/3.2"

COARSE_CHANNEL = 781250
"""Hz of a station's channel. Channel k is centred on k times that."""
FINE_CHANNELS = 144
"""Channels of the correlator in each station channel."""
CHANNELS_OF_AN_FSP = 96
"""Station channels that one frequency slice processor is given, unless the block names FSPs."""


def assign(block: Block, identity: Identity) -> Json:
    """The argument of the CentralNode's AssignResources, for all scans of a block.

    Raises:
        Untranslatable: the block asks for something that is not supported.
    """
    scans = [scan for beam in block.beams for scan in beam.scans]
    configurations = {scan.csp["config_id"]: scan.csp for scan in scans}
    stations = [aperture["station_id"] for beam in block.beams for aperture in beam.apertures]
    receptors = [f"C{station}" for station in dict.fromkeys(stations)]
    sdp_part = sdp.assign(
        block,
        identity,
        block.beams[0].scans + tuple(scan for beam in block.beams[1:] for scan in beam.scans),
        {name: _bands(csp) for name, csp in configurations.items()},
        receptors,
    )
    sdp_part["execution_block"]["max_length"] = float(
        sum(scan.duration for scan in block.beams[0].scans)
    )
    return {
        "interface": ASSIGN_INTERFACE,
        "subarray_id": 1,  # replaced by the subarray that it is sent for
        "mccs": {
            "interface": MCCS_INTERFACE,
            "subarray_beams": [_allocated(beam) for beam in block.beams],
        },
        "csp": {},
        "sdp": sdp_part,
    }


def steps(block: Block, identity: Identity) -> tuple[Step, ...]:
    """All that is configured and scanned, in order; the station beams observe side by side.

    Raises:
        Untranslatable: the block asks for something that is not supported.
    """
    numbers = {len(beam.scans) for beam in block.beams}
    if len(numbers) != 1:
        at = "mccs_allocation.subarray_beams..scan_sequence"
        raise Untranslatable(at, sorted(numbers), "as many scans for each beam")
    found = []
    for number, scans in enumerate(zip(*(beam.scans for beam in block.beams), strict=True), 1):
        _side_by_side(scans, number)
        names = tuple(dict.fromkeys(scan.target.name for scan in scans))
        found.append(
            Step(
                number,
                label(number, numbers.copy().pop(), names, 1, 1),
                names,
                _configure(block, identity, scans),
                scans[0].duration,
            )
        )
    return tuple(found)


def scan(scan_id: int) -> Json:
    """The argument of Scan."""
    return {"interface": SCAN_INTERFACE, "scan_id": scan_id}


def release() -> Json:
    """The argument of the CentralNode's ReleaseResources, for all that a subarray has."""
    return {"interface": RELEASE_INTERFACE, "subarray_id": 1, "release_all": True}


def _side_by_side(scans: tuple[Scan, ...], number: int) -> None:
    """Refuse scans that the beams cannot make at the same time."""
    at = f"mccs_allocation.subarray_beams..scan_sequence[{number - 1}]"
    durations = {scan.duration for scan in scans}
    if len(durations) > 1:
        raise Untranslatable(f"{at}.scan_duration", sorted(durations), "the same for all beams")
    configurations = {scan.csp["config_id"] for scan in scans}
    if len(configurations) > 1:
        found = sorted(configurations)
        raise Untranslatable(f"{at}.csp_configuration_ref", found, "the same for all beams")
    for scan in scans:
        if len(scan.target.pointings) != 1 or _in_horizon(scan):
            supported = "for Low, SinglePointParameters or a mosaic of one offset"
            raise Untranslatable(f"targets[{scan.target.id}].pointing_pattern", at, supported)


def _in_horizon(scan: Scan) -> bool:
    return any(each.ca_offset or each.ie_offset for each in scan.target.pointings)


def _allocated(beam: Beam) -> Json:
    apertures = [
        {"station_id": each["station_id"], "aperture_id": _aperture(each)}
        for each in beam.apertures
    ]
    most = max(sum(_count(window) for window in _windows(scan.csp)) for scan in beam.scans)
    return {"subarray_beam_id": beam.id, "apertures": apertures, "number_of_channels": most}


def _aperture(aperture: Mapping[str, Any]) -> str:
    return f"AP{aperture['station_id']:03d}.{aperture.get('substation_id', 1):02d}"


def _configure(block: Block, identity: Identity, scans: tuple[Scan, ...]) -> Json:
    (first, *_) = scans
    pairs = list(zip(block.beams, scans, strict=True))
    return {
        "interface": CONFIGURE_INTERFACE,
        "mccs": {"subarray_beams": [_pointed(beam, scan) for beam, scan in pairs]},
        "csp": _csp(block, identity, first.csp),
        "sdp": sdp.configure(block, first),
        "tmc": {"scan_duration": first.duration},
    }


def _pointed(beam: Beam, scan: Scan) -> Json:
    (pointing,) = scan.target.pointings
    return {
        "subarray_beam_id": beam.id,
        "update_rate": 0.0,
        "logical_bands": [
            {"start_channel": _first_channel(window), "number_of_channels": _count(window)}
            for window in _windows(scan.csp)
        ],
        "apertures": [
            {
                "aperture_id": _aperture(each),
                "weighting_key_ref": each.get("weighting_key", "uniform"),
            }
            for each in beam.apertures
        ],
        "sky_coordinates": {
            "reference_frame": "ICRS",
            "c1": pointing.position.ra,
            "c2": pointing.position.dec,
        },
    }


def _csp(block: Block, identity: Identity, csp: Mapping[str, Any]) -> Json:
    windows = _windows(csp)
    channels = [
        channel
        for window in windows
        for channel in range(_first_channel(window), _first_channel(window) + _count(window))
    ]
    integrations = {window.get("integration_time_ms") for window in windows}
    if len(integrations) != 1 or None in integrations:
        at = f"csp_configurations[{csp['config_id']}].lowcbf..integration_time_ms"
        raise Untranslatable(at, sorted(map(str, integrations)), "one time for all windows")
    (integration,) = integrations
    stations = [
        [each["station_id"], each.get("substation_id", 1)]
        for beam in block.beams
        for each in beam.apertures
    ]
    unique = [list(each) for each in dict.fromkeys(map(tuple, stations))]
    beams = [beam.id for beam in block.beams]
    return {
        "interface": CSP_INTERFACE,
        "common": {"config_id": csp["config_id"], "eb_id": identity.eb_id},
        "lowcbf": {
            "stations": {
                "stns": unique,
                "stn_beams": [{"beam_id": beam, "freq_ids": channels} for beam in beams],
            },
            "vis": {
                "fsp": {"firmware": "vis", "fsp_ids": _fsps(windows, len(channels))},
                "stn_beams": [
                    {"stn_beam_id": beam, "integration_ms": integration} for beam in beams
                ],
            },
        },
    }


def _fsps(windows: list[Mapping[str, Any]], channels: int) -> list[int]:
    """The frequency slice processors: the block's own, or as many as the channels need."""
    given = [int(each) for window in windows for each in window.get("logical_fsp_ids") or []]
    if given:
        return [each + 1 for each in given] if 0 in given else given
    return list(range(1, math.ceil(channels / CHANNELS_OF_AN_FSP) + 1))


def _bands(csp: Mapping[str, Any]) -> list[Band]:
    """What SDP receives of a CSP configuration: one range of fine channels for each window."""
    bands, start = [], 0
    for number, window in enumerate(_windows(csp), start=1):
        count = _count(window)
        lowest = (_first_channel(window) - 0.5) * COARSE_CHANNEL
        highest = lowest + count * COARSE_CHANNEL
        bands.append(Band(f"window_{number}", count * FINE_CHANNELS, start, lowest, highest))
        start += count * FINE_CHANNELS
    return bands


def _first_channel(window: Mapping[str, Any]) -> int:
    """The lowest station channel; half a channel too low where the centre fits no channel."""
    middle = float(window["centre_frequency"]) / COARSE_CHANNEL
    return math.floor(middle - (_count(window) - 1) / 2)


def _count(window: Mapping[str, Any]) -> int:
    return int(window["number_of_channels"])


def _windows(csp: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The spectral windows of a CSP configuration, which must be all that it asks for."""
    at = f"csp_configurations[{csp['config_id']}]"
    lowcbf = csp.get("lowcbf")
    if not isinstance(lowcbf, Mapping):
        found = sorted(set(csp) - {"config_id", "name"})
        raise Untranslatable(at, found, "lowcbf")
    for key in sorted(set(lowcbf) - {"correlation_spws"}):
        if lowcbf[key]:
            raise Untranslatable(f"{at}.lowcbf.{key}", lowcbf[key], "correlation_spws alone")
    windows = list(lowcbf.get("correlation_spws") or [])
    supported = "spectral windows with centre_frequency and number_of_channels, zoom_factor 0"
    if not windows:
        raise Untranslatable(f"{at}.lowcbf.correlation_spws", windows, supported)
    for window in windows:
        complete = "centre_frequency" in window and window.get("number_of_channels")
        if not complete or window.get("zoom_factor"):
            raise Untranslatable(f"{at}.lowcbf.correlation_spws", dict(window), supported)
    return windows
