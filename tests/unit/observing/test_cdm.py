"""What the telescopes are sent for a block has the shape of the CDM's samples."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest

from ska_oso_activity.observing import Names, Observation, Untranslatable, sky
from ska_oso_activity.observing.part import Part
from ska_oso_activity.observing.targets import read_target
from tests.unit.adapters.shared_data import SHARED, needs_shared_data
from tests.unit.observing.blocks import NEWEST, OURS

CDM = SHARED / "cdm"

SBI = "sbi-t0001-20261125-00003"
MID, LOW = (json.loads(OURS[telescope].read_text()) for telescope in ("mid", "low"))

OURS_TO_LEAVE_OUT = {
    # What no block holds; see how-to/write-an-observing-script.
    "/transaction_id",
    "/sdp/resources/csp_links",
    "/sdp/execution_block/fields/pointing_fqdn",
    "/sdp/execution_block/scan_types/derive_from",
    # Of scripts that the sample names and ours need not.
    "/sdp/processing_blocks/parameters/dry_run",
    "/sdp/processing_blocks/parameters/channels_per_port",
    "/sdp/processing_blocks/parameters/pod_settings",
    "/sdp/processing_blocks/parameters/pod_settings/networkMapping",
    "/sdp/processing_blocks/parameters/pod_settings/networkMapping/ip",
}
MORE_THAN_THE_SAMPLES = {
    "/pointing/correction",  # in the CDM library's own sample
    "/sdp/processing_blocks/sbi_ids",  # so is this in Low's
}


def real(name: str) -> dict[str, Any]:
    block: dict[str, Any] = json.loads((SHARED / "sbd" / name).read_text(encoding="utf-8"))
    return block


def observation(block: dict[str, Any], **more: Any) -> Observation:
    return Observation(block, sbi_id=SBI, **more)


def key_paths(value: Any, above: str = "") -> set[str]:
    """Every key with the keys above it; items of lists are taken together."""
    if isinstance(value, list):
        return set().union(*(key_paths(item, above) for item in value))
    if not isinstance(value, dict):
        return set()
    named = "/beams" in above and above.endswith("/scan_types/beams")
    here = {f"{above}/{'*' if named else key}" for key in value}
    return here.union(
        *(key_paths(item, f"{above}/{'*' if named else key}") for key, item in value.items())
    )


def keys_of_parameters(paths: set[str]) -> set[str]:
    return {path for path in paths if "/parameters/" in path}


# --- Beside the samples


@needs_shared_data
@pytest.mark.parametrize(
    ("block", "sample", "request_of"),
    [
        (MID, "mid_centralnode_assign_resources_mid", lambda o: o.assign_request),
        (MID, "mid_subarray_configure_mid", lambda o: o.steps[0].configure),
        (MID, "mid_subarray_scan_mid", lambda o: o.cdm.scan(1)),
        (LOW, "low_centralnode_assign_resources_low_real", lambda o: o.assign_request),
        (LOW, "low_subarray_configure_low_real", lambda o: o.steps[0].configure),
        (LOW, "low_subarray_scan_low", lambda o: o.cdm.scan(1)),
    ],
    ids=["mid-assign", "mid-configure", "mid-scan", "low-assign", "low-configure", "low-scan"],
)
def test_a_request_has_the_keys_of_the_sample(block: dict, sample: str, request_of: Any) -> None:
    theirs = key_paths(json.loads((CDM / f"cdm-swit_{sample}.json").read_text()))

    ours = key_paths(request_of(observation(block)))

    assert theirs - ours - OURS_TO_LEAVE_OUT == set()
    assert ours - keys_of_parameters(ours) - theirs - MORE_THAN_THE_SAMPLES == set()


@needs_shared_data
@pytest.mark.parametrize(("block", "telescope"), [(MID, "MID"), (LOW, "LOW")])
def test_a_release_is_the_sample(block: dict, telescope: str) -> None:
    file = CDM / f"cdm-lib_release_VALID_{telescope}_FULL_RELEASE_JSON.json"
    sample = json.loads(file.read_text())
    del sample["transaction_id"]

    assert observation(block).cdm.release() == sample


@needs_shared_data
@pytest.mark.parametrize("name", NEWEST)
def test_the_newest_real_blocks_can_be_observed(name: str) -> None:
    translated = observation(real(name))

    sent = [translated.assign_request, *(step.configure for step in translated.steps)]
    assert json.loads(json.dumps(sent, allow_nan=False)) == sent
    types = {
        each["scan_type_id"]
        for each in translated.assign_request["sdp"]["execution_block"]["scan_types"]
    }
    assert {step.configure["sdp"]["scan_type"] for step in translated.steps} <= types


@needs_shared_data
def test_of_older_blocks_is_said_what_cannot_be_translated() -> None:
    refusals = {}
    for path in sorted((SHARED / "sbd").glob("*.json")):
        if path.name not in NEWEST:
            with pytest.raises(Untranslatable) as caught:
                observation(real(path.name))
            refusals[path.name] = caught.value.key

    assert refusals == {
        "oet-4.0.0_low_sb_example.json": "mccs_allocation.subarray_beams",
        "oet-4.0.0_mid_sb_example.json": "scan_definitions[0].target_ref",
        "oet-5.0.0_mid_sb_example.json": "csp_configurations[csp config 123]",
        "oet-6.1.0_mid_sb_example.json": "csp_configurations[csp config 123]",
    }


@needs_shared_data
def test_a_real_low_band_is_the_band_of_the_real_requests() -> None:
    """The block and the requests are of the same observation, found in two repositories."""
    request = json.loads((CDM / "cdm-swit_low_subarray_configure_low_real.json").read_text())
    assign = json.loads(
        (CDM / "cdm-swit_low_centralnode_assign_resources_low_real.json").read_text()
    )

    ours = observation(real("oet-8.0.0-rc.1_low_sb_example.json"))

    (step, _) = ours.steps
    theirs = request["csp"]["lowcbf"]["stations"]
    assert step.configure["csp"]["lowcbf"]["stations"] == theirs
    (window,) = ours.assign_request["sdp"]["execution_block"]["channels"][0]["spectral_windows"]
    (expected,) = assign["sdp"]["execution_block"]["channels"][0]["spectral_windows"]
    for key in ("count", "start", "stride", "freq_min", "freq_max", "link_map"):
        assert window[key] == expected[key]
    tuc = assign["sdp"]["execution_block"]["fields"][0]["phase_dir"]
    (field,) = ours.assign_request["sdp"]["execution_block"]["fields"]
    assert field["phase_dir"]["ra"] == pytest.approx(tuc["ra"])
    assert field["phase_dir"]["dec"] == pytest.approx(tuc["dec"])


@needs_shared_data
def test_what_a_real_block_leaves_open_is_noted() -> None:
    low = observation(real("oet-8.0.0-rc.1_low_sb_example.json"))
    mid = observation(real("oet-8.0.0-rc.1_mid_sb_example.json"))

    assert low.block.notes == (
        "scans name 'target #1' of targets, which the block does not define: its only one, "
        "'target-12345', is taken",
    )
    assert "'csp config 123'" in mid.block.notes[0]
    assert mid.assign_request["sdp"]["execution_block"]["eb_id"] == "eb-t0001-20261125-00003"
    dependency = mid.assign_request["sdp"]["processing_blocks"][2]["dependencies"]
    assert dependency == [{"pb_id": "pb-t0001-20261125-0000301", "kind": ["visibilities"]}]


# --- Mid


def test_mid_scans_are_configured_as_the_block_says() -> None:
    steps = observation(MID).steps

    configure = steps[0].configure
    assert configure["pointing"] == {
        "target": {
            "reference_frame": "ICRS",
            "target_name": "PKS B1934-638",
            "ra": "19:39:25.02670",
            "dec": "-63:42:45.6240",
            "ca_offset_arcsec": 0.0,
            "ie_offset_arcsec": 0.0,
        },
        "correction": "UPDATE",
    }
    assert configure["dish"] == {"receiver_band": "2"}
    assert configure["tmc"] == {"scan_duration": 1.5}
    (region,) = configure["csp"]["midcbf"]["correlation"]["processing_regions"]
    middle = region["start_freq"] + region["channel_width"] * (region["channel_count"] - 1) / 2
    assert middle == pytest.approx(1310e6, abs=1)
    assert (region["channel_count"], region["integration_factor"]) == (29760, 5)
    assert region["fsp_ids"] == [1, 2, 3]


def test_a_mosaic_is_observed_pointing_by_pointing_in_the_time_of_its_scan() -> None:
    mosaic = [step for step in observation(MID).steps if step.scan == 3]

    assert [step.label for step in mosaic] == [
        f"scan 3 of 4: NGC 253, pointing {n} of 3" for n in (1, 2, 3)
    ]
    assert sum(step.duration for step in mosaic) == pytest.approx(2.0)
    assert [step.configure["pointing"]["target"]["dec"] for step in mosaic] == [
        "-25:17:17.6000",
        "-25:12:17.3990",
        "-25:22:17.3970",
    ]
    east = mosaic[1].configure["pointing"]["target"]["ra"]
    moved = sky.degrees(east, hours=True) - sky.degrees("00:47:33.12", hours=True)
    assert moved * 3600 * math.cos(math.radians(25.205)) == pytest.approx(420, abs=0.1)


def test_five_points_are_around_the_target_in_the_frame_of_the_dish() -> None:
    block = copy.deepcopy(MID)
    pattern = {"kind": "FivePointParameters", "offset_arcsec": 5.0}
    block["targets"][0]["pointing_pattern"] = {
        "active": "FivePointParameters", "parameters": [pattern],
    }  # fmt: skip

    steps = [step for step in observation(block).steps if step.scan == 1]

    targets = [step.configure["pointing"]["target"] for step in steps]
    assert {(each["ra"], each["dec"]) for each in targets} == {("19:39:25.02670", "-63:42:45.6240")}
    offsets = [(each["ca_offset_arcsec"], each["ie_offset_arcsec"]) for each in targets]
    assert sorted(offsets) == [(-5, 0), (0, -5), (0, 0), (0, 5), (5, 0)]


def test_windows_are_numbered_through_and_zoom_halves_the_channels() -> None:
    block = copy.deepcopy(MID)
    (subband,) = block["csp_configurations"][0]["midcbf"]["subbands"]
    (window,) = subband["correlation_spws"]
    subband["correlation_spws"].append(window | {"spw_id": 2, "zoom_factor": 3})
    subband["frequency_slice_offset"] = {"value": 1.5, "unit": "MHz"}

    midcbf = observation(block).steps[0].configure["csp"]["midcbf"]

    first, second = midcbf["correlation"]["processing_regions"]
    assert (first["channel_width"], second["channel_width"]) == (13440, 1680)
    assert second["sdp_start_channel_id"] == first["channel_count"]
    assert not set(first["fsp_ids"]) & set(second["fsp_ids"])
    assert midcbf["frequency_band_offset_stream1"] == 1500000


# --- Low


def test_low_scans_are_configured_as_the_block_says() -> None:
    translated = observation(LOW)

    assert translated.assign_request["mccs"]["subarray_beams"] == [
        {
            "subarray_beam_id": 1,
            "apertures": [
                {"station_id": number, "aperture_id": f"AP{number}.01"}
                for number in (345, 350, 352, 431)
            ],
            "number_of_channels": 96,
        }
    ]
    (beam,) = translated.steps[1].configure["mccs"]["subarray_beams"]
    assert beam["logical_bands"] == [{"start_channel": 144, "number_of_channels": 96}]
    assert beam["sky_coordinates"]["reference_frame"] == "ICRS"
    assert beam["sky_coordinates"]["c1"] == pytest.approx(80.8941666667)
    assert beam["sky_coordinates"]["c2"] == pytest.approx(-69.7561111111)
    assert translated.steps[1].configure["tmc"] == {"scan_duration": 1.5}
    assert [step.label for step in translated.steps][:2] == [
        "scan 1 of 5: Pictor A",
        "scan 2 of 5: Large Magellanic Cloud",
    ]


def two_beams() -> dict[str, Any]:
    block = copy.deepcopy(LOW)
    (first,) = block["mccs_allocation"]["subarray_beams"]
    second = copy.deepcopy(first) | {"subarray_beam_id": 2}
    for scan in second["scan_sequence"]:
        scan["target_ref"] = "field-fornax"
    block["mccs_allocation"]["subarray_beams"].append(second)
    return block


def test_station_beams_observe_side_by_side() -> None:
    step, *others = observation(two_beams()).steps

    assert len(others) == 4
    assert step.label == "scan 1 of 5: Pictor A and Fornax A"
    beams = step.configure["mccs"]["subarray_beams"]
    assert [beam["subarray_beam_id"] for beam in beams] == [1, 2]
    assert len({beam["sky_coordinates"]["c2"] for beam in beams}) == 2
    assert len(step.configure["csp"]["lowcbf"]["stations"]["stn_beams"]) == 2


def test_beams_that_do_not_fit_together_are_refused() -> None:
    shorter, longer = two_beams(), two_beams()
    shorter["mccs_allocation"]["subarray_beams"][1]["scan_sequence"].pop()
    scan = longer["mccs_allocation"]["subarray_beams"][1]["scan_sequence"][0]
    scan["scan_duration"] = {"value": 1, "unit": "h"}

    with pytest.raises(Untranslatable, match=r"\[4, 5\]; supported: as many scans"):
        observation(shorter)
    with pytest.raises(Untranslatable, match="the same for all beams"):
        observation(longer)


# --- What cannot be translated


def spoiled(block: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a path such as `targets.0.name`."""
    changed = copy.deepcopy(block)
    at: Any = changed
    *above, last = path.split(".")
    for key in above:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[int(last) if isinstance(at, list) else last] = value
    return changed


