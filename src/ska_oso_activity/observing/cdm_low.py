"""What SKA-Low's TMC is sent for a Scheduling Block: the CDM's JSON (observing library)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ska_oso_activity.observing import sdp
from ska_oso_activity.observing.block import Aperture, Beam, Block, Scan
from ska_oso_activity.observing.errors import Untranslatable
from ska_oso_activity.observing.part import Part
from ska_oso_activity.observing.sdp import Band, Identity
from ska_oso_activity.observing.steps import Step, label
from ska_oso_activity.observing.targets import unsupported

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
FIRST_CHANNEL, CHANNELS = 64, 384
"""Station channels that there are: those of 50 to 350 MHz."""
FREQUENCIES = (50e6, 350e6)
"""Hz that SKA-Low observes."""
MAX_FSP = 99
"""No contract says how many Low's correlator has; this is a bound against slips."""
MAX_INTEGRATION = 10_000
"""Milliseconds, likewise; real blocks have 849."""
CHANNELS_OF_AN_FSP = 96
"""Station channels that one frequency slice processor is given, unless the block names FSPs."""


def assign(block: Block, identity: Identity) -> Json:
    """The argument of the CentralNode's AssignResources, for all scans of a block.

    Raises:
        Untranslatable: the block asks for something that is not supported.
    """
    scans = [scan for beam in block.beams for scan in beam.scans]
    windows = _windows_of(block)
    receptors = [f"C{station}" for station in block.stations]
    sdp_part = sdp.assign(
        block,
        identity,
        scans,
        {name: _bands(each) for name, each in windows.items()},
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
            "subarray_beams": [_allocated(beam, windows) for beam in block.beams],
        },
        "csp": {},
        "sdp": sdp_part,
    }


