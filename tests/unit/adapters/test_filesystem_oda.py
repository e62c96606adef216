"""The archive in a directory gives blocks byte for byte, and keeps SBIs and their status."""

import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ska_oso_activity.adapters.filesystem_oda import FilesystemOda
from ska_oso_activity.adapters.script_source import Roots
from ska_oso_activity.application.ports import SchedulingBlockInstance
from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.errors import (
    OdaUnavailable,
    SchedulingBlockInvalid,
    SchedulingBlockNotFound,
)
from ska_oso_activity.domain.scheduling_block import BLOCK_LIMIT, BlockReference
from tests.unit.adapters.shared_data import SHARED, needs_shared_data

ID = "sbd-t0001-20241028-00008"
REFERENCE = BlockReference.of_sbd_id(ID)
INSTANCE = SchedulingBlockInstance(
    sbd_id=ID,
    sbd_version=2,
    telescope="ska_mid",
    subarray_id=3,
    activity_name="observe",
    executed_at="2026-11-24T22:10:03.123456Z",
    runtime_args={"main": ProcedureInput((1,), {"a": "b"})},
)


def version(number: int) -> BlockReference:
    return BlockReference.parse(f"oda://{ID}?version={number}")


def file(path: Path) -> BlockReference:
    return BlockReference.parse(path.as_uri())


def store(directory: Path, number: int, content: bytes = b"{}") -> Path:
    path = directory / "sbd" / ID / f"{number}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put(path: Path, **document: Any) -> Path:
    path.write_text(json.dumps({"activities": {}, **document}), encoding="utf-8")
    return path


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# --- Versions


def test_the_greatest_version_is_current(tmp_path):
    for number in (1, 2, 10):
        store(tmp_path, number, f'"{number}"'.encode())
    (tmp_path / "sbd" / ID / "11.json.tmp").write_text("half")
    (tmp_path / "sbd" / ID / "note.json").write_text("{}")

    fetched = FilesystemOda(tmp_path).fetch(REFERENCE)

    assert (fetched.version, fetched.content) == (10, '"10"')


def test_a_version_that_is_asked_for_is_given(tmp_path):
    store(tmp_path, 1, b"one")
    store(tmp_path, 2, b"two")

    fetched = FilesystemOda(tmp_path).fetch(version(1))

    assert (fetched.version, fetched.content) == (1, "one")


def test_a_version_that_is_missing_is_not_found(tmp_path):
    store(tmp_path, 1)
    store(tmp_path, 2)

    with pytest.raises(SchedulingBlockNotFound, match=r"no version 3 .* it has 1, 2"):
        FilesystemOda(tmp_path).fetch(version(3))


def test_an_id_that_is_missing_is_not_found_and_no_path_is_told(tmp_path):
    (tmp_path / "sbd" / ID).mkdir(parents=True)

    with pytest.raises(SchedulingBlockNotFound, match=f"the archive has no .* {ID}") as error:
        FilesystemOda(tmp_path).fetch(REFERENCE)

    assert str(tmp_path) not in str(error.value)


# --- Content


def test_the_text_comes_byte_for_byte(tmp_path):
    content = '{"a": "λ 🔭\\u00e9",\r\n\t"b": "\x7f"}\r'.encode()
    store(tmp_path, 1, content)

    fetched = FilesystemOda(tmp_path).fetch(REFERENCE)

    assert fetched.content.encode("utf-8") == content


def test_what_is_not_utf_8_is_invalid(tmp_path):
    store(tmp_path, 1, b'{"a": "\xff"}')

    with pytest.raises(SchedulingBlockInvalid, match="UTF-8"):
        FilesystemOda(tmp_path).fetch(REFERENCE)


def test_what_is_too_large_is_invalid_and_never_read(tmp_path):
    os.truncate(store(tmp_path, 1), 200 * 1024 * 1024)

    with pytest.raises(SchedulingBlockInvalid, match=f"larger than {BLOCK_LIMIT} bytes"):
        FilesystemOda(tmp_path).fetch(REFERENCE)


def test_a_fifo_in_the_archive_is_invalid_and_does_not_block(tmp_path):
    path = store(tmp_path, 1)
    path.unlink()
    os.mkfifo(path)

    with pytest.raises(SchedulingBlockInvalid, match="not a regular file"):
        FilesystemOda(tmp_path).fetch(REFERENCE)