COORDINATE = "targets.0.reference_coordinate"
MIDCBF = "csp_configurations.0.midcbf"
LOWCBF = "csp_configurations.0.lowcbf"
SCAN = "dish_allocations.scan_sequence.0"


@pytest.mark.parametrize(
    ("block", "path", "value", "key"),
    [
        (MID, "telescope", "MeerKAT", "telescope"),
        (MID, f"{COORDINATE}.kind", "galactic", "targets[0].reference_coordinate.kind"),
        (MID, f"{COORDINATE}.ra_str", "noon", "targets[0].reference_coordinate.ra_str"),
        (MID, f"{COORDINATE}.ra_str", "25:00:00", "targets[0].reference_coordinate"),
        (
            MID,
            "targets.0.pointing_pattern",
            {"active": "RasterParameters", "parameters": [{"kind": "RasterParameters"}]},
            "targets[0].pointing_pattern.active",
        ),
        (
            MID,
            "targets.0.tied_array_beams",
            {"pst_beams": [{"beam_id": 1}]},
            "targets[0].tied_array_beams.pst_beams",
        ),
        (MID, "dish_allocations.dish_ids", [], "dish_allocations.dish_ids"),
        (MID, "dish_allocations.scan_sequence", [], "scan_sequence"),
        (MID, f"{SCAN}.target_ref", "x", "dish_allocations.scan_sequence[0].target_ref"),
        (
            MID,
            f"{SCAN}.scan_duration",
            {"value": 1, "unit": "fortnight"},
            "dish_allocations.scan_sequence[0].scan_duration.unit",
        ),
        (
            MID,
            f"{MIDCBF}.subbands.0.correlation_spws.0.zoom_factor",
            9,
            "csp_configurations[csp-band2-continuum].midcbf.subbands[0].correlation_spws[0].zoom_factor",
        ),
        (
            MID,
            f"{MIDCBF}.subbands.0.pst_spws",
            [1],
            "csp_configurations[csp-band2-continuum].midcbf.subbands[0].pst_spws",
        ),
        (LOW, f"{LOWCBF}.do_pst", True, "csp_configurations[csp-150mhz-continuum].lowcbf.do_pst"),
        (LOW, "mccs_allocation", None, "mccs_allocation.subarray_beams"),
        (MID, "targets", 5, "targets"),
    ],
)
def test_what_cannot_be_translated_is_named(
    block: dict[str, Any], path: str, value: Any, key: str
) -> None:
    with pytest.raises(Untranslatable) as caught:
        observation(spoiled(block, path, value))

    assert caught.value.key == key
    assert f"{key} is " in str(caught.value)
    assert "; supported: " in str(caught.value)


def test_what_moves_is_noted() -> None:
    block = spoiled(MID, f"{COORDINATE}.pm_ra", 5.0)

    assert observation(block).block.notes == (
        "target 'PKS B1934-638': pm_ra is not told to the telescope",
    )


def test_only_the_active_pattern_counts() -> None:
    target = copy.deepcopy(MID["targets"][0])
    target["pointing_pattern"]["parameters"].append({"kind": "RasterParameters"})

    assert len(read_target(Part(target, "targets[0]")).pointings) == 1


def test_the_time_of_all_scans_can_be_set() -> None:
    translated = observation(LOW, seconds_per_scan=0.25)

    assert {step.duration for step in translated.steps} == {0.25}
    assert {step.configure["tmc"]["scan_duration"] for step in translated.steps} == {0.25}


def test_names_are_the_environments() -> None:
    assert Names("mid", "a/b/c", "a/b").subarray(3) == "a/b/03"
