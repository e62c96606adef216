"""The sample blocks have the shape of real ones, and the sample scripts read both."""

import importlib.util
import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import ska_oso_activity
from ska_oso_activity import samples

SHIPPED = Path(samples.__file__).parent
SHIPPED_BLOCKS = sorted((SHIPPED / "oda").rglob("*.json"))
REAL_DIR = Path(__file__).parents[3].parent / "shared" / "data" / "sbd"
NO_REAL_BLOCKS = "real Scheduling Blocks are not kept beside this checkout (../shared/data/sbd)"
NEWEST_MID = "services-16.3.1_mid_single_scan_with_constraints.json"
FULLEST_MID = "services-16.3.1_expected_mid_sbd.json"
FULLEST_LOW = "services-16.3.1_expected_low_sbd.json"

needs_real_blocks = pytest.mark.skipif(not REAL_DIR.is_dir(), reason=NO_REAL_BLOCKS)


class FakeScript(ModuleType):
    """Stands in for ska_oso_activity.script; remembers what a script reported."""

    def __init__(self, subarray_id: int | None) -> None:
        super().__init__("ska_oso_activity.script")
        self.lane = subarray_id
        self.announced: list[str] = []
        self.fractions: list[float] = []

    def announce(self, message: str) -> None:
        """Remember an announcement."""
        self.announced.append(message)

    def progress(self, fraction: float, message: str = "") -> None:
        """Remember a progress, which must be a fraction."""
        assert 0.0 <= fraction <= 1.0
        self.fractions.append(fraction)

    def subarray_id(self) -> int | None:
        """The subarray of the activity."""
        return self.lane


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> FakeScript:
    """The reports of the scripts that the test loads; their activity has no subarray."""
    fake = FakeScript(subarray_id=None)
    monkeypatch.setitem(sys.modules, "ska_oso_activity.script", fake)
    monkeypatch.setattr(ska_oso_activity, "script", fake, raising=False)
    return fake


@pytest.fixture
def observe(reports: FakeScript) -> dict[str, Any]:
    """The functions of observe.py."""
    return load("observe")


def load(name: str) -> dict[str, Any]:
    """A script as it is installed where there is no telescope."""
    plain = SHIPPED / "without_telescope" / f"{name}.py"
    return runpy.run_path(str(plain if plain.is_file() else SHIPPED / "scripts" / plain.name))


def read(path: Path) -> dict[str, Any]:
    block: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return block


def shipped(telescope: str) -> dict[str, Any]:
    return next(block for block in map(read, SHIPPED_BLOCKS) if block["telescope"] == telescope)


def key_paths(value: Any, above: str = "") -> set[str]:
    """Every key of a JSON value with the keys above it; items of lists are taken together."""
    if isinstance(value, list):
        return set().union(*(key_paths(item, above) for item in value))
    if not isinstance(value, dict):
        return set()
    here = {f"{above}/{key}" for key in value}
    return here.union(*(key_paths(item, f"{above}/{key}") for key, item in value.items()))


def strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string of a JSON value, with the key that it is under."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item, key)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from strings(item, name)


# --- the shipped blocks


def test_there_is_one_block_for_each_telescope_where_its_id_says() -> None:
    places = {
        block["telescope"]: (block["sbd_id"], path.relative_to(SHIPPED / "oda").as_posix())
        for path, block in ((path, read(path)) for path in SHIPPED_BLOCKS)
    }

    assert len(SHIPPED_BLOCKS) == 2
    assert places == {
        "ska_mid": (samples.MID_SBD_ID, f"sbd/{samples.MID_SBD_ID}/1.json"),
        "ska_low": (samples.LOW_SBD_ID, f"sbd/{samples.LOW_SBD_ID}/1.json"),
    }


