"""What an observation needs of a Scheduling Block, found in it and checked (observing library).

Understands the shapes of PDM 17 and later: scans stand with the dishes or station beams they use,
or (PDM 17) in `scan_definitions`, in the order of `scan_sequence`.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from ska_oso_activity.observing.errors import Untranslatable
from ska_oso_activity.observing.names import Telescope
from ska_oso_activity.observing.part import Part
from ska_oso_activity.observing.targets import Target, read_target

DAY = 86400.0
"""Seconds that a scan takes at most; a source is above the horizon for less, but at the pole."""
MAX_SCANS = 1000
"""Scans of a block, each of a few minutes of a night."""
MAX_STEPS = 5000
"""Pointings of all scans together: enough for every scan to be a mosaic of five."""
DISH = r"[A-Z]{0,4}\d{3,4}"
"""SKA001, MKT063, FS470, or (PDM 17) 0001."""
MAX_STATION = 512
"""SKA-Low has as many stations."""
MAX_BEAM = 48
"""Of a subarray of SKA-Low; a station has as many beams."""
MAX_SUBSTATION = 99
"""What the two digits of an aperture's name, such as AP345.01, can hold."""
RECEIVER_BANDS = ("1", "2", "3", "4", "5a", "5b")
CORRECTIONS = ("MAINTAIN", "UPDATE", "RESET")
Key = TypeVar("Key", bound=Hashable)
_TELESCOPES: dict[str, Telescope] = {"ska_mid": "mid", "ska_low": "low"}
_SECONDS_IN = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Scan:
    """One scan of one beam, or of all dishes.

    Attributes:
        config_id: of its CSP configuration.
        csp: the CSP configuration, as it stands in the block.
        duration: seconds.
        correction: one of CORRECTIONS; None: the block does not say.
        scan_type: SDP's, where the block names one.
        receiver_band: the dishes', where the block names one.
        path: where it stands in the block.
    """

    target: Target
    config_id: str
    csp: Part
    duration: float
    path: str
    correction: str | None = None
    scan_type: str | None = None
    receiver_band: str | None = None


@dataclass(frozen=True)
class Aperture:
    """A part of a station that a beam is made of.

    Attributes:
        weighting: names the weights of its antennas.
    """

    station: int
    substation: int
    weighting: str


@dataclass(frozen=True)
class Beam:
    """A station beam of Low.

    Attributes:
        id: its `subarray_beam_id`.
    """

    id: int
    apertures: tuple[Aperture, ...]
    scans: tuple[Scan, ...]


