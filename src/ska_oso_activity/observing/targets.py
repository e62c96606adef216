"""The targets of a Scheduling Block, and where each has the telescope point (observing library)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ska_oso_activity.observing import sky
from ska_oso_activity.observing.errors import Untranslatable
from ska_oso_activity.observing.sky import Position

Json = Mapping[str, Any]
PATTERNS = "SinglePointParameters, PointedMosaicParameters or (Mid) FivePointParameters"


@dataclass(frozen=True)
class Pointing:
    """One place to point to, for one scan.

    Attributes:
        position: ICRS.
        ra, dec: the same as text.
        ca_offset, ie_offset: arcseconds, in cross-elevation and elevation, of a dish.
    """

    position: Position
    ra: str
    dec: str
    ca_offset: float = 0.0
    ie_offset: float = 0.0


@dataclass(frozen=True)
class Target:
    """Something to look at.

    Attributes:
        id: its `target_id`.
        name: for people.
        position: ICRS, without offsets.
        epoch: year of the coordinates.
        pointings: where to point, one after the other.
        notes: what the block says and the telescope is not told.
    """

    id: str
    name: str
    position: Position
    epoch: float
    pointings: tuple[Pointing, ...]
    notes: tuple[str, ...] = ()


def read_target(target: Json, at: str) -> Target:
    """Understand a target of a block.

    Args:
        at: where in the block, for messages.

    Raises:
        Untranslatable: its coordinates or its pattern are of a kind that is not supported.
    """
    coordinate = target.get("reference_coordinate") or {}
    where = f"{at}.reference_coordinate"
    kind = coordinate.get("kind")
    frame = str(coordinate.get("reference_frame", "icrs")).lower()
    if kind not in ("icrs", "equatorial"):
        raise Untranslatable(f"{where}.kind", kind, "icrs, or equatorial in the frame icrs")
    if frame != "icrs":
        raise Untranslatable(f"{where}.reference_frame", coordinate["reference_frame"], "icrs")
    _refuse_tied_array_beams(target, at)
    ra = coordinate.get("ra_str", coordinate.get("ra"))
    dec = coordinate.get("dec_str", coordinate.get("dec"))
    units = coordinate.get("unit") or ["hourangle", "deg"]
    if list(units) != ["hourangle", "deg"]:
        raise Untranslatable(f"{where}.unit", units, '["hourangle", "deg"]')
    position = Position(_angle(ra, f"{where}.ra", hours=True), _angle(dec, f"{where}.dec"))
    if not (0 <= position.ra < 360 and -90 <= position.dec <= 90):
        raise Untranslatable(where, f"{ra} {dec}", "right ascension 0 to 24 h, declination +-90")
    moving = [key for key in ("pm_ra", "pm_dec", "parallax") if coordinate.get(key)]
    name = target.get("name") or target["target_id"]
    notes = [f"target {name!r}: {key} is not told to the telescope" for key in moving]
    here = Pointing(position, str(ra), str(dec))
    pattern = target.get("pointing_pattern") or {}
    pointings = _pointings(pattern, here, f"{at}.pointing_pattern")
    epoch = float(coordinate.get("epoch", 2000.0))
    return Target(target["target_id"], name, position, epoch, pointings, tuple(notes))


def _pointings(pattern: Json, here: Pointing, at: str) -> tuple[Pointing, ...]:
    """Where the active pattern points; there may be others, which are for another day."""
    active = pattern.get("active")
    if active is None:
        return (here,)
    chosen = [each for each in pattern.get("parameters") or [] if each.get("kind") == active]
    if not chosen:
        raise Untranslatable(f"{at}.active", active, "a kind that is among its parameters")
    (parameters, *_) = chosen
    if active == "SinglePointParameters":
        east = parameters.get("offset_x_arcsec") or 0.0
        return (_moved(here, east, parameters.get("offset_y_arcsec") or 0.0),)
    if active == "PointedMosaicParameters":
        units = parameters.get("units", "arcsec")
        offsets = parameters.get("offsets") or []
        if units != "arcsec":
            raise Untranslatable(f"{at}.parameters.units", units, "arcsec")
        if not offsets:
            raise Untranslatable(f"{at}.parameters.offsets", offsets, "at least one offset")
        return tuple(_moved(here, each["x"], each["y"]) for each in offsets)
    if active == "FivePointParameters":
        step = float(parameters["offset_arcsec"])
        cross = [(0.0, 0.0), (-step, 0.0), (step, 0.0), (0.0, -step), (0.0, step)]
        return tuple(Pointing(here.position, here.ra, here.dec, ca, ie) for ca, ie in cross)
    raise Untranslatable(f"{at}.active", active, PATTERNS)


def _moved(here: Pointing, east: float, north: float) -> Pointing:
    if not east and not north:
        return here
    position = sky.offset(here.position, east, north)
    return Pointing(position, sky.ra_text(position.ra), sky.dec_text(position.dec))


def _angle(value: Any, at: str, *, hours: bool = False) -> float:
    try:
        return sky.degrees(value, hours=hours)
    except ValueError:
        raise Untranslatable(at, value, "an angle such as 12:34:56.7") from None


def _refuse_tied_array_beams(target: Json, at: str) -> None:
    for kind, beams in (target.get("tied_array_beams") or {}).items():
        if beams:
            raise Untranslatable(f"{at}.tied_array_beams.{kind}", beams, "no tied-array beams")