def test_a_link_out_of_the_archive_is_not_followed(tmp_path):
    outside = put(tmp_path / "outside.json", sbd_id=ID)
    path = store(tmp_path / "oda", 1)
    path.unlink()
    path.symlink_to(outside)

    with pytest.raises(SchedulingBlockNotFound):
        FilesystemOda(tmp_path / "oda").fetch(REFERENCE)


def test_a_link_within_the_archive_is_followed(tmp_path):
    put(tmp_path / "..data.json", sbd_id=ID, telescope="ska_low")
    (tmp_path / "block.json").symlink_to("..data.json")

    assert "ska_low" in FilesystemOda(tmp_path).fetch(REFERENCE).content


# --- A plain folder


def test_in_a_plain_folder_blocks_are_found_by_the_id_they_hold(tmp_path):
    put(tmp_path / "some.json", sbd_id=ID, metadata={"version": 3})
    put(tmp_path / "other.json", sbd_id="sbd-other")
    put(tmp_path / "draft.json")
    (tmp_path / "notes.json").write_text("not a block")

    oda = FilesystemOda(tmp_path)

    assert oda.fetch(REFERENCE).version == 3
    assert oda.fetch(BlockReference.of_sbd_id("sbd-other")).version == 1
    assert oda.fetch(version(3)).version == 3
    with pytest.raises(SchedulingBlockNotFound):
        oda.fetch(version(1))


def test_a_plain_folder_is_read_again_only_where_it_changed(tmp_path):
    for number in range(300):
        put(tmp_path / f"{number}.json", sbd_id=f"sbd-{number}")
    oda = FilesystemOda(tmp_path)
    oda.fetch(BlockReference.of_sbd_id("sbd-7"))
    read: list[str] = []
    oda._archive = Recorder(tmp_path, read)

    put(tmp_path / "8.json", sbd_id="sbd-new")
    (tmp_path / "9.json").unlink()
    oda.fetch(BlockReference.of_sbd_id("sbd-new"))

    assert read == ["8.json", "8.json"]  # to know what it holds, and to give it
    with pytest.raises(SchedulingBlockNotFound):
        oda.fetch(BlockReference.of_sbd_id("sbd-9"))


class Recorder(Roots):
    """Roots that note what is read."""

    def __init__(self, directory: Path, noted: list[str]) -> None:
        super().__init__([directory])
        self._noted = noted

    def read(self, path, limit):
        self._noted.append(Path(path).name)
        return super().read(path, limit)


def test_of_two_files_of_one_version_the_last_by_name_is_given(tmp_path):
    put(tmp_path / "oet-5.json", sbd_id=ID, telescope="ska_mid", from_=5)
    put(tmp_path / "oet-6.json", sbd_id=ID, telescope="ska_mid", from_=6)

    assert load_content(tmp_path)["from_"] == 6


def test_no_guess_is_made_between_two_telescopes(tmp_path):
    put(tmp_path / "low.json", sbd_id=ID, telescope="ska_low")
    put(tmp_path / "mid.json", sbd_id=ID, telescope="ska_mid")

    with pytest.raises(SchedulingBlockInvalid, match="twice, for different telescopes"):
        FilesystemOda(tmp_path).fetch(REFERENCE)


def test_a_file_that_is_no_block_is_found_by_its_name_so_that_it_can_be_told_what_is_wrong(
    tmp_path,
):
    (tmp_path / f"{ID}.json").write_bytes(b"\xff")

    with pytest.raises(SchedulingBlockInvalid, match="UTF-8"):
        FilesystemOda(tmp_path).fetch(REFERENCE)


def test_a_good_block_goes_before_a_broken_file_of_its_name(tmp_path):
    (tmp_path / f"{ID}.json").write_bytes(b"\xff")
    put(tmp_path / "good.json", sbd_id=ID, telescope="ska_mid")

    assert load_content(tmp_path)["telescope"] == "ska_mid"


def load_content(directory: Path) -> Any:
    return json.loads(FilesystemOda(directory).fetch(REFERENCE).content)


@needs_shared_data
def test_a_folder_of_real_blocks_is_an_archive():
    fetched = FilesystemOda(SHARED / "sbd").fetch(BlockReference.of_sbd_id("sbd-gzvarv3s502"))

    assert fetched.version == 3
    assert '"pdm_version"' in fetched.content


# --- Files