@dataclass(frozen=True)
class Block:
    """A Scheduling Block, as far as it is needed to observe it.

    Attributes:
        dishes: Mid's receptors, such as `SKA001`.
        scans: Mid's, in order.
        beams: Low's; each has its scans, which go on side by side.
        sdp: SDP configurations: scripts with their parameters (newest), or a whole execution
            block (PDM 17).
        notes: what was taken otherwise than the block has it.
    """

    telescope: Telescope
    dishes: tuple[str, ...] = ()
    scans: tuple[Scan, ...] = ()
    beams: tuple[Beam, ...] = ()
    sdp: tuple[Part, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def configurations(self) -> Mapping[str, Part]:
        """The CSP configurations that are used, by their ids."""
        every = [*self.scans, *(scan for beam in self.beams for scan in beam.scans)]
        return {scan.config_id: scan.csp for scan in every}

    @property
    def stations(self) -> tuple[int, ...]:
        """Low's, each once."""
        every = (aperture.station for beam in self.beams for aperture in beam.apertures)
        return tuple(dict.fromkeys(every))

    def with_duration(self, seconds: float) -> Block:
        """The same block, with scans that take so long."""

        def timed(scans: tuple[Scan, ...]) -> tuple[Scan, ...]:
            return tuple(replace(scan, duration=seconds) for scan in scans)

        beams = tuple(replace(beam, scans=timed(beam.scans)) for beam in self.beams)
        return replace(self, scans=timed(self.scans), beams=beams)


def read_block(document: Mapping[str, Any]) -> Block:
    """Find in a block's JSON what an observation needs.

    Raises:
        Untranslatable: it is missing, or of a kind that is not supported.
    """
    if not isinstance(document, Mapping):
        raise Untranslatable("the whole", document, "an object, as parsed from JSON")
    whole = Part(document, "")
    telescope = _TELESCOPES[whole.at("telescope").one_of(_TELESCOPES)]
    reader = _Reader(whole)
    if telescope == "mid":
        allocation = whole.at("dish_allocations")
        dishes = _dishes(allocation.at("dish_ids", "receptor_ids"))
        scans = reader.scans(allocation.at("scan_sequence"))
        return Block(telescope, dishes, scans, sdp=reader.sdp(), notes=reader.said)
    beams = reader.beams(whole.at("mccs_allocation").at("subarray_beams"))
    return Block(telescope, beams=beams, sdp=reader.sdp(), notes=reader.said)


def _dishes(part: Part) -> tuple[str, ...]:
    found: dict[str, Part] = {}
    for each in part.items():
        name = each.text(form=DISH, supported="a dish such as SKA001")
        found[_new(name, found, each)] = each
    if not found:
        raise part.refused("a list of dishes")
    return tuple(found)


class _Reader:
    """Looks things up in a block by their ids."""

    def __init__(self, whole: Part) -> None:
        self._whole = whole
        self._notes: list[str] = []
        self._read: dict[str, Target] = {}
        self._targets = _by_id(whole.at("targets"), "target_id")
        self._csp = {
            config_id: Part(part.value, f"csp_configurations[{config_id}]")
            for config_id, part in _by_id(whole.at("csp_configurations"), "config_id").items()
        }
        self._dish = _by_id(whole.at("dish_configurations"), "dish_configuration_id")
        self._definitions = _by_id(whole.at("scan_definitions"), "scan_definition_id")

    @property
    def said(self) -> tuple[str, ...]:
        """What was taken otherwise than it stands there, each once."""
        return tuple(dict.fromkeys(self._notes))

    def beams(self, part: Part) -> tuple[Beam, ...]:
        found: dict[int, Beam] = {}
        for number, beam in enumerate(part.items(), start=1):
            place = beam.at("subarray_beam_id")
            beam_id = _new(place.whole(1, MAX_BEAM, default=number), found, place)
            apertures = _apertures(beam.at("apertures"))
            found[beam_id] = Beam(beam_id, apertures, self.scans(beam.at("scan_sequence")))
        if not found:
            raise part.refused("a list of station beams")
        return tuple(found.values())

    def scans(self, sequence: Part) -> tuple[Scan, ...]:
        """Those of an allocation or a beam, or else of the whole block."""
        if not sequence.items():
            sequence = self._whole.at("scan_sequence")
        scans = sequence.items()
        if not 1 <= len(scans) <= MAX_SCANS:
            raise sequence.refused(f"a list of 1 to {MAX_SCANS} scans")
        return tuple(self._scan(each) for each in scans)

    def _scan(self, place: Part) -> Scan:
        scan = place
        if isinstance(place.value, str):
            if place.value not in self._definitions:
                raise place.refused(f"an id of scan_definitions: {_listed(self._definitions)}")
            scan = self._definitions[place.value]
        target_id, target = self._target(scan)
        if target_id not in self._read:
            self._read[target_id] = read_target(target)
        self._notes += self._read[target_id].notes
        ref = scan.at("csp_configuration_ref")
        config_id, csp = self._one_of(self._csp, ref, "csp_configurations")
        band = None
        if (ref := scan.at("dish_configuration_ref")).given:
            _, dish = self._one_of(self._dish, ref, "dish_configurations")
            band = dish.at("receiver_band")
        correction, scan_type = scan.at("pointing_correction"), scan.at("scan_type_ref")
        return Scan(
            self._read[target_id],
            config_id,
            csp,
            _duration(scan),
            place.path,
            correction.one_of(CORRECTIONS) if correction.given else None,
            scan_type.text() if scan_type.given else None,
            band.one_of(RECEIVER_BANDS) if band is not None and band.given else None,
        )

    def _target(self, scan: Part) -> tuple[str, Part]:
        """The target that `target_ref` names; only `target` of PDM 17 may name what is not there.

        The example of that PDM does so; else nothing is pointed to that was not named.
        """
        ref, old = scan.at("target_ref"), scan.at("target")
        if not ref.given and old.given:
            return self._one_of(self._targets, old, "targets")
        if not isinstance(ref.value, str) or ref.value not in self._targets:
            raise ref.refused(f"an id of targets: {_listed(self._targets)}")
        return ref.value, self._targets[ref.value]

    def _one_of(self, known: Mapping[str, Part], ref: Part, where: str) -> tuple[str, Part]:
        """What `ref` names, or the only one that there is."""
        if ref.given and ref.text() in known:
            return ref.value, known[ref.value]
        if len(known) != 1:
            raise ref.refused(f"an id of {where}: {_listed(known)}")
        ((only, part),) = known.items()
        if ref.given:
            missing = f"scans name {ref.value!r} of {where}, which the block does not define"
            self._notes.append(f"{missing}: its only one, {only!r}, is taken")
        return only, part

    def sdp(self) -> tuple[Part, ...]:
        many, one = self._whole.at("sdp_configurations"), self._whole.at("sdp_configuration")
        found = many.items() or ([one] if one.given else [])
        for part in found:
            part.object()
        return tuple(found)


def _apertures(part: Part) -> tuple[Aperture, ...]:
    found: dict[tuple[int, int], Aperture] = {}
    for each in part.items():
        place = each.at("station_id")
        station = place.whole(1, MAX_STATION)
        substation = each.at("substation_id").whole(1, MAX_SUBSTATION, default=1)
        weighting = each.at("weighting_key").text(default="uniform")
        key = _new((station, substation), found, place)
        found[key] = Aperture(station, substation, weighting)
    if not found:
        raise part.refused("a list of apertures, each with station_id")
    return tuple(found.values())


def _by_id(part: Part, key: str) -> dict[str, Part]:
    found: dict[str, Part] = {}
    for item in part.items():
        place = item.at(key)
        found[_new(place.text(), found, place)] = item
    return found


def _new(key: Key, known: Container[Key], place: Part) -> Key:
    """An id that nothing else of its kind has."""
    if key in known:
        raise place.refused("what no other of its kind has: it is there twice")
    return key


def _duration(scan: Part) -> float:
    """Seconds: of a quantity with a unit, or of a number of milliseconds."""
    quantity, milliseconds = scan.at("scan_duration"), scan.at("scan_duration_ms")
    least = _SECONDS_IN["ms"]
    if isinstance(quantity.value, (int, float)) and not milliseconds.given:
        milliseconds = quantity
    elif quantity.given:
        unit = quantity.at("unit").one_of(_SECONDS_IN)
        in_units = _SECONDS_IN[unit]
        return quantity.at("value").number(least / in_units, DAY / in_units, unit) * in_units
    return milliseconds.number(1, DAY / least, "milliseconds") * least


def _listed(known: Mapping[str, Part]) -> str:
    return ", ".join(map(repr, known)) or "(none are defined)"
