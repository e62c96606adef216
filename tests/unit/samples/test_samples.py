"""The sample blocks have the shape of real ones, and their activities are the sample scripts."""

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
from ska_oso_activity.observing import Observation

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


def load(name: str) -> dict[str, Any]:
    """The functions of a script."""
    return runpy.run_path(str(SHIPPED / "scripts" / f"{name}.py"))


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


def test_both_blocks_are_observed_within_fifteen_seconds() -> None:
    steps = [Observation(read(path)).steps for path in SHIPPED_BLOCKS]

    assert all(3 <= len(each) <= 6 for each in steps)
    assert all(sum(step.duration for step in each) < 10 for each in steps)


@pytest.mark.parametrize("path", SHIPPED_BLOCKS, ids=lambda path: path.parent.name)
def test_every_activity_names_a_shipped_script_below_the_placeholder(path: Path) -> None:
    activities = read(path)["activities"]

    assert list(activities) == [
        "allocate_and_observe", "allocate", "observe", "release", "hello",
    ]  # fmt: skip
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


# --- the scripts


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


def test_the_abort_script_is_where_it_is_said_to_be() -> None:
    assert samples.ABORT_SCRIPT.is_file()
    assert samples.ABORT_SCRIPT.parent == SHIPPED / "scripts"