@pytest.mark.parametrize("path", SHIPPED_BLOCKS, ids=lambda path: path.parent.name)
def test_what_a_block_refers_to_is_in_the_block(path: Path) -> None:
    block = read(path)
    stations = block.get("mccs_allocation", {"subarray_beams": []})
    owners = [block.get("dish_allocations"), *stations["subarray_beams"]]
    scans = [scan for owner in owners if owner for scan in owner["scan_sequence"]]

    assert {scan["target_ref"] for scan in scans} == {t["target_id"] for t in block["targets"]}
    assert {scan["csp_configuration_ref"] for scan in scans} == {
        configuration["config_id"] for configuration in block["csp_configurations"]
    }
    assert len({scan["scan_definition_id"] for scan in scans}) == len(scans)
    assert all(
        scan["scan_duration"] == {"value": scan["scan_duration_ms"] / 1000, "unit": "s"}
        for scan in scans
    )


def test_both_demo_observations_fit_into_fifteen_seconds(observe: dict[str, Any]) -> None:
    durations = [[scan.seconds for scan in observe["scans_of"](read(p))] for p in SHIPPED_BLOCKS]

    assert all(3 <= len(seconds) <= 5 for seconds in durations)
    assert sum(map(sum, durations)) < 12


@pytest.mark.parametrize("path", SHIPPED_BLOCKS, ids=lambda path: path.parent.name)
def test_every_activity_names_a_shipped_script_below_the_placeholder(path: Path) -> None:
    activities = read(path)["activities"]

    assert list(activities) == ["observe", "allocate", "hello"]
    for name, activity in activities.items():
        assert activity["kind"] == "filesystem"
        assert activity["path"] == f"file:///samples/scripts/{name}.py"
        assert (SHIPPED / "scripts" / f"{name}.py").is_file()
    hello = activities["hello"]["function_args"]
    assert hello["init"]["args"]
    assert hello["main"]["args"]
    assert hello["main"]["kwargs"]


# --- the shipped blocks beside real ones


def block_keys(block: dict[str, Any]) -> set[str]:
    """The keys of a block, but for its activities, which are of another kind in ours."""
    return {path for path in key_paths(block) if not path.startswith("/activities/")}


@needs_real_blocks
def test_the_mid_block_has_the_keys_of_the_newest_real_ones() -> None:
    ours = block_keys(shipped("ska_mid"))
    newest = block_keys(read(REAL_DIR / NEWEST_MID))
    fullest = block_keys(read(REAL_DIR / FULLEST_MID))
    older_spelling = {f"/targets/reference_coordinate/{key}" for key in ("ra", "dec")}

    assert newest - ours == set()
    assert fullest - ours == older_spelling
    assert ours - newest - fullest == {"/description"}


@needs_real_blocks
def test_the_low_block_has_the_keys_of_the_newest_real_ones() -> None:
    ours = block_keys(shipped("ska_low"))
    real = block_keys(read(REAL_DIR / FULLEST_LOW))
    newest_mid = block_keys(read(REAL_DIR / NEWEST_MID))  # newer than any public Low block
    scans_of_low = "/mccs_allocation/subarray_beams/scan_sequence/"
    as_in_mid = {
        path.replace("/dish_allocations/scan_sequence/", scans_of_low) for path in newest_mid
    }

    assert real - ours == set()
    assert ours - real - as_in_mid == set()


@needs_real_blocks
def test_the_activities_have_the_keys_of_real_file_activities() -> None:
    real = read(REAL_DIR / "oet-8.0.0-rc.1_mid_sb_example.json")["activities"]["observe"]

    for path in SHIPPED_BLOCKS:
        for activity in read(path)["activities"].values():
            assert set(activity) == set(real)
            assert set(activity["function_args"]) == set(real["function_args"])


@needs_real_blocks
def test_no_id_of_a_real_block_is_in_ours() -> None:
    ours = {value for path in SHIPPED_BLOCKS for _, value in strings(read(path))}
    real_ids = {
        value
        for path in REAL_DIR.glob("*.json")
        for key, value in strings(read(path))
        if key.endswith(("_id", "_ref", "_by")) or key in {"name", "target_name", "description"}
    }

    assert len(real_ids) > 50
    assert real_ids & ours == set()


