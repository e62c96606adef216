"""What TMC asks of the arguments of its commands (simulators; no Tango).

The kinds of interface are those that SKA's own tests send; versions are not compared, since TMC
takes several.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ska_oso_activity.domain import strict_json
from ska_oso_activity.simulators.answers import BadArgument


class Telescope(str, Enum):
    """The telescope whose TMC is simulated."""

    MID = "mid"
    LOW = "low"


_PREFIX = {Telescope.MID: "ska-tmc", Telescope.LOW: "ska-low-tmc"}
_INTERFACE = re.compile(r"https://schema\.skao\.int/([a-z-]+)/(\d+\.\d+)")


@dataclass(frozen=True)
class Resources:
    """What is to be assigned or released.

    Attributes:
        names: receptors (Mid), or apertures of the subarray beams (Low).
        everything: release all, whatever `names` says.
    """

    names: tuple[str, ...]
    everything: bool = False


def read_object(text: str) -> Mapping[str, Any]:
    """A command's argument as an object.

    Raises:
        BadArgument: it is not one.
    """
    try:
        value = strict_json.loads(text)
    except strict_json.NotJson as error:
        raise BadArgument(f"the argument is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadArgument(f"the argument is not a JSON object, but {type(value).__name__}")
    return value


def read_assign(telescope: Telescope, text: str) -> Resources:
    """The resources that AssignResources asks for; the subarray's number is checked elsewhere."""
    value = _of_kind(telescope, "assignresources", text)
    if telescope is Telescope.MID:
        dish = _part(value, "dish")
        _part(value, "sdp")
        names = _strings(dish.get("receptor_ids"), "dish.receptor_ids")
    else:
        beams = _part(value, "mccs").get("subarray_beams")
        if not isinstance(beams, list) or not beams:
            raise BadArgument("mccs.subarray_beams must be a list of at least one beam")
        names = tuple(_apertures(beams))
    if not names:
        raise BadArgument("no resources are named: at least one is to be assigned")
    return Resources(names)


def read_release(telescope: Telescope, text: str) -> Resources:
    """The resources that ReleaseResources gives back."""
    value = _of_kind(telescope, "releaseresources", text)
    everything = value.get("release_all", False)
    if not isinstance(everything, bool):
        raise BadArgument(f"release_all must be true or false, not {everything!r:.80}")
    if everything:
        return Resources((), everything=True)
    names = _strings(value.get("receptor_ids", []), "receptor_ids")
    if not names:
        raise BadArgument("either release_all must be true, or receptor_ids name what to release")
    return Resources(names)


def read_configure(telescope: Telescope, text: str) -> float | None:
    """How long scans are to last, in seconds; None: as configured before."""
    value = _of_kind(telescope, "configure", text)
    tmc = _part(value, "tmc")
    for key in ("dish", "pointing", "mccs", "csp", "sdp"):
        if key in value:
            _part(value, key)
    if tmc.get("partial_configuration") is True:
        needed: tuple[str, ...] = ()
    else:
        needed = ("dish",) if telescope is Telescope.MID else ("mccs",)
        if "scan_duration" not in tmc:
            raise BadArgument("tmc.scan_duration is missing: seconds that a scan is to last")
    for key in needed:
        _part(value, key)
    duration = tmc.get("scan_duration")
    if duration is None:
        return None
    if isinstance(duration, bool) or not isinstance(duration, (int, float)) or duration < 0:
        raise BadArgument(f"tmc.scan_duration must be seconds, not {duration!r:.80}")
    return float(duration)


def read_scan(telescope: Telescope, text: str) -> int:
    """The number of the scan."""
    scan_id = _of_kind(telescope, "scan", text).get("scan_id")
    if isinstance(scan_id, bool) or not isinstance(scan_id, int) or scan_id < 0:
        raise BadArgument(f"scan_id must be a whole number, not {scan_id!r:.80}")
    return scan_id


def read_subarray_id(text: str) -> int:
    """The subarray that an argument of CentralNode is about."""
    subarray_id = read_object(text).get("subarray_id")
    if isinstance(subarray_id, bool) or not isinstance(subarray_id, int):
        raise BadArgument(f"subarray_id must be a whole number, not {subarray_id!r:.80}")
    return subarray_id


READERS: Mapping[str, Callable[[Telescope, str], Any]] = {
    "AssignResources": read_assign,
    "ReleaseResources": read_release,
    "Configure": read_configure,
    "Scan": read_scan,
}
"""By the commands of a subarray that take an argument."""


def _of_kind(telescope: Telescope, kind: str, text: str) -> Mapping[str, Any]:
    """An argument whose `interface` is of the kind that the command takes."""
    value = read_object(text)
    expected = f"https://schema.skao.int/{_PREFIX[telescope]}-{kind}/<version>"
    if "interface" not in value:
        raise BadArgument(f"the key interface is missing; {expected} is expected")
    found = _INTERFACE.fullmatch(str(value["interface"]))
    if found is None or found[1] != f"{_PREFIX[telescope]}-{kind}":
        raise BadArgument(f"interface is {value['interface']!r:.120}; {expected} is expected")
    return value


def _part(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if key not in value:
        raise BadArgument(f"the key {key} is missing; there are {', '.join(sorted(value))}")
    part = value[key]
    if not isinstance(part, dict):
        raise BadArgument(f"{key} must be an object, not {type(part).__name__}")
    return part


def _strings(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadArgument(f"{key} must be a list of names")
    return tuple(value)


def _apertures(beams: list[Any]) -> list[str]:
    """Names of what the beams are made of; of a beam that names none, its own number."""
    names: list[str] = []
    for beam in beams:
        if not _has(beam, "subarray_beam_id"):
            raise BadArgument("each of mccs.subarray_beams needs a subarray_beam_id")
        apertures = beam.get("apertures", [])
        if not isinstance(apertures, list):
            raise BadArgument("the apertures of a beam must be a list")
        found = [str(a["aperture_id"]) for a in apertures if _has(a, "aperture_id")]
        names += found or [f"beam {beam['subarray_beam_id']}"]
    return names


def _has(value: Any, key: str) -> bool:
    return isinstance(value, dict) and key in value
