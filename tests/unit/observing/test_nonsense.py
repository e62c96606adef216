"""Whatever stands in a block, it is translated or refused by its key; nothing is made up."""

from __future__ import annotations

import copy
import json
import math
import resource
from collections.abc import Iterator
from typing import Any

import pytest

from ska_oso_activity.observing import Names, Observation, ObsState, Subarray, Untranslatable
from ska_oso_activity.observing.part import MAX_DEPTH, Part
from tests.unit.adapters.shared_data import NO_DATA, SHARED
from tests.unit.observing.blocks import NEWEST, OURS
from tests.unit.observing.telescope import CENTRAL_NODE, NAMES, SOON, FakeTelescope

LOW_NAMES = Names("low", CENTRAL_NODE, NAMES.subarray_prefix)
REMOVED = object()
NONSENSE = [REMOVED, None, [], {}, "x", -1, 1e308, math.nan, True, 10**18]
MORE = ["", ["x"], [None], [{}], {"x": 1}, False, 0, 0.5, -1e308, math.inf, 10**400, "9" * 5000]
ENOUGH = 64 * 2**20
"""Bytes by which the translations may make the process grow."""


def block(telescope: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(OURS[telescope].read_text(encoding="utf-8"))
    return found


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each item of each object and the first two of each list: what holds it, and its key."""
    for key in list(value) if isinstance(value, dict) else range(min(2, len(value))):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


def spoil(holder: Any, key: Any, value: Any) -> Any:
    """Put something else there; returns what has to be put there to undo it."""
    whole = copy.copy(holder)
    if value is REMOVED:
        del holder[key]
    else:
        holder[key] = value
    return whole


def undo(holder: Any, whole: Any) -> None:
    holder.clear()
    holder.extend(whole) if isinstance(holder, list) else holder.update(whole)


def refusal(document: Any) -> Untranslatable | None:
    """Why a block is refused; None: it is translated, and what is sent for it is JSON."""
    try:
        observation = Observation(document)
    except Untranslatable as error:
        return error
    sent = [observation.assign_request, *(step.configure for step in observation.steps)]
    json.dumps(sent, allow_nan=False)
    return None


def grown() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", [*OURS, *NEWEST])
def test_any_value_anywhere_is_translated_or_refused_by_its_key(name: str) -> None:
    path = OURS.get(name) or SHARED / "sbd" / name
    if not path.is_file():
        pytest.skip(NO_DATA)
    document = json.loads(path.read_text(encoding="utf-8"))
    untouched, memory = copy.deepcopy(document), grown()
    values = NONSENSE + MORE if name in OURS else NONSENSE

    refusals = []
    for holder, key in list(places(document)):
        for value in values:
            whole = spoil(holder, key, value)
            refusals.append(refusal(document))
            undo(holder, whole)

    assert document == untouched
    assert grown() - memory < ENOUGH
    errors = [error for error in refusals if error is not None]
    assert len(refusals) - 100 > len(errors) > 100
    assert {""} & {error.key for error in errors} == set()
    assert [str(error) for error in errors if "Error" in str(error) or len(str(error)) > 999] == []


def test_a_whole_that_is_no_block_is_refused() -> None:
    for value in ([], "x", None, 5):
        with pytest.raises(Untranslatable):
            Observation(value)  # type: ignore[arg-type]
    with pytest.raises(Untranslatable, match="telescope is None"):
        Observation({})


def set_in(document: Any, path: str, value: Any) -> None:
    *way, last = (int(key) if key.isdigit() else key for key in path.split("."))
    for key in way:
        document = document[key]
    document[last] = value


TARGET = "targets.0"
COORDINATE = f"{TARGET}.reference_coordinate"
PATTERN = f"{TARGET}.pointing_pattern"
MID_WINDOW = "csp_configurations.0.midcbf.subbands.0.correlation_spws.0"
LOW_WINDOW = "csp_configurations.0.lowcbf.correlation_spws.0"
BEAMS = "mccs_allocation.subarray_beams"
SCAN = "dish_allocations.scan_sequence.0"


@pytest.mark.parametrize(
    ("telescope", "path", "value"),
    [
        ("mid", f"{COORDINATE}.epoch", -1),
        ("mid", f"{COORDINATE}.epoch", 10**18),
        ("mid", f"{COORDINATE}.ra_str", "12d30m00s"),
        ("mid", f"{COORDINATE}.ra_str", 12.5),
        ("mid", f"{COORDINATE}.dec_str", "--30:00:00"),
        ("mid", f"{COORDINATE}.ra", "01:00:00"),
        ("mid", f"{COORDINATE}.frame", "galactic"),
        ("mid", "dish_allocations.dish_ids", "SKA001"),
        ("mid", "dish_allocations.dish_ids", ["SKA001", "SKA001"]),
        ("mid", "dish_allocations.dish_ids", ["SKA001", None]),
        ("mid", "dish_allocations.dish_ids", [1]),
        ("mid", f"{SCAN}.scan_duration", {"value": 25, "unit": "h"}),
        ("mid", f"{SCAN}.scan_duration", {"value": math.inf, "unit": "s"}),
        ("mid", f"{SCAN}.scan_duration.unit", None),
        ("mid", f"{SCAN}.pointing_correction", "SOMETIMES"),
        ("mid", "csp_configurations.0.midcbf.frequency_band", math.nan),
        ("mid", f"{MID_WINDOW}.centre_frequency", -1e9),
        ("mid", f"{MID_WINDOW}.number_of_channels", 10**18),
        ("mid", f"{MID_WINDOW}.number_of_channels", 0.5),
        ("mid", f"{MID_WINDOW}.time_integration_factor", -3),
        ("mid", f"{MID_WINDOW}.logical_fsp_ids", [1, 1]),
        ("mid", f"{MID_WINDOW}.logical_fsp_ids", [27, 0]),
        (
            "mid",
            "csp_configurations.0.midcbf.subbands.0.frequency_slice_offset",
            {"value": 1e308, "unit": "GHz"},
        ),
        ("low", f"{LOW_WINDOW}.centre_frequency", 0),
        ("low", f"{LOW_WINDOW}.centre_frequency", 51e6),
        ("low", f"{LOW_WINDOW}.number_of_channels", 10**18),
        ("low", f"{LOW_WINDOW}.integration_time_ms", None),
        ("low", f"{BEAMS}.0.apertures.0.station_id", -5),
        ("low", f"{BEAMS}.0.apertures.1.station_id", 345),
        ("low", f"{BEAMS}.0.subarray_beam_id", 0),
    ],
)
def test_nonsense_is_refused_in_words(telescope: str, path: str, value: Any) -> None:
    document = block(telescope)
    set_in(document, path, value)

    with pytest.raises(Untranslatable) as caught:
        Observation(document)

    assert "Error" not in str(caught.value)
    assert path.split(".", maxsplit=1)[0] in caught.value.key


def test_two_targets_of_the_same_id_are_refused() -> None:
    document = block("mid")
    document["targets"].append(copy.deepcopy(document["targets"][0]))

    with pytest.raises(Untranslatable, match=r"targets\[\d\].target_id"):
        Observation(document)


def test_two_beams_of_the_same_id_are_refused() -> None:
    document = block("low")
    document["mccs_allocation"]["subarray_beams"] *= 2

    with pytest.raises(Untranslatable, match=r"subarray_beams\[1\].subarray_beam_id is 1"):
        Observation(document)


def pattern(kind: str, **parameters: Any) -> dict[str, Any]:
    return {"active": kind, "parameters": [{"kind": kind, **parameters}]}


MOSAIC = pattern("PointedMosaicParameters", offsets=[{"x": 30.0, "y": 0.0}], units="arcsec")


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"parameters": MOSAIC["parameters"]}, "active"),
        ({"active": "PointedMosaicParameters", "parameters": []}, "active"),
        ({**MOSAIC, "parameters": MOSAIC["parameters"] * 2}, "active"),
        (pattern("SinglePointParameters", offset_x_arcmin=5.0), "offset_x_arcmin"),
        (pattern("SinglePointParameters", offset_x_arcsec=5.0, units="deg"), "units"),
        (pattern("SinglePointParameters", offset_x_arcsec=1e12), "offset_x_arcsec"),
        (pattern("PointedMosaicParameters", offsets=[{"x": 1.0}]), "y"),
        (pattern("PointedMosaicParameters", offsets=[{"x": 1, "y": 1, "z": 1}]), "z"),
        (pattern("PointedMosaicParameters", offsets=[{"x": 1, "y": 1}], units="deg"), "units"),
        (pattern("PointedMosaicParameters", offsets=[], units="arcsec"), "offsets"),
        (
            pattern("PointedMosaicParameters", offsets=[{"x": 1, "y": 1}], frame="galactic"),
            "frame",
        ),
        (pattern("FivePointParameters"), "offset_arcsec"),
    ],
)
def test_a_pattern_that_is_not_understood_in_full_is_refused(given: Any, key: str) -> None:
    document = block("mid")
    set_in(document, PATTERN, given)

    with pytest.raises(Untranslatable) as caught:
        Observation(document)

    assert caught.value.key.startswith("targets[0].pointing_pattern")
    assert caught.value.key.endswith(f".{key}")


@pytest.mark.parametrize("ref", ["another", None])
def test_a_target_that_is_not_named_is_not_pointed_to(ref: str | None) -> None:
    document = block("mid")
    document["targets"] = document["targets"][:1]
    document["dish_allocations"]["scan_sequence"] = document["dish_allocations"]["scan_sequence"][
        :1
    ]
    assert Observation(document).steps

    set_in(document, f"{SCAN}.target_ref", ref)
    with pytest.raises(Untranslatable, match="target_ref"):
        Observation(document)


def test_a_position_is_told_in_one_form_however_the_block_writes_it() -> None:
    document = block("mid")
    set_in(document, f"{COORDINATE}.ra_str", "19h39m25.0267s")
    set_in(document, f"{COORDINATE}.dec_str", "-63d42m45.624s")

    target = Observation(document).steps[0].configure["pointing"]["target"]

    assert (target["ra"], target["dec"]) == ("19:39:25.02670", "-63:42:45.6240")


def test_fsps_are_counted_from_0_in_all_windows_or_in_none() -> None:
    document = block("mid")
    (subband,) = document["csp_configurations"][0]["midcbf"]["subbands"]
    (window,) = subband["correlation_spws"]
    subband["correlation_spws"] = [
        window | {"logical_fsp_ids": fsps} for fsps in ([0, 1, 2], [3, 4, 5])
    ]

    midcbf = Observation(document).steps[0].configure["csp"]["midcbf"]

    regions = midcbf["correlation"]["processing_regions"]
    assert [region["fsp_ids"] for region in regions] == [[1, 2, 3], [4, 5, 6]]


def test_many_mosaics_of_many_pointings_are_refused() -> None:
    document = block("mid")
    offsets = [{"x": float(number), "y": 0.0} for number in range(1000)]
    set_in(document, PATTERN, pattern("PointedMosaicParameters", offsets=offsets))
    document["dish_allocations"]["scan_sequence"] *= 100

    with pytest.raises(Untranslatable, match="at most 5000 pointings"):
        Observation(document)


def test_what_is_sent_as_it_stands_is_json() -> None:
    deep: Any = 0
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    for value in (math.nan, {"x": [math.inf]}, {"x": {1, 2}}, {"x": deep}, {1: 2}):
        with pytest.raises(Untranslatable, match=r"^the block cannot be observed: a\b"):
            Part(value, "a").json()

    assert Part({"x": [1, 2.5, "y", None, True]}, "a").json() == {"x": [1, 2.5, "y", None, True]}


# --- Arguments, and ids that outlive one activity


@pytest.mark.parametrize("seconds", ["5", True, [], math.nan, math.inf, -1, 86401, 1e308, 10**400])
def test_scans_of_a_time_that_is_none_are_refused(seconds: Any) -> None:
    with pytest.raises(ValueError, match=r"seconds_per_scan is .*; supported: a number, 0 to"):
        Observation(block("mid"), seconds_per_scan=seconds)


@pytest.mark.parametrize("first", ["5", True, 0, 1.5, 2**31])
def test_scan_ids_that_are_none_are_refused(first: Any) -> None:
    with pytest.raises(ValueError, match="supported: a whole number, 1 to"):
        Observation(block("mid"), first_scan_id=first)


def test_no_scan_has_the_id_of_another() -> None:
    observation = Observation(block("mid"), first_scan_id=7)

    ids = [observation.next_scan()["scan_id"] for _ in range(3)]

    assert ids == [7, 8, 9]


def test_observing_twice_on_the_same_resources_repeats_no_scan_id() -> None:
    telescope = FakeTelescope(ObsState.IDLE)
    observation = Observation(block("low"), seconds_per_scan=0)

    with Subarray(1, names=LOW_NAMES, connect=telescope.connect, patience=SOON) as subarray:
        observation.observe(subarray)
        observation.observe(subarray)

    ids = [json.loads(text or "")["scan_id"] for _, name, text in telescope.sent if name == "Scan"]
    assert ids == list(range(1, 11))


def test_a_configure_names_no_other_execution_block_than_was_assigned() -> None:
    allocating = Observation(block("low"), sbi_id="sbi-t0001-20261125-00001")
    observing = Observation(block("low"), sbi_id="sbi-t0001-20261125-00002")
    assigned = allocating.assign_request["sdp"]["execution_block"]["eb_id"]

    for step in observing.steps:
        assert step.configure["csp"]["common"].get("eb_id", assigned) == assigned