def test_a_file_beneath_the_block_roots_is_read(tmp_path):
    path = put(tmp_path / "λ draft.json")
    oda = FilesystemOda(tmp_path / "oda", [tmp_path])

    fetched = oda.fetch(file(path))

    assert oda.allows(file(path))
    assert oda.allows(REFERENCE)
    assert (fetched.version, fetched.content) == (None, path.read_text())


def test_a_file_elsewhere_is_not_allowed_whether_it_exists_or_not(tmp_path):
    (tmp_path / "root").mkdir()
    outside = put(tmp_path / "outside.json")
    link = tmp_path / "root" / "link.json"
    link.symlink_to(outside)
    (tmp_path / "root" / "up").symlink_to("..")
    oda = FilesystemOda(tmp_path / "oda", [tmp_path / "root"])

    for path in (outside, link, tmp_path / "none.json", tmp_path / "root" / "up" / "outside.json"):
        assert not oda.allows(file(path))
        with pytest.raises(SchedulingBlockNotFound, match="there is no Scheduling Block"):
            oda.fetch(file(path))


def test_a_sibling_whose_name_begins_like_a_root_is_not_allowed(tmp_path):
    sibling = tmp_path / "blocks-private"
    sibling.mkdir()

    assert not FilesystemOda(tmp_path, [tmp_path / "blocks"]).allows(file(sibling / "x.json"))


def test_without_block_roots_no_file_is_allowed(tmp_path):
    assert not FilesystemOda(tmp_path).allows(file(put(tmp_path / "x.json")))


def test_a_file_that_is_missing_is_not_found(tmp_path):
    oda = FilesystemOda(tmp_path, [tmp_path])

    assert oda.allows(file(tmp_path / "none.json"))
    with pytest.raises(SchedulingBlockNotFound):
        oda.fetch(file(tmp_path / "none.json"))


def test_a_fifo_or_directory_is_no_block(tmp_path):
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "directory.json").mkdir()
    oda = FilesystemOda(tmp_path, [tmp_path])

    for name in ("fifo.json", "directory.json"):
        with pytest.raises(SchedulingBlockInvalid, match="not a regular file"):
            oda.fetch(file(tmp_path / name))


# --- The archive itself


def test_an_archive_that_is_not_there_is_unavailable(tmp_path):
    oda = FilesystemOda(tmp_path / "none")

    with pytest.raises(OdaUnavailable):
        oda.check()
    with pytest.raises(OdaUnavailable):
        oda.fetch(REFERENCE)
    with pytest.raises(OdaUnavailable):
        oda.create_sbi(INSTANCE)
    with pytest.raises(OdaUnavailable):
        oda.update_sbi_status("sbi-1", "Executing")
    assert not (tmp_path / "none").exists()


def test_an_archive_that_is_back_is_available(tmp_path):
    oda = FilesystemOda(tmp_path / "oda")
    store(tmp_path / "oda", 1)

    oda.check()

    assert oda.fetch(REFERENCE).version == 1


# --- SBIs


def test_an_sbi_is_written_in_the_shape_of_the_project_data_model(tmp_path):
    sbi_id = FilesystemOda(tmp_path).create_sbi(INSTANCE)

    assert re.fullmatch(r"sbi-local-\d{8}-\d{15}", sbi_id)
    assert [path.name for path in (tmp_path / "sbi" / sbi_id).iterdir()] == ["1.json"]
    sbi = load(tmp_path / "sbi" / sbi_id / "1.json")
    metadata = sbi.pop("metadata")
    assert metadata.keys() == {
        "version",
        "created_by",
        "created_on",
        "last_modified_by",
        "last_modified_on",
    }
    assert metadata["version"] == 1
    assert sbi == {
        "interface": "https://schema.skao.int/ska-oso-pdm-sbi/0.1",
        "sbi_id": sbi_id,
        "telescope": "ska_mid",
        "sbd_ref": ID,
        "sbd_version": 2,
        "subarray_id": 3,
        "activities": [
            {
                "activity_ref": "observe",
                "executed_at": "2026-11-24T22:10:03.123456Z",
                "runtime_args": [
                    {
                        "function_name": "main",
                        "function_args": {"args": [1], "kwargs": {"a": "b"}},
                    }
                ],
            }
        ],
    }


