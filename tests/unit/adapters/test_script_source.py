"""The door lets in scripts of allowed roots, and nothing else."""

import os
import socket
import stat
from pathlib import Path

import pytest

from ska_oso_activity.adapters.script_source import SCRIPT_LIMIT, ScriptDoor
from ska_oso_activity.application.ports import LocatedScript
from ska_oso_activity.domain.errors import (
    ActivityError,
    EnvironmentFailed,
    ScriptNotAllowed,
    ScriptNotFound,
)
from ska_oso_activity.domain.script import FileSystemScript, GitScript, InlineScript
from tests.unit.adapters.shared_data import bad_inputs


class FakeGit:
    """Git repositories that allow all and hold nothing."""

    def __init__(self):
        self.admitted = []

    def admit(self, script):
        self.admitted.append(script)

    def locate(self, script, *, report, cancelled):
        report("cloning")
        return LocatedScript(Path("/checkout/x.py"), script.to_json())


class Place:
    """A root with a script in it, something outside, and the door."""

    def __init__(self, directory):
        self.root = directory / "scripts"
        self.root.mkdir()
        self.script = self.root / "observe.py"
        self.script.write_text("def main(): ...\n")
        self.outside = directory / "evil.py"
        self.outside.write_text("raise SystemExit\n")
        self.inline = directory / "inline"
        self.git = FakeGit()
        self.door = self.open(self.root)

    def open(self, *roots, allow_inline=False):
        return ScriptDoor(roots, allow_inline, self.git, self.inline)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def locate(door, script):
    return door.locate(script, report=lambda _: None, cancelled=lambda: False)


def refused(door, uri, error=ScriptNotAllowed, match=None):
    """Both ways in refuse, in the same words."""
    script = FileSystemScript(uri)
    with pytest.raises(error, match=match) as first:
        door.admit(script)
    with pytest.raises(error) as second:
        locate(door, script)
    assert str(first.value) == str(second.value)
    assert str(first.value).isprintable()
    return str(first.value)


def test_a_script_beneath_a_root_is_located(place):
    script = FileSystemScript(place.script.as_uri())

    place.door.admit(script)
    located = locate(place.door, script)

    assert located == LocatedScript(place.script, script.to_json())
    assert not place.door.needs_environment(script)


@pytest.mark.parametrize("name", ["λ.py", "with space.py", "50%.py", "🔭.py"])
def test_names_beyond_ascii_work_escaped_or_not(place, name):
    path = place.root / name
    path.write_text("def main(): ...\n")

    assert locate(place.door, FileSystemScript(path.as_uri())).path == path
    plain = f"file://{path}".replace("%", "%25")
    assert locate(place.door, FileSystemScript(plain)).path == path


def test_a_link_within_the_roots_is_followed_to_the_real_file(place):
    (place.root / "link.py").symlink_to("observe.py")

    located = locate(place.door, FileSystemScript(f"file://{place.root}/link.py"))

    assert located.path == place.script


def test_a_root_may_itself_be_a_link(place, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(place.root)
    door = place.open(link)

    assert locate(door, FileSystemScript((link / "observe.py").as_uri())).path == place.script
    assert locate(door, FileSystemScript(place.script.as_uri())).path == place.script


def test_a_script_elsewhere_is_refused_in_the_same_words_whether_it_exists_or_not(place, tmp_path):
    there = refused(place.door, place.outside.as_uri(), match="property ScriptRoots")
    missing = refused(place.door, f"file://{tmp_path}/none.py", match="property ScriptRoots")

    assert there.replace("evil", "none") == missing


def test_a_link_out_of_the_roots_is_refused(place, tmp_path):
    (place.root / "link.py").symlink_to(place.outside)
    (place.root / "up").symlink_to(tmp_path)
    (place.root / "dangling.py").symlink_to(tmp_path / "none.py")

    for name in ("link.py", "up/evil.py", "dangling.py"):
        refused(place.door, f"file://{place.root}/{name}", match="not beneath an allowed root")


def test_a_sibling_whose_name_begins_like_a_root_is_refused(place, tmp_path):
    (tmp_path / "scripts-private").mkdir()
    (tmp_path / "scripts-private" / "x.py").touch()

    refused(place.door, f"file://{tmp_path}/scripts-private/x.py")


def test_without_roots_nothing_is_allowed(place):
    refused(place.open(), place.script.as_uri())


@pytest.mark.parametrize("root", ["", ".", "scripts"])
def test_a_root_that_is_not_absolute_is_refused_at_once(place, root):
    with pytest.raises(ValueError, match="absolute"):
        place.open(Path(root))


def test_a_script_missing_beneath_a_root_is_not_found(place):
    refused(place.door, f"file://{place.root}/none.py", ScriptNotFound)
    refused(place.door, f"file://{place.root}/observe.py/x.py", ScriptNotFound)


def test_what_is_not_a_regular_file_is_refused_and_does_not_block(place, monkeypatch):
    os.mkfifo(place.root / "fifo.py")
    (place.root / "directory.py").mkdir()
    monkeypatch.chdir(place.root)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.py")
        for name in ("fifo.py", "directory.py", "socket.py"):
            refused(place.door, f"file://{place.root}/{name}", match="not a regular file")


def test_devices_are_refused_even_if_everything_is_a_root(place):
    door = place.open(Path("/"))

    for path in ("/dev/zero", "/dev/stdin", "/dev/null"):
        refused(door, f"file://{path}", ActivityError)


def test_links_in_a_circle_are_refused(place):
    (place.root / "a.py").symlink_to("b.py")
    (place.root / "b.py").symlink_to("a.py")

    refused(place.door, f"file://{place.root}/a.py", ActivityError)


def test_a_script_that_is_too_large_is_refused(place):
    os.truncate(place.script, SCRIPT_LIMIT + 1)

    refused(place.door, place.script.as_uri(), match="larger than")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_script_that_may_not_be_read_is_refused(place):
    place.script.chmod(0)

    refused(place.door, place.script.as_uri(), match="cannot be read")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "observe.py",
        "file:",
        "file://",
        "file:///",
        "file://host{root}/observe.py",
        "file:{root}/observe.py",
        "FILE://{root}/observe.py",
        "file://{root}/../scripts/observe.py",
        "file://{root}/%2e%2e/scripts/observe.py",
        "file://{root}/./observe.py",
        "file://{root}//observe.py",
        "file://{root}/observe.py/",
        "file://{root}/observe.py?x",
        "file://{root}/observe.py#x",
        "file://{root}/observe.py%00",
        "file://{root}/observe.py\0",
        "file://{root}/observe.py\n",
        "file://{root}/\u202eyp.py",
        "file://{root}/\ud800.py",
        "file://{root}/%ff.py",
        "{root}/observe.py",
        "http://host{root}/observe.py",
    ],
)
def test_a_uri_that_is_not_clean_is_refused(place, uri):
    refused(place.door, uri.replace("{root}", str(place.root)), match="not of the form")


