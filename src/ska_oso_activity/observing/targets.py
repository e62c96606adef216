"""The targets of a Scheduling Block, and where each has the telescope point (observing library)."""

from __future__ import annotations

from dataclasses import dataclass

from ska_oso_activity.observing import sky
from ska_oso_activity.observing.errors import Untranslatable
from ska_oso_activity.observing.part import Part
from ska_oso_activity.observing.sky import Position

PATTERNS = "SinglePointParameters, PointedMosaicParameters or (Mid) FivePointParameters"
ARCSECONDS = "arcsec"
MAX_OFFSET = 36000
"""Arcseconds, ten degrees: more than the width of any of SKA's beams, so more is a slip."""
MAX_POINTINGS = 1000
"""Of a mosaic: a square of more than thirty by thirty."""
EPOCHS = (1900, 2100)
"""Julian years of coordinates; catalogues are of 1950, 2000 or 2015.5."""
MOTION = 1e6
"""Milliarcseconds, also in a year; Barnard's star has some 10 000."""
_COORDINATE = ("kind", "ra", "dec", "ra_str", "dec_str", "unit", "reference_frame")
_MOTIONS = ("pm_ra", "pm_dec", "parallax")
_KINDS = ("icrs", "equatorial")


@dataclass(frozen=True)
class Pointing:
    """One place to point to, for one scan.

    Attributes:
        position: ICRS.
        ca_offset, ie_offset: arcseconds, in cross-elevation and elevation, of a dish.
    """

    position: Position
    ca_offset: float = 0.0
    ie_offset: float = 0.0

    @property
    def ra(self) -> str:
        """Right ascension, as `hh:mm:ss.sssss`."""
        return sky.ra_text(self.position.ra)

    @property
    def dec(self) -> str:
        """Declination, as `-dd:mm:ss.ssss`."""
        return sky.dec_text(self.position.dec)


@dataclass(frozen=True)
class Target:
    """Something to look at.

    Attributes:
        id: its `target_id`.
        name: for people.
        position: ICRS, without offsets.
        epoch: year of the coordinates.
        pointings: where to point, one after the other.
        path: where it stands in the block.
        notes: what the block says and the telescope is not told.
    """

    id: str
    name: str
    position: Position
    epoch: float
    pointings: tuple[Pointing, ...]
    path: str
    notes: tuple[str, ...] = ()


def read_target(target: Part) -> Target:
    """Understand a target of a block.

    Raises:
        Untranslatable: its coordinates or its pattern are of a kind that is not supported.
    """
    target_id = target.at("target_id").text()
    name = target.at("name").text(default=target_id)
    for beams in target.at("tied_array_beams").parts():
        if beams.value:
            raise beams.refused("no tied-array beams")
    coordinate = target.at("reference_coordinate")
    position = _position(coordinate)
    moving = [key for key in _MOTIONS if coordinate.at(key).number(-MOTION, MOTION, default=0.0)]
    notes = [f"target {name!r}: {key} is not told to the telescope" for key in moving]
    epoch = coordinate.at("epoch").number(*EPOCHS, "years", default=2000.0)
    pointings = _pointings(target.at("pointing_pattern"), position)
    return Target(target_id, name, position, epoch, pointings, target.path, tuple(notes))


def _position(coordinate: Part) -> Position:
    """Where the target is; whatever else its coordinate says has to be understood too."""
    kind, frame, unit = (coordinate.at(key) for key in ("kind", "reference_frame", "unit"))
    if kind.value not in _KINDS:
        raise kind.refused("icrs, or equatorial in the frame icrs")
    if frame.given and frame.text().lower() != "icrs":
        raise frame.refused("icrs")
    if unit.given and [each.value for each in unit.items()] != ["hourangle", "deg"]:
        raise unit.refused('["hourangle", "deg"]')
    coordinate.only(*_COORDINATE, *_MOTIONS, "epoch")
    position = Position(
        _angle(coordinate, "ra", "hours such as 12:34:56.7 or 12h34m56.7s", hours=True),
        _angle(coordinate, "dec", "degrees such as -12:34:56.7 or -12d34m56.7s"),
    )
    if not (0 <= position.ra < 360 and -90 <= position.dec <= 90):
        raise coordinate.refused("right ascension 0 to 24 h, declination +-90")
    return position


def _angle(coordinate: Part, key: str, supported: str, *, hours: bool = False) -> float:
    new, old = coordinate.at(f"{key}_str"), coordinate.at(key)
    angle = new if new.given else old
    if new.given and old.given and new.value != old.value:
        raise old.refused(f"the same as {key}_str, or nothing")
    try:
        return sky.degrees(angle.text(supported=supported), hours=hours)
    except ValueError:
        raise angle.refused(supported) from None


def _pointings(pattern: Part, here: Position) -> tuple[Pointing, ...]:
    """Where the active pattern points; there may be others, which are for another day."""
    if not pattern.given:
        return (Pointing(here),)
    active = pattern.at("active")
    kinds = [(each.at("kind").value, each) for each in pattern.at("parameters").items()]
    chosen = [each for kind, each in kinds if active.given and kind == active.value]
    if len(chosen) != 1:
        raise active.refused("the kind of one of its parameters")
    (parameters,) = chosen
    if active.value == "SinglePointParameters":
        _in_arcseconds(parameters, "offset_x_arcsec", "offset_y_arcsec")
        offsets = (_arcsec(parameters.at(f"offset_{axis}_arcsec"), default=0.0) for axis in "xy")
        return (_moved(here, *offsets),)
    if active.value == "PointedMosaicParameters":
        _in_arcseconds(parameters, "offsets")
        return tuple(_mosaic(parameters.at("offsets"), here))
    if active.value == "FivePointParameters":
        _in_arcseconds(parameters, "offset_arcsec")
        step = _arcsec(parameters.at("offset_arcsec"))
        cross = [(0.0, 0.0), (-step, 0.0), (step, 0.0), (0.0, -step), (0.0, step)]
        return tuple(Pointing(here, ca, ie) for ca, ie in cross)
    raise active.refused(PATTERNS)


def _mosaic(offsets: Part, here: Position) -> list[Pointing]:
    each = offsets.items()
    if not 1 <= len(each) <= MAX_POINTINGS:
        raise offsets.refused(f"1 to {MAX_POINTINGS} offsets")
    for offset in each:
        offset.only("x", "y")
    return [_moved(here, _arcsec(offset.at("x")), _arcsec(offset.at("y"))) for offset in each]


def _in_arcseconds(parameters: Part, *keys: str) -> None:
    """Refuse other units, and keys that are not known: they could mean another place."""
    units = parameters.at("units")
    if units.given and units.value != ARCSECONDS:
        raise units.refused(ARCSECONDS)
    parameters.only("kind", "units", *keys)


def _arcsec(part: Part, default: float | None = None) -> float:
    return part.number(-MAX_OFFSET, MAX_OFFSET, ARCSECONDS, default=default)


def _moved(here: Position, east: float, north: float) -> Pointing:
    return Pointing(sky.offset(here, east, north) if east or north else here)


def unsupported(target: Target, supported: str) -> Untranslatable:
    """The error that says how else a target could be pointed to."""
    count = len(target.pointings)
    found = f"a pattern of {count} pointings" if count > 1 else "a pattern of dishes"
    return Untranslatable(f"{target.path}.pointing_pattern", found, supported)