def steps(block: Block) -> tuple[Step, ...]:
    """All that is configured and scanned, in order; the station beams observe side by side.

    Raises:
        Untranslatable: the block asks for something that is not supported.
    """
    numbers = {len(beam.scans) for beam in block.beams}
    if len(numbers) != 1:
        at = "mccs_allocation.subarray_beams..scan_sequence"
        raise Untranslatable(at, sorted(numbers), "as many scans for each beam")
    (count,) = numbers
    windows = _windows_of(block)
    found = []
    for number, scans in enumerate(zip(*(beam.scans for beam in block.beams), strict=True), 1):
        _side_by_side(scans, number)
        names = tuple(dict.fromkeys(scan.target.name for scan in scans))
        found.append(
            Step(
                number,
                label(number, count, names, 1, 1),
                names,
                _configure(block, scans, windows),
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
    configurations = {scan.config_id for scan in scans}
    if len(configurations) > 1:
        found = sorted(configurations)
        raise Untranslatable(f"{at}.csp_configuration_ref", found, "the same for all beams")
    for scan in scans:
        if len(scan.target.pointings) != 1 or _in_horizon(scan):
            supported = "for Low, SinglePointParameters or a mosaic of one offset"
            raise unsupported(scan.target, supported)


def _in_horizon(scan: Scan) -> bool:
    return any(each.ca_offset or each.ie_offset for each in scan.target.pointings)


def _allocated(beam: Beam, windows: Windows) -> Json:
    apertures = [
        {"station_id": each.station, "aperture_id": _aperture(each)} for each in beam.apertures
    ]
    most = max(sum(each.count for each in windows[scan.config_id]) for scan in beam.scans)
    return {"subarray_beam_id": beam.id, "apertures": apertures, "number_of_channels": most}


def _aperture(aperture: Aperture) -> str:
    return f"AP{aperture.station:03d}.{aperture.substation:02d}"


def _configure(block: Block, scans: tuple[Scan, ...], windows: Windows) -> Json:
    (first, *_) = scans
    ours = windows[first.config_id]
    pairs = list(zip(block.beams, scans, strict=True))
    return {
        "interface": CONFIGURE_INTERFACE,
        "mccs": {"subarray_beams": [_pointed(beam, scan, ours) for beam, scan in pairs]},
        "csp": _csp(block, first.config_id, ours),
        "sdp": sdp.configure(block, first),
        "tmc": {"scan_duration": first.duration},
    }


def _pointed(beam: Beam, scan: Scan, windows: list[_Window]) -> Json:
    (pointing,) = scan.target.pointings
    return {
        "subarray_beam_id": beam.id,
        "update_rate": 0.0,
        "logical_bands": [
            {"start_channel": window.first, "number_of_channels": window.count}
            for window in windows
        ],
        "apertures": [
            {
                "aperture_id": _aperture(each),
                "weighting_key_ref": each.weighting,
            }
            for each in beam.apertures
        ],
        "sky_coordinates": {
            "reference_frame": "ICRS",
            "c1": pointing.position.ra,
            "c2": pointing.position.dec,
        },
    }


def _csp(block: Block, config_id: str, windows: list[_Window]) -> Json:
    """Without the execution block's id, which CSP needs for pulsar timing alone.

    A block may be observed on what an earlier activity was assigned, under an id of its own.
    """
    channels = [channel for window in windows for channel in window.channels]
    integrations = {window.integration for window in windows}
    if len(integrations) != 1:
        at = f"{windows[0].part.path}.integration_time_ms"
        raise Untranslatable(at, sorted(integrations), "one time for all windows")
    (integration,) = integrations
    stations = [(each.station, each.substation) for beam in block.beams for each in beam.apertures]
    unique = [list(each) for each in dict.fromkeys(stations)]
    beams = [beam.id for beam in block.beams]
    return {
        "interface": CSP_INTERFACE,
        "common": {"config_id": config_id},
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


@dataclass(frozen=True)
class _Window:
    """A spectral window.

    Attributes:
        first: the lowest station channel; half a channel too low where the centre fits none.
        count: of station channels.
        integration: ms.
        fsps: the frequency slice processors that the block names, as it counts them.
    """

    part: Part
    first: int
    count: int
    integration: int
    fsps: list[int]

    @classmethod
    def of(cls, part: Part) -> _Window:
        count = part.at("number_of_channels").whole(1, CHANNELS)
        middle = part.at("centre_frequency").number(*FREQUENCIES, "Hz") / COARSE_CHANNEL
        part.at("zoom_factor").whole(0, 0, default=0)
        first = math.floor(middle - (count - 1) / 2)
        if first < FIRST_CHANNEL or first + count > FIRST_CHANNEL + CHANNELS:
            found = f"channels {first} to {first + count - 1}"
            last = FIRST_CHANNEL + CHANNELS - 1
            raise Untranslatable(part.path, found, f"a window within {FIRST_CHANNEL} to {last}")
        integration = part.at("integration_time_ms").whole(1, MAX_INTEGRATION)
        fsps = [each.whole(0, MAX_FSP - 1) for each in part.at("logical_fsp_ids").items()]
        return cls(part, first, count, integration, fsps)

    @property
    def channels(self) -> range:
        return range(self.first, self.first + self.count)


def _fsps(windows: list[_Window], channels: int) -> list[int]:
    """The frequency slice processors: the block's own, or as many as the channels need."""
    given = list(dict.fromkeys(fsp for window in windows for fsp in window.fsps))
    if given:
        return [each + 1 for each in given] if 0 in given else given
    return list(range(1, math.ceil(channels / CHANNELS_OF_AN_FSP) + 1))


def _bands(windows: list[_Window]) -> list[Band]:
    """What SDP receives of a CSP configuration: one range of fine channels for each window."""
    bands, start = [], 0
    for number, window in enumerate(windows, start=1):
        lowest = (window.first - 0.5) * COARSE_CHANNEL
        highest = lowest + window.count * COARSE_CHANNEL
        count = window.count * FINE_CHANNELS
        bands.append(Band(f"window_{number}", count, start, lowest, highest))
        start += count
    return bands


Windows = dict[str, list[_Window]]
"""Those of each CSP configuration."""


def _windows_of(block: Block) -> Windows:
    return {config_id: _windows(csp) for config_id, csp in block.configurations.items()}


def _windows(csp: Part) -> list[_Window]:
    """The spectral windows of a CSP configuration, which must be all that it asks for."""
    lowcbf = csp.at("lowcbf")
    if not lowcbf.given:
        found = sorted(set(csp.object()) - {"config_id", "name", "lowcbf"})
        raise Untranslatable(csp.path, found, "lowcbf")
    for key in sorted(set(lowcbf.object()) - {"correlation_spws"}):
        if lowcbf.at(key).value:
            raise lowcbf.at(key).refused("correlation_spws alone")
    part = lowcbf.at("correlation_spws")
    taken: set[int] = set()
    windows = []
    for each in part.items():
        window = _Window.of(each)
        if taken.intersection(window.channels):
            raise each.refused("windows of which each has its own channels")
        taken.update(window.channels)
        windows.append(window)
    if not windows:
        raise part.refused("spectral windows with centre_frequency and number_of_channels")
    return windows
