"""Positions on the sky, as the sexagesimal text of a block and in degrees (observing library)."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

_SEPARATORS = re.compile(r"[:hdms°'\"\s]+")
ARCSEC = math.pi / 648000


class Position(NamedTuple):
    """A direction in ICRS, in degrees; right ascension 0 to 360."""

    ra: float
    dec: float


def degrees(text: str | float, *, hours: bool = False) -> float:
    """Read `-63:42:45.6`, `16h40m00s` or a plain number.

    Args:
        hours: it is in hours, 15 degrees each.

    Raises:
        ValueError: it is no such text.
    """
    words = str(text).strip()
    sign = -1.0 if words.startswith("-") else 1.0
    parts = [part for part in _SEPARATORS.split(words.lstrip("+-")) if part]
    numbers = [float(part) for part in parts]
    if not 1 <= len(numbers) <= 3 or any(not 0 <= number < 60 for number in numbers[1:]):
        raise ValueError(f"{text!r} is no angle such as 12:34:56.7")
    value = sign * sum(number / float(60**place) for place, number in enumerate(numbers))
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no angle such as 12:34:56.7")
    return round(value * 15 if hours else value, 10)


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