# --- install


def test_installed_blocks_name_the_installed_scripts(tmp_path: Path) -> None:
    installed = samples.install(tmp_path / "not yet" / 'a "quoted" Zuañiga \\ place')

    for sbd_id in (installed.mid_sbd_id, installed.low_sbd_id):
        block = read(installed.oda / "sbd" / sbd_id / "1.json")
        assert block["sbd_id"] == sbd_id
        for activity in block["activities"].values():
            script = Path(activity["path"].removeprefix("file://"))
            assert script.is_absolute()
            assert script.is_file()
            assert script.parent == installed.scripts


def test_installed_blocks_differ_from_the_shipped_ones_in_their_paths_alone(tmp_path: Path) -> None:
    installed = samples.install(tmp_path)

    for path in SHIPPED_BLOCKS:
        copy = (installed.oda / path.relative_to(SHIPPED / "oda")).read_text(encoding="utf-8")
        assert "/samples/scripts/" not in copy
        assert copy.replace(f"file://{installed.scripts}/", "file:///samples/scripts/") == (
            path.read_text(encoding="utf-8")
        )


def test_all_scripts_are_installed(tmp_path: Path) -> None:
    installed = samples.install(tmp_path)

    assert {path.name for path in installed.scripts.iterdir()} == {
        "abort.py", "allocate.py", "allocate_and_observe.py", "hello.py", "observe.py",
        "release.py",
    }  # fmt: skip


@pytest.mark.parametrize("with_telescope", [True, False])
def test_the_scripts_drive_a_telescope_only_if_there_is_one(
    tmp_path: Path, with_telescope: bool
) -> None:
    installed = samples.install(tmp_path, with_telescope=with_telescope)

    for name in ("abort", "allocate", "observe"):
        text = (installed.scripts / f"{name}.py").read_text(encoding="utf-8")
        assert ("ska_oso_activity.observing" in text) is with_telescope


