"""What the port `Archive` promises: the same test for the fake and for the directory."""

import json

import pytest

from ska_oso_activity.adapters.filesystem_oda import FilesystemOda
from ska_oso_activity.application.ports import SchedulingBlockInstance
from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.errors import (
    OdaUnavailable,
    SchedulingBlockInvalid,
    SchedulingBlockNotFound,
)
from ska_oso_activity.domain.scheduling_block import BLOCK_LIMIT, BlockReference
from tests.fakes import SBD, FakeArchive

NEWEST = BlockReference.of_sbd_id(SBD)
INSTANCE = SchedulingBlockInstance(
    sbd_id=SBD,
    sbd_version=2,
    telescope="ska_mid",
    subarray_id=3,
    activity_name="observe",
    executed_at="2026-11-24T22:10:03.123456Z",
    runtime_args={"main": ProcedureInput((1,), {"a": "b"})},
)


class Fake:
    """The fake, and how a test fills it and looks into it."""

    def __init__(self, directory):
        self.archive = FakeArchive()
        self.file = directory / "blocks" / "a.json"

    def put(self, version, text):
        self.archive.put(text, version=version)

    def put_file(self, text):
        self.archive.files[str(self.file)] = text

    def statuses(self, sbi_id):
        return [status for each, status in self.archive.statuses if each == sbi_id]

    def take_away(self):
        self.archive.absent = True


class Directory:
    """The same for the directory."""

    def __init__(self, directory):
        self.oda = directory / "oda"
        self.oda.mkdir()
        self.file = directory / "blocks" / "a.json"
        self.file.parent.mkdir()
        self.archive = FilesystemOda(self.oda, [self.file.parent])

    def put(self, version, text):
        path = self.oda / "sbd" / SBD / f"{version}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())

    def put_file(self, text):
        self.file.write_bytes(text.encode())

    def statuses(self, sbi_id):
        directory = self.oda / "sbi_status_history" / sbi_id
        files = sorted(directory.glob("[0-9]*.json"), key=lambda path: int(path.stem))
        return [json.loads(path.read_text())["current_status"] for path in files]

    def take_away(self):
        self.oda.rename(self.oda.with_name("elsewhere"))


@pytest.fixture(params=[Fake, Directory], ids=["fake", "directory"])
def kept(request, tmp_path):
    return request.param(tmp_path)


def test_the_newest_version_or_the_one_that_is_asked_for_is_fetched(kept):
    for version in (1, 2, 10):
        kept.put(version, f"{{\r\n\u03b1 {version}}}")

    newest = kept.archive.fetch(NEWEST)
    older = kept.archive.fetch(BlockReference.parse(f"oda://{SBD}?version=2"))

    assert (newest.version, newest.content) == (10, "{\r\n\u03b1 10}")
    assert (older.version, older.content) == (2, "{\r\n\u03b1 2}")


def test_a_file_has_no_version(kept):
    kept.put_file("{}")

    fetched = kept.archive.fetch(BlockReference.parse(kept.file.as_uri()))

    assert (fetched.version, fetched.content) == (None, "{}")


def test_what_is_not_there_is_not_found(kept):
    kept.put(1, "{}")

    for uri in ("oda://other", f"oda://{SBD}?version=2", kept.file.as_uri()):
        with pytest.raises(SchedulingBlockNotFound):
            kept.archive.fetch(BlockReference.parse(uri))


def test_a_block_that_is_too_large_is_invalid(kept):
    kept.put(1, " " * BLOCK_LIMIT)
    kept.archive.fetch(NEWEST)
    kept.put(2, " " * (BLOCK_LIMIT + 1))

    with pytest.raises(SchedulingBlockInvalid):
        kept.archive.fetch(NEWEST)


def test_an_sbi_is_created_under_a_new_id_and_its_statuses_are_kept_in_order(kept):
    first, second = kept.archive.create_sbi(INSTANCE), kept.archive.create_sbi(INSTANCE)
    for status in ("Executing", "Observed"):
        kept.archive.update_sbi_status(first, status)

    assert first != second
    assert kept.statuses(first) == ["Created", "Executing", "Observed"]
    assert kept.statuses(second) == ["Created"]


def test_an_archive_that_is_away_says_so_to_every_question(kept):
    sbi_id = kept.archive.create_sbi(INSTANCE)
    kept.archive.check()
    kept.take_away()

    for ask in (
        kept.archive.check,
        lambda: kept.archive.fetch(NEWEST),
        lambda: kept.archive.create_sbi(INSTANCE),
        lambda: kept.archive.update_sbi_status(sbi_id, "Observed"),
    ):
        with pytest.raises(OdaUnavailable):
            ask()
