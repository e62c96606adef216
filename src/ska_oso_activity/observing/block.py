"""What an observation needs of a Scheduling Block, found in it and checked (observing library).

Understands the shapes of PDM 17 and later: scans stand with the dishes or station beams they use,
or (PDM 17) in `scan_definitions`, in the order of `scan_sequence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ska_oso_activity.observing.errors import Untranslatable
from ska_oso_activity.observing.names import Telescope
from ska_oso_activity.observing.targets import Target, read_target

Json = Mapping[str, Any]
_TELESCOPES: dict[str, Telescope] = {"ska_mid": "mid", "ska_low": "low"}
_SECONDS_IN = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Scan:
    """One scan of one beam, or of all dishes.

    Attributes:
        name: its `scan_definition_id`.
        csp: the CSP configuration, as it stands in the block.
        duration: seconds.
        correction: `MAINTAIN`, `UPDATE` or `RESET`; None: the block does not say.
        scan_type: SDP's, where the block names one.
        receiver_band: the dishes', where the block names one.
    """

    name: str
    target: Target
    csp: Json
    duration: float
    correction: str | None = None
    scan_type: str | None = None
    receiver_band: str | None = None


@dataclass(frozen=True)
class Beam:
    """A station beam of Low.

    Attributes:
        id: its `subarray_beam_id`.
        apertures: as they stand in the block.
    """

    id: int
    apertures: tuple[Json, ...]
    scans: tuple[Scan, ...]


@dataclass(frozen=True)
class Block:
    """A Scheduling Block, as far as it is needed to observe it.

    Attributes:
        sbd_id: None for a draft.
        dishes: Mid's receptors, such as `SKA001`.
        scans: Mid's, in order.
        beams: Low's; each has its scans, which go on side by side.
        sdp: SDP configurations: scripts with their parameters (newest), or a whole execution
            block (PDM 17).
        notes: what was taken otherwise than the block has it.
    """

    telescope: Telescope
    sbd_id: str | None = None
    dishes: tuple[str, ...] = ()
    scans: tuple[Scan, ...] = ()
    beams: tuple[Beam, ...] = ()
    sdp: tuple[Json, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)


def read_block(document: Json) -> Block:
    """Find in a block's JSON what an observation needs.

    Raises:
        Untranslatable: it is missing, or of a kind that is not supported.
    """
    reader = _Reader(document)
    telescope = _TELESCOPES.get(document.get("telescope", ""))
    if telescope is None:
        raise Untranslatable("telescope", document.get("telescope"), " or ".join(_TELESCOPES))
    dishes: tuple[str, ...] = ()
    scans: tuple[Scan, ...] = ()
    beams: tuple[Beam, ...] = ()
    if telescope == "mid":
        allocation = document.get("dish_allocations") or {}
        dishes = tuple(allocation.get("dish_ids") or allocation.get("receptor_ids") or ())
        scans = reader.scans(allocation.get("scan_sequence"), "dish_allocations.scan_sequence")
        if not dishes:
            raise Untranslatable("dish_allocations.dish_ids", None, "a list of dishes")
    else:
        beams = reader.beams((document.get("mccs_allocation") or {}).get("subarray_beams") or [])
    return Block(
        telescope,
        document.get("sbd_id"),
        dishes,
        scans,
        beams,
        reader.sdp(),
        tuple(dict.fromkeys(reader.notes)),
    )


class _Reader:
    """Looks things up in a block by their ids."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self.notes: list[str] = []
        self._targets = _by_id(document, "targets", "target_id")
        self._csp = _by_id(document, "csp_configurations", "config_id")
        self._dish = _by_id(document, "dish_configurations", "dish_configuration_id")
        self._definitions = _by_id(document, "scan_definitions", "scan_definition_id")

    def beams(self, beams: list[Json]) -> tuple[Beam, ...]:
        where = "mccs_allocation.subarray_beams"
        if not beams:
            raise Untranslatable(where, None, "a list of station beams")
        found = []
        for number, beam in enumerate(beams):
            at = f"{where}[{number}]"
            apertures = tuple(beam.get("apertures") or ())
            if not apertures or any("station_id" not in aperture for aperture in apertures):
                raise Untranslatable(f"{at}.apertures", apertures, "apertures with station_id")
            scans = self.scans(beam.get("scan_sequence"), f"{at}.scan_sequence")
            found.append(Beam(int(beam.get("subarray_beam_id", number + 1)), apertures, scans))
        return tuple(found)

    def scans(self, sequence: list[Any] | None, where: str) -> tuple[Scan, ...]:
        if not sequence:
            sequence, where = self._document.get("scan_sequence"), "scan_sequence"
        if not sequence:
            raise Untranslatable(where, sequence, "a list of scans, here or in scan_sequence")
        scans = []
        for number, each in enumerate(sequence):
            at = f"{where}[{number}]"
            if isinstance(each, str) and each not in self._definitions:
                defined = _listed(self._definitions)
                raise Untranslatable(at, each, f"an id of scan_definitions: {defined}")
            definition = self._definitions[each] if isinstance(each, str) else each
            scans.append(self._scan(definition, at))
        return tuple(scans)

    def _scan(self, scan: Json, at: str) -> Scan:
        named = scan.get("target_ref") or scan.get("target")
        target = self._one_of(self._targets, named, f"{at}.target_ref", "targets")
        place = list(self._targets).index(target["target_id"])
        csp_ref = scan.get("csp_configuration_ref")
        csp = self._one_of(self._csp, csp_ref, f"{at}.csp_configuration_ref", "csp_configurations")
        dish = None
        if ref := scan.get("dish_configuration_ref"):
            dish = self._one_of(
                self._dish, ref, f"{at}.dish_configuration_ref", "dish_configurations"
            )
        read = read_target(target, f"targets[{place}]")
        self.notes += read.notes
        return Scan(
            str(scan.get("scan_definition_id", at)),
            read,
            csp,
            _duration(scan, at),
            scan.get("pointing_correction"),
            scan.get("scan_type_ref"),
            None if dish is None else dish.get("receiver_band"),
        )

    def _one_of(self, known: Mapping[str, Json], ref: str | None, at: str, where: str) -> Json:
        """What `ref` names, or the only one that there is."""
        if ref is not None and ref in known:
            return known[ref]
        if len(known) != 1:
            raise Untranslatable(at, ref, f"an id of {where}: {_listed(known)}")
        (only,) = known
        if ref is not None:
            missing = f"scans name {ref!r} of {where}, which the block does not define"
            self.notes.append(f"{missing}: its only one, {only!r}, is taken")
        return known[only]

    def sdp(self) -> tuple[Json, ...]:
        many = self._document.get("sdp_configurations")
        one = self._document.get("sdp_configuration")
        return tuple(many) if many else ((one,) if one else ())


def _by_id(document: Json, where: str, key: str) -> dict[str, Json]:
    items = document.get(where) or []
    for number, item in enumerate(items):
        if key not in item:
            raise Untranslatable(f"{where}[{number}].{key}", None, "an id")
    return {item[key]: item for item in items}


def _duration(scan: Json, at: str) -> float:
    """Seconds: of a quantity with a unit, or of a number of milliseconds."""
    quantity = scan.get("scan_duration")
    if isinstance(quantity, Mapping):
        unit = quantity.get("unit")
        if unit not in _SECONDS_IN:
            raise Untranslatable(f"{at}.scan_duration.unit", unit, ", ".join(_SECONDS_IN))
        seconds = float(quantity["value"]) * _SECONDS_IN[unit]
    else:
        milliseconds = scan.get("scan_duration_ms", quantity)
        if milliseconds is None:
            raise Untranslatable(f"{at}.scan_duration_ms", None, "a number of milliseconds")
        seconds = float(milliseconds) / 1000
    if not seconds > 0:
        raise Untranslatable(f"{at}.scan_duration", seconds, "a time above 0")
    return seconds


def _listed(known: Mapping[str, Json]) -> str:
    return ", ".join(map(repr, known)) or "(none are defined)"