def test_installing_twice_is_installing_once(tmp_path: Path) -> None:
    first = samples.install(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    (first.scripts / "observe.py").write_text("spoiled")
    (first.scripts / "mine.py").write_text("kept")

    second = samples.install(tmp_path)

    after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert second == first
    assert after == before | {first.scripts / "mine.py": b"kept"}


def test_a_relative_directory_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    installed = samples.install(Path("here"))

    assert installed.oda == tmp_path.resolve() / "here" / "oda"
    assert installed.scripts == tmp_path.resolve() / "here" / "scripts"


# --- observe


def installed_block(directory: Path, telescope: str) -> str:
    installed = samples.install(directory)
    sbd_id = installed.mid_sbd_id if telescope == "ska_mid" else installed.low_sbd_id
    return str(installed.oda / "sbd" / sbd_id / "1.json")


@pytest.mark.parametrize(
    ("telescope", "scans", "targets"),
    [
        ("ska_mid", 4, ["PKS B1934-638", "PKS B0023-263", "NGC 253"]),
        ("ska_low", 5, ["Pictor A", "Large Magellanic Cloud", "Fornax A"]),
    ],
)
def test_observe_sums_up_what_it_went_through(
    tmp_path: Path, observe: dict[str, Any], telescope: str, scans: int, targets: list[str]
) -> None:
    observe["init"](subarray_id=3)
    summary = observe["main"](
        sb_json=installed_block(tmp_path, telescope), sbi_id="sbi-1", seconds_per_scan=0
    )

    assert summary == {"scans": scans, "targets": targets, "subarray_id": 3}
    assert json.loads(json.dumps(summary)) == summary


def test_observe_announces_each_scan_and_reports_progress_up_to_one(
    tmp_path: Path, observe: dict[str, Any], reports: FakeScript
) -> None:
    observe["main"](installed_block(tmp_path, "ska_mid"), seconds_per_scan=0)

    assert reports.announced == [
        "scan 1 of 4: target PKS B1934-638 for 0.0 s",
        "scan 2 of 4: target PKS B0023-263 for 0.0 s",
        "scan 3 of 4: target NGC 253 for 0.0 s",
        "scan 4 of 4: target PKS B0023-263 for 0.0 s",
    ]
    assert reports.fractions == [0.25, 0.5, 0.75, 1.0]


def test_each_scan_takes_the_time_that_the_block_says(
    tmp_path: Path, observe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(observe["time"], "sleep", slept.append)

    observe["main"](installed_block(tmp_path, "ska_mid"))

    assert slept == [1.5, 1.0, 2.0, 1.0]


def test_without_init_the_subarray_is_that_of_the_activity(
    tmp_path: Path, observe: dict[str, Any], reports: FakeScript
) -> None:
    reports.lane = 7

    summary = observe["main"](installed_block(tmp_path, "ska_low"), seconds_per_scan=0)

    assert summary["subarray_id"] == 7


REAL_SCANS = {
    "oet-4.0.0_low_sb_example.json": [
        ("Drift scan at 45 degs", 64.0), ("Drift scan at 85 degs", 64.0),
        ("Drift scan at 85 degs", 64.0), ("Drift scan at 45 degs", 64.0),
    ],
    "oet-4.0.0_mid_sb_example.json": [("Polaris Australis", 60.0)] * 4,
    "oet-5.0.0_mid_sb_example.json": [
        ("Polaris Australis", 60.0), ("M83", 60.0), ("M83", 60.0), ("Polaris Australis", 60.0),
    ],
    "oet-6.1.0_mid_sb_example.json": [
        ("Polaris Australis", 6.0), ("M83", 6.0), ("M83", 6.0), ("Polaris Australis", 6.0),
    ],
    # This block's scans name a target that it does not define.
    "oet-8.0.0-rc.1_low_sb_example.json": [("target #1", 12.8)] * 2,
    "oet-8.0.0-rc.1_mid_sb_example.json": [
        ("Polaris Australis", 60.0), ("M83", 60.0), ("M83", 60.0), ("Polaris Australis", 60.0),
    ],
    FULLEST_LOW: [
        ("Hercules A", 600.0), ("47 tuc", 3600.0), ("Hercules A", 600.0),
        ("Hercules A", 600.0), ("target42", 3600.0), ("Hercules A", 600.0),
    ],
    FULLEST_MID: [("47 tuc", 3600.0)],
    NEWEST_MID: [("JVAS B0218+357", 3600.0)],
}  # fmt: skip
REAL_RECEPTORS = {
    "oet-4.0.0_low_sb_example.json": ["station 1", "station 2"],
    "oet-4.0.0_mid_sb_example.json": ["0001", "0002"],
    "oet-6.1.0_mid_sb_example.json": ["SKA001", "SKA002"],
    "oet-8.0.0-rc.1_low_sb_example.json": [f"station {n}" for n in (345, 350, 352, 431)],
    NEWEST_MID: ["SKA001", "SKA036", "SKA077", "SKA100"],
}


@needs_real_blocks
@pytest.mark.parametrize("name", REAL_SCANS)
def test_the_scans_of_a_real_block_are_found(observe: dict[str, Any], name: str) -> None:
    scans = observe["scans_of"](read(REAL_DIR / name))

    assert [(" and ".join(scan.targets), scan.seconds) for scan in scans] == REAL_SCANS[name]


@needs_real_blocks
@pytest.mark.parametrize("name", REAL_RECEPTORS)
def test_the_receptors_of_a_real_block_are_found(observe: dict[str, Any], name: str) -> None:
    assert observe["receptors_of"](read(REAL_DIR / name)) == REAL_RECEPTORS[name]


@needs_real_blocks
def test_every_real_block_can_be_observed(observe: dict[str, Any], reports: FakeScript) -> None:
    for path in REAL_DIR.glob("*.json"):
        summary = observe["main"](str(path), seconds_per_scan=0)

        assert summary["scans"] > 0
        assert summary["targets"]
    assert all(message.startswith("scan ") for message in reports.announced)


def test_a_block_without_scans_gets_a_single_pass_and_says_so(
    tmp_path: Path, observe: dict[str, Any], reports: FakeScript
) -> None:
    block = shipped("ska_mid")
    del block["dish_allocations"]["scan_sequence"]
    path = tmp_path / "block.json"
    path.write_text(json.dumps(block))

    summary = observe["main"](str(path), seconds_per_scan=0)

    assert summary["scans"] == 3
    assert summary["targets"] == ["PKS B1934-638", "PKS B0023-263", "NGC 253"]
    assert reports.announced[0] == "the block holds no scans: a single pass over its 3 target(s)"


def test_station_beams_observe_side_by_side(observe: dict[str, Any]) -> None:
    block = shipped("ska_low")
    first = block["mccs_allocation"]["subarray_beams"][0]
    second = first | {"subarray_beam_id": 2, "scan_sequence": first["scan_sequence"][1:3]}
    block["mccs_allocation"]["subarray_beams"].append(second)

    scans = observe["scans_of"](block)

    assert len(scans) == 5
    assert scans[0] == (["Pictor A", "Large Magellanic Cloud"], 1.5)
    assert scans[2] == (["Pictor A"], 0.8)


def test_a_sequence_that_names_an_unknown_scan_is_refused_by_name(observe: dict[str, Any]) -> None:
    block = {"scan_definitions": [{"scan_definition_id": "a"}], "scan_sequence": ["a", "b"]}

    with pytest.raises(ValueError, match=r"names \['b'\]; defined are \['a'\]"):
        observe["scans_of"](block)


# --- the other scripts


@pytest.mark.parametrize(
    ("telescope", "receptors"),
    [
        ("ska_mid", ["SKA001", "SKA036", "SKA077", "SKA100"]),
        ("ska_low", ["station 345", "station 350", "station 352", "station 431"]),
    ],
)
def test_allocate_names_the_receptors_and_that_nothing_was_sent(
    tmp_path: Path, reports: FakeScript, telescope: str, receptors: list[str]
) -> None:
    allocate = load("allocate")

    allocate["init"](subarray_id=2)
    summary = allocate["main"](sb_json=installed_block(tmp_path, telescope), sbi_id="sbi-1")

    assert summary == {"subarray_id": 2, "receptors": receptors}
    assert reports.announced[-1].endswith("nothing was sent to the telescope")


def test_hello_greets_with_the_arguments_of_the_block(
    reports: FakeScript, capsys: pytest.CaptureFixture[str]
) -> None:
    hello = load("hello")
    given = shipped("ska_mid")["activities"]["hello"]["function_args"]

    hello["init"](*given["init"]["args"], **given["init"]["kwargs"])
    summary = hello["main"](
        *given["main"]["args"], **given["main"]["kwargs"], sb_json="block.json", sbi_id="sbi-1"
    )

    printed = capsys.readouterr()
    assert summary["said"] == ["Good evening, Carnarvon!", "Good evening, Cape Town!"] * 2
    assert "Good evening, Cape Town!\n" in printed.out
    assert "4 greetings" in printed.err
    assert reports.fractions[-1] == 1.0


def test_abort_says_that_it_aborts_nothing(reports: FakeScript) -> None:
    abort = load("abort")

    abort["init"](subarray_id=5)
    summary = abort["main"](reason="wind")

    assert summary == {"subarray_id": 5, "aborted": False}
    assert reports.announced == ["subarray 5 would be aborted; nothing was sent to the telescope"]


@pytest.mark.skipif(
    importlib.util.find_spec("ska_oso_activity.script") is None,
    reason="ska_oso_activity.script is not there yet",
)
def test_the_scripts_run_outside_an_activity_too(tmp_path: Path) -> None:
    summary = load("observe")["main"](installed_block(tmp_path, "ska_mid"), seconds_per_scan=0)

    assert summary["scans"] == 4
    assert summary["subarray_id"] is None
