"""Positions on the sky, as the sexagesimal text of a block and in degrees (observing library)."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

ARCSEC = math.pi / 648000


class Position(NamedTuple):
    """A direction in ICRS, in degrees; right ascension 0 to 360."""

    ra: float
    dec: float


def _form(first: str, second: str, third: str = "") -> re.Pattern[str]:
    """Sexagesimal text with these marks after its numbers; the seconds may be left out."""
    seconds = rf"(?:{second}\s*(\d{{1,2}}(?:\.\d{{1,12}})?){third})?"
    return re.compile(rf"([+-]?)(\d{{1,2}}){first}\s*(\d{{1,2}}){seconds}", re.ASCII)


_PLAIN = [_form(":", ":"), _form(r"\s", r"\s")]
_HOURS = [*_PLAIN, _form("h", "m", "s")]
_DEGREES = [*_PLAIN, _form("d", "m", "s"), _form("°", "'", '"')]


def degrees(text: object, *, hours: bool = False) -> float:
    """Read `-63:42:45.6`, `-63 42 45.6`, `-63d42m45.6s` or, of hours, `16h40m00s`.

    A bare number is refused: nothing tells whether it means hours or degrees.

    Args:
        hours: it is in hours, 15 degrees each.

    Raises:
        ValueError: it is no such text.
    """
    matches = (form.fullmatch(str(text).strip()) for form in (_HOURS if hours else _DEGREES))
    match = next(filter(None, matches), None)
    if match is None:
        raise ValueError(f"{text!r} is no angle such as 12:34:56.7")
    sign, whole, minutes, seconds = match.groups(default="0")
    if int(minutes) >= 60 or float(seconds) >= 60:
        raise ValueError(f"{text!r} is no angle such as 12:34:56.7")
    value = int(whole) + int(minutes) / 60 + float(seconds) / 3600
    return round((-value if sign == "-" else value) * (15 if hours else 1), 10)


def offset(position: Position, east: float, north: float) -> Position:
    """The position that lies `east` and `north` of another in its tangent plane.

    Args:
        east: arcseconds, along rising right ascension.
        north: arcseconds.
    """
    x, y = east * ARCSEC, north * ARCSEC
    ra, dec = math.radians(position.ra), math.radians(position.dec)
    across = math.cos(dec) - y * math.sin(dec)
    new_ra = ra + math.atan2(x, across)
    new_dec = math.atan2(math.sin(dec) + y * math.cos(dec), math.hypot(x, across))
    return Position(math.degrees(new_ra) % 360, math.degrees(new_dec))


def ra_text(ra: float) -> str:
    """Degrees as `hh:mm:ss.sssss`."""
    return _sexagesimal(ra % 360 / 15, 5, 24)


def dec_text(dec: float) -> str:
    """Degrees as `-dd:mm:ss.ssss`."""
    return ("-" if dec < 0 else "") + _sexagesimal(abs(dec), 4)


def _sexagesimal(value: float, digits: int, around: int | None = None) -> str:
    seconds = round(value * 3600, digits)
    minutes, seconds = divmod(seconds, 60)
    whole, minutes = divmod(int(minutes), 60)
    if around:
        whole %= around
    return f"{whole:02d}:{minutes:02d}:{seconds:0{digits + 3}.{digits}f}"
