"""Blocks are written for scripts byte for byte, in a directory that is ours alone."""

import os
import pwd
import re
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ska_oso_activity.adapters.block_files import PrivateBlockFiles
from ska_oso_activity.domain.errors import EnvironmentFailed
from ska_oso_activity.domain.procedure import BlockContent
from tests.fakes import FakeBlockFiles

BLOCK = BlockContent("sbd-1", 2, "{ \u03b1 \U0001f52d }\r\n")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_block_is_written_byte_for_byte_and_for_us_alone(tmp_path):
    path = PrivateBlockFiles(tmp_path / "sbs").write(BLOCK)

    assert path.read_bytes() == BLOCK.content.encode()
    assert path.parent == tmp_path / "sbs"
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


@pytest.mark.parametrize(
    ("block", "name"),
    [
        (BLOCK, r"sbd-1-2-\d{8}T\d{12}Z\.json"),
        (BlockContent(None, 3, "{}"), r"draft-3-\d{8}T\d{12}Z\.json"),
        (BlockContent(None, None, "{}"), r"draft-1-\d{8}T\d{12}Z\.json"),
    ],
)
def test_its_name_says_which_block_and_when(tmp_path, block, name):
    path = PrivateBlockFiles(tmp_path / "sbs").write(block)

    assert re.fullmatch(name, path.name)


@pytest.mark.parametrize(
    "files", [PrivateBlockFiles, lambda _: FakeBlockFiles()], ids=["real", "fake"]
)
def test_every_script_has_a_file_of_its_own_until_it_is_removed(tmp_path, files):
    blocks = files(tmp_path / "sbs")
    first, second = blocks.write(BLOCK), blocks.write(BLOCK)
    blocks.remove(str(first))
    blocks.remove(str(first))

    assert first != second
    blocks.remove(str(second))


def test_two_scripts_at_the_same_instant_get_two_files(tmp_path):
    blocks = PrivateBlockFiles(tmp_path / "sbs")
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: blocks.write(BLOCK), range(64)))

    assert len(set(paths)) == 64
    assert all(path.read_bytes() == BLOCK.content.encode() for path in paths)


def test_a_file_is_removed(tmp_path):
    blocks = PrivateBlockFiles(tmp_path / "sbs")
    path = blocks.write(BLOCK)

    blocks.remove(str(path))

    assert not path.exists()


def foreign_mode(directory):
    directory.mkdir()
    directory.chmod(0o755)


def symbolic_link(directory):
    elsewhere = directory.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    directory.symlink_to(elsewhere)


def plain_file(directory):
    directory.write_text("")


@pytest.mark.parametrize("trap", [foreign_mode, symbolic_link, plain_file])
def test_a_directory_that_is_not_ours_alone_is_not_used(tmp_path, trap):
    trap(tmp_path / "sbs")
    blocks = PrivateBlockFiles(tmp_path / "sbs")

    with pytest.raises(EnvironmentFailed, match="SchedulingBlockDirectory"):
        blocks.write(BLOCK)
    with pytest.raises(EnvironmentFailed, match="SchedulingBlockDirectory"):
        blocks.check()
    assert list(tmp_path.glob("**/*.json")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_not_used(tmp_path):
    (tmp_path / "sbs").mkdir(mode=0o700)
    os.chown(tmp_path / "sbs", 12345, -1)

    with pytest.raises(EnvironmentFailed, match="not private"):
        PrivateBlockFiles(tmp_path / "sbs").write(BLOCK)


def test_text_that_cannot_be_written_leaves_no_file(tmp_path):
    with pytest.raises(EnvironmentFailed, match="could not be written"):
        PrivateBlockFiles(tmp_path / "sbs").write(BlockContent("a", 1, "\ud800"))

    assert list((tmp_path / "sbs").iterdir()) == []


def test_no_descriptor_is_left_open(tmp_path):
    blocks = PrivateBlockFiles(tmp_path / "sbs")
    blocks.write(BLOCK)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        blocks.write(BLOCK)
        blocks.check()

    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_script_that_runs_as_another_user_reads_its_own_block_and_lists_nothing(tmp_path):
    user = pwd.getpwnam("nobody")
    tmp_path.chmod(0o711)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    PrivateBlockFiles(tmp_path / "sbs").check()

    path = PrivateBlockFiles(tmp_path / "sbs", "nobody").write(BLOCK)

    as_nobody = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    read = subprocess.run(["cat", path], check=True, capture_output=True, **as_nobody)
    assert read.stdout.decode() == BLOCK.content
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["ls", path.parent], check=True, capture_output=True, **as_nobody)
    assert path.stat().st_mode & 0o777 == 0o600
    PrivateBlockFiles(tmp_path / "sbs").check()
    assert path.parent.stat().st_mode & 0o777 == 0o700