def test_a_very_long_name_is_refused_or_not_found(place):
    refused(place.door, f"file://{place.root}/{'a' * 100_000}.py", ActivityError)


@pytest.mark.parametrize("case", bad_inputs("path"))
def test_the_shared_bad_paths_get_their_answer(place, case):
    (place.root / "link_to_tmp_evil.py").symlink_to(place.outside)
    (place.root / "x.py").write_text("def main(): ...\n")
    (place.root / "\u03b1.py").write_text("def main(): ...\n")
    os.mkfifo(place.root / "fifo")
    uri = (
        case["input"]
        .replace("/scripts/", f"{place.root}/")
        .replace("/tmp/fifo", f"{place.root}/fifo")
    )

    if case["expected"].startswith("works"):
        assert locate(place.door, FileSystemScript(uri)).path.is_file()
    else:
        refused(place.door, uri, (ScriptNotAllowed, ScriptNotFound))


# --- Inline scripts


def test_inline_scripts_are_refused_unless_a_property_allows_them(place):
    with pytest.raises(ScriptNotAllowed, match="property AllowInlineScripts"):
        place.door.admit(InlineScript("def main(): ..."))
    with pytest.raises(ScriptNotAllowed):
        locate(place.door, InlineScript("def main(): ..."))

    assert not place.inline.exists()


def test_an_inline_script_is_written_for_us_alone_named_by_its_content(place):
    door = place.open(allow_inline=True)
    script = InlineScript("def main(): return 'λ'\r\n")

    door.admit(script)
    first = locate(door, script)
    again = locate(door, script)

    assert first == again
    assert first.path.read_bytes() == script.content.encode()
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.inline.stat().st_mode) == 0o700
    assert list(place.inline.iterdir()) == [first.path]


@pytest.mark.parametrize("content", ["\ud800", "x" * (SCRIPT_LIMIT + 1)])
def test_an_inline_script_that_is_no_text_or_too_large_is_refused(place, content):
    with pytest.raises(ScriptNotAllowed):
        place.open(allow_inline=True).admit(InlineScript(content))


def test_inline_scripts_are_not_written_where_others_can_swap_them(place, tmp_path):
    door = place.open(allow_inline=True)
    place.inline.mkdir()
    place.inline.chmod(0o777)

    with pytest.raises(EnvironmentFailed, match="not ours alone"):
        locate(door, InlineScript("def main(): ..."))

    place.inline.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    place.inline.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EnvironmentFailed, match="not ours alone"):
        locate(door, InlineScript("def main(): ..."))


def test_inline_scripts_do_not_fill_the_disk(place, monkeypatch):
    monkeypatch.setattr("ska_oso_activity.adapters.script_source.INLINE_KEPT", 3)
    door = place.open(allow_inline=True)

    last = [locate(door, InlineScript(f"x = {number}")).path for number in range(10)][-1]

    assert len(list(place.inline.iterdir())) == 3
    assert last.exists()


# --- Git scripts


def test_git_scripts_are_left_to_the_repositories(place):
    script = GitScript("git://x.py", "https://host/r")

    place.door.admit(script)

    assert place.git.admitted == [script]
    assert locate(place.door, script).described == script.to_json()
    assert place.door.needs_environment(script)