@needs_shared_data
def test_sbis_and_status_have_the_keys_of_real_ones(tmp_path):
    real_sbi = load(next((SHARED / "oda").glob("*multiple_sbis*")))[0]
    real_status = load(next((SHARED / "oda").glob("*status_history*")))[0]

    sbi_id = FilesystemOda(tmp_path).create_sbi(INSTANCE)

    # `eb_ref` is the script's to add, and `status` is joined to it by those who read it.
    sbi = load(tmp_path / "sbi" / sbi_id / "1.json")
    assert sbi.keys() == real_sbi.keys() - {"eb_ref", "status"}
    assert sbi["metadata"].keys() == real_sbi["metadata"].keys()
    assert sbi["activities"][0].keys() == real_sbi["activities"][0].keys()
    status = load(tmp_path / "sbi_status_history" / sbi_id / "1.json")
    assert status.keys() == real_status.keys()
    assert status["metadata"].keys() == real_status["metadata"].keys()


def test_the_status_history_is_kept_in_order(tmp_path):
    oda = FilesystemOda(tmp_path)
    sbi_id = oda.create_sbi(INSTANCE)

    oda.update_sbi_status(sbi_id, "Executing")
    oda.update_sbi_status(sbi_id, "Observed")

    history = [load(tmp_path / "sbi_status_history" / sbi_id / f"{n}.json") for n in (1, 2, 3)]
    assert [(record["previous_status"], record["current_status"]) for record in history] == [
        ("Created", "Created"),
        ("Created", "Executing"),
        ("Executing", "Observed"),
    ]


def test_ids_are_unique_among_archives_at_work_at_once(tmp_path):
    archives = [FilesystemOda(tmp_path) for _ in range(8)]

    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(lambda n: archives[n % 8].create_sbi(INSTANCE), range(80)))

    assert len(set(ids)) == 80
    assert sorted(path.name for path in (tmp_path / "sbi").iterdir()) == sorted(ids)


def test_statuses_written_at_once_are_all_kept(tmp_path):
    sbi_id = FilesystemOda(tmp_path).create_sbi(INSTANCE)

    with ThreadPoolExecutor(8) as threads:
        list(
            threads.map(
                lambda n: FilesystemOda(tmp_path).update_sbi_status(sbi_id, f"S{n}"), range(40)
            )
        )

    directory = tmp_path / "sbi_status_history" / sbi_id
    written = {load(path)["current_status"] for path in directory.iterdir()}
    assert written == {"Created", *(f"S{n}" for n in range(40))}


def test_a_status_half_written_in_a_crash_takes_its_number_with_it(tmp_path):
    oda = FilesystemOda(tmp_path)
    sbi_id = oda.create_sbi(INSTANCE)
    directory = tmp_path / "sbi_status_history" / sbi_id
    (directory / ".2.json").write_text('{"current')

    oda.update_sbi_status(sbi_id, "Executing")

    assert load(directory / "3.json")["previous_status"] == "Created"


def test_an_sbi_that_could_not_be_written_leaves_nothing(tmp_path, monkeypatch):
    oda = FilesystemOda(tmp_path)
    monkeypatch.setattr(
        os, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
    )

    with pytest.raises(OdaUnavailable, match="No space left"):
        oda.create_sbi(INSTANCE)

    assert not [path for path in tmp_path.rglob("*") if stat.S_ISREG(path.stat().st_mode)]


def test_an_sbi_is_on_disk_with_the_first_status_after_created(tmp_path, monkeypatch):
    synced = []
    sync = os.fsync

    def note_and_sync(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        sync(fd)

    monkeypatch.setattr(os, "fsync", note_and_sync)
    oda = FilesystemOda(tmp_path)
    sbi_id = oda.create_sbi(INSTANCE)
    assert synced == []  # main does not wait for the disk

    oda.update_sbi_status(sbi_id, "Executing")

    directory = tmp_path / "sbi" / sbi_id
    assert {str(directory / "1.json"), str(directory), str(directory.parent)} <= set(synced)
    synced.clear()
    oda.update_sbi_status(sbi_id, "Observed")
    history = tmp_path / "sbi_status_history" / sbi_id
    assert synced == [str(history / ".3.json"), str(history)]


def test_a_status_for_what_is_no_id_is_refused(tmp_path):
    with pytest.raises(OdaUnavailable, match="not the id of an SBI"):
        FilesystemOda(tmp_path).update_sbi_status("../x", "Executing")
