"""Git scripts come from allowed repositories, by commit, and from nowhere else."""

import os
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ska_oso_activity.adapters.environments import Environments
from ska_oso_activity.adapters.git_repositories import CachedGitRepositories
from ska_oso_activity.adapters.shelf import IDLE_S
from ska_oso_activity.domain.errors import (
    ActivityError,
    EnvironmentFailed,
    ScriptNotAllowed,
    ScriptNotFound,
)
from ska_oso_activity.domain.script import GitScript
from tests.unit.adapters.repositories import SCRIPT, GitServer, Repository
from tests.unit.adapters.shared_data import bad_inputs

GITLAB = "https://gitlab.com/ska-telescope/"
ALLOWED = f"{GITLAB}oso/ska-oso-scripting"


class Place:
    """A repository beneath an allowed prefix, and a cache."""

    def __init__(self, directory):
        self.directory = directory
        self.origin = Repository(directory / "repos" / "scripting")
        self.first = self.origin.commit(x=SCRIPT)
        self.second = self.origin.commit(x=SCRIPT + "# 2\n", scripts__y=SCRIPT)
        self.cache = directory / "cache"
        self.reports = []
        self.repositories = self.open()

    def open(self, prefix=None, cls=CachedGitRepositories, **settings):
        settings = {"timeout_s": 30.0, "max_bytes": 50_000_000, **settings}
        prefixes = [f"file://{self.directory}/repos/" if prefix is None else prefix, GITLAB]
        environments = Environments(self.directory / "environments", 60)
        return cls(self.cache, prefixes, environments=environments, **settings)

    def locate(self, repositories=None, cancelled=lambda: False, **fields):
        script = GitScript(**{"uri": "git://x.py", "repo": self.origin.url, **fields})
        return (repositories or self.repositories).locate(
            script, report=self.reports.append, cancelled=cancelled
        )

    def checkouts(self):
        if not self.cache.exists():
            return []
        return [path for path in self.cache.iterdir() if not path.name.startswith(".")]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def admit(repositories, **script):
    repositories.admit(GitScript(**{"uri": "git://x.py", "repo": ALLOWED, **script}))


# --- What is allowed


@pytest.mark.parametrize(
    ("prefix", "repo"),
    [
        (GITLAB, f"{GITLAB}x"),
        (GITLAB, f"{GITLAB}oso/deep/x.git"),
        (GITLAB, "https://GitLab.com/ska-telescope/x"),
        ("https://gitlab.com/ska-telescope", f"{GITLAB}x"),
        (ALLOWED, ALLOWED),
        (ALLOWED, f"{ALLOWED}.git"),
        (f"{ALLOWED}.git", ALLOWED),
        ("https://gitlab.com", "https://gitlab.com/anybody/x"),
        ("https://host:8443/", "https://host:8443/x"),
        ("http://host/", "http://host/x"),
    ],
)
def test_repositories_beneath_an_allowed_prefix_are_admitted(tmp_path, prefix, repo):
    repositories = CachedGitRepositories(tmp_path, [prefix], 1, 1, Environments(tmp_path, 1))

    admit(repositories, repo=repo)


@pytest.mark.parametrize(
    ("prefix", "repo"),
    [
        (GITLAB, "https://gitlab.com/ska-telescope"),
        (GITLAB, "https://gitlab.com/ska-telescope-evil/x"),
        (GITLAB, "https://gitlab.com/x"),
        (GITLAB, "https://gitlab.com.evil.example/ska-telescope/x"),
        (GITLAB, "https://gitlab.com./ska-telescope/x"),
        (GITLAB, "https://gitlab.com:443/ska-telescope/x"),
        (GITLAB, "http://gitlab.com/ska-telescope/x"),
        (GITLAB, "HTTPS://gitlab.com/ska-telescope/x"),
        (GITLAB, f"{GITLAB}../evil/x"),
        (GITLAB, f"{GITLAB}%2e%2e/evil/x"),
        (GITLAB, f"{GITLAB}/x"),
        (GITLAB, f"{GITLAB}x/"),
        (GITLAB, f"{GITLAB}-x"),
        (GITLAB, f"{GITLAB}x?y"),
        (GITLAB, f"{GITLAB}x#y"),
        (GITLAB, f"{GITLAB}x\\y"),
        (GITLAB, f"{GITLAB}x\n"),
        (GITLAB, f"{GITLAB}x\0"),
        (GITLAB, f"{GITLAB}\ud800"),
        (GITLAB, f"{GITLAB}\u0445"),
        (GITLAB, f" {GITLAB}x"),
        (GITLAB, f"ext::sh -c x% {GITLAB}x"),
        (GITLAB, "git://gitlab.com/ska-telescope/x"),
        (GITLAB, "ssh://gitlab.com/ska-telescope/x"),
        (GITLAB, "file:///ska-telescope/x"),
        (ALLOWED, f"{ALLOWED}-evil"),
        (ALLOWED, f"{ALLOWED}.gitx"),
        ("https://gitlab.com", "https://gitlab.com"),
        ("https://gitlab.com", "https://gitlab.com/"),
        ("https://host:8443/", "https://host/x"),
        ("file:///repos/", "/repos/x"),
        ("file:///repos/", "file://host/repos/x"),
        ("file:///repos/", "file:///repos/../x"),
        (None, ALLOWED),
    ],
)
def test_other_repositories_are_refused_and_nothing_is_made(tmp_path, prefix, repo):
    prefixes = [] if prefix is None else [prefix]
    cache = tmp_path / "cache"
    repositories = CachedGitRepositories(cache, prefixes, 1, 1, Environments(tmp_path, 1))

    with pytest.raises(ScriptNotAllowed) as refusal:
        admit(repositories, repo=repo)
    with pytest.raises(ScriptNotAllowed):
        repositories.locate(
            GitScript("git://x.py", repo), report=lambda _: None, cancelled=lambda: False
        )

    assert str(refusal.value).isprintable()
    assert not cache.exists()


def test_user_info_is_refused_and_a_password_is_not_repeated(place):
    with pytest.raises(ScriptNotAllowed, match="user info") as refusal:
        admit(place.repositories, repo="https://user:secret@gitlab.com/ska-telescope/x")

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "prefix", ["", "gitlab.com/x", "ssh://host/x", "https://u@host/", "https:///x"]
)
def test_a_prefix_that_is_no_url_is_refused_at_once(place, prefix):
    with pytest.raises(ValueError, match="prefix"):
        place.open(prefix)


@pytest.mark.parametrize("branch", ["main", "feature/a-b_c", "v1.0", "λ", "a@b"])
def test_names_that_git_allows_are_admitted(place, branch):
    admit(place.repositories, branch=branch)


@pytest.mark.parametrize(
    "branch",
    [
        "",
        "-x",
        "--upload-pack=x",
        "a..b",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[",
        "a\\b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.",
        "a.lock",
        "a.lock/b",
        "a@{1}",
        "@",
        "a\n",
        "a\0",
        "a\u202eb",
        "\ud800",
        "a" * 300,
    ],
)
def test_branches_that_git_does_not_allow_are_refused(place, branch):
    with pytest.raises(ScriptNotAllowed, match="branch"):
        admit(place.repositories, branch=branch)


@pytest.mark.parametrize(
    "commit", ["", "abc", "-" * 40, "A" * 40, "a" * 39, "a" * 41, "a" * 64, "a" * 40 + "\n", "HEAD"]
)
def test_commits_other_than_40_digits_are_refused(place, commit):
    with pytest.raises(ScriptNotAllowed, match="40 hexadecimal digits"):
        admit(place.repositories, commit=commit)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "git://",
        "x.py",
        "git:///x.py",
        "git://../x.py",
        "git://a/../x.py",
        "git://./x.py",
        "git://a//x.py",
        "git://.git/config",
        "git://a/.GIT/config",
        "git://x.py\0",
        "git://\ud800.py",
        "file:///x.py",
    ],
)
def test_paths_that_are_not_clean_are_refused(place, uri):
    with pytest.raises(ScriptNotAllowed, match="git://path/in/repository"):
        admit(place.repositories, uri=uri)


@pytest.mark.parametrize("case", bad_inputs("git"))
def test_the_shared_bad_repositories_get_their_answer(place, tmp_path, case):
    field = case["field"].removeprefix("GitScript.")
    marker = tmp_path / "PWN"
    script = {"uri": "git://x.py", "repo": place.origin.url}
    settings = {}
    if field == "path":
        (tmp_path / "passwd").write_text("root\n")
        (place.origin.directory / "scripts" / "evil_link.py").symlink_to(tmp_path / "passwd")
        place.origin.commit()
        script["uri"] = case["input"]
    elif "submodule" in case["why"]:
        (place.origin.directory / ".gitmodules").write_text(
            f'[submodule "s"]\n\tpath = s\n\turl = ext::touch {marker}\n'
        )
        place.origin.git("update-index", "--add", "--cacheinfo", f"160000,{place.first},s")
        place.origin.git("commit", "--quiet", "--message=x")
        script["uri"] = "git://s/x.py"
    elif field == "repo content":
        place.origin.commit(large="#" * 3_000_000)
        settings["max_bytes"] = 1_000_000
    else:
        script[field] = case["input"].replace("/tmp/PWN", str(marker))

    with pytest.raises((ScriptNotAllowed, ScriptNotFound, EnvironmentFailed)):
        place.locate(place.open(**settings), **script)

    assert not marker.exists()


def test_a_local_repository_that_a_link_takes_out_of_the_prefix_is_refused(place, tmp_path):
    Repository(tmp_path / "private").commit(x=SCRIPT)
    (tmp_path / "repos" / "link").symlink_to(tmp_path / "private")

    with pytest.raises(ScriptNotAllowed):
        place.locate(repo=f"file://{tmp_path}/repos/link")


# --- Commits


def test_the_default_branch_is_resolved_to_its_commit(place):
    located = place.locate()

    assert located.described == {
        "kind": "git",
        "uri": "git://x.py",
        "repo": place.origin.url,
        "branch": None,
        "commit": place.second,
        "create_env": False,
    }
    assert located.path.read_text().endswith("# 2\n")
    assert located.python is None
    assert place.reports == [f"cloning {place.origin.url} at {place.second}"]


def test_a_commit_wins_over_a_branch(place):
    located = place.locate(branch="main", commit=place.first)

    assert located.path.read_text() == SCRIPT
    assert located.described["commit"] == place.first
    assert located.described["branch"] == "main"


def test_branches_and_tags_are_resolved_and_branches_go_first(place):
    place.origin.git("branch", "both", place.first)
    place.origin.git("tag", "both", place.second)
    place.origin.git("branch", "a/both", place.second)
    place.origin.git("tag", "--annotate", "--message=x", "v1", place.first)

    assert place.locate(branch="both").described["commit"] == place.first
    assert place.locate(branch="v1").described["commit"] == place.first


def test_a_branch_that_moves_is_followed(place):
    before = place.locate(branch="main").described["commit"]
    third = place.origin.commit(x=SCRIPT + "# 3\n")

    after = place.locate(branch="main")

    assert before == place.second
    assert after.described["commit"] == third
    assert after.path.read_text().endswith("# 3\n")


def test_only_the_commit_itself_is_fetched(place):
    checkout = place.locate().path.parent

    count = subprocess.run(
        ["git", "rev-list", "--count", "HEAD"], cwd=checkout, capture_output=True, check=True
    )
    assert count.stdout.strip() == b"1"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ({"branch": "nope"}, "no branch or tag 'nope'"),
        ({"commit": "0" * 40}, "no commit 0000"),
    ],
)
def test_what_the_repository_does_not_have_is_an_environment_error(place, script, says):
    with pytest.raises(EnvironmentFailed, match=says):
        place.locate(**script)

    assert place.checkouts() == []


def test_a_repository_that_is_not_there_is_an_environment_error_in_gits_own_words(place):
    with pytest.raises(EnvironmentFailed, match="does not") as error:
        place.locate(repo=place.origin.url + "-none")

    assert str(error.value).isprintable()


def test_an_object_that_is_no_commit_is_an_environment_error(place):
    tree = place.origin.git("rev-parse", "HEAD^{tree}")

    with pytest.raises(EnvironmentFailed):
        place.locate(commit=tree)

    assert place.checkouts() == []


class OldServer(CachedGitRepositories):
    """Speaks the protocol in which servers give only what a branch or tag points at."""

    options = (*CachedGitRepositories.options, "protocol.version=0")


def test_a_server_that_gives_only_branches_is_asked_for_their_history(place):
    repositories = place.open(cls=OldServer)

    assert place.locate(repositories, commit=place.first).path.read_text() == SCRIPT
    with pytest.raises(EnvironmentFailed, match="no commit"):
        place.locate(repositories, commit="0" * 40)


# --- The script in the checkout


def test_a_script_that_is_missing_is_not_found(place):
    with pytest.raises(ScriptNotFound):
        place.locate(uri="git://none.py")
    with pytest.raises(ScriptNotFound):
        place.locate(uri="git://x.py/x.py")


def test_what_is_not_a_regular_file_is_refused(place):
    with pytest.raises(ScriptNotAllowed, match="not a regular file"):
        place.locate(uri="git://scripts")


def test_a_link_out_of_the_checkout_is_refused_and_one_within_is_followed(place):
    scripts = place.origin.directory / "scripts"
    (scripts / "evil.py").symlink_to("../../../../etc/passwd")
    (scripts / "up").symlink_to("../..")
    (scripts / "good.py").symlink_to("../x.py")
    place.origin.commit()

    for uri in ("git://scripts/evil.py", "git://scripts/up/x.py"):
        with pytest.raises(ScriptNotAllowed, match="not beneath its repository"):
            place.locate(uri=uri)
    assert place.locate(uri="git://scripts/good.py").path.name == "x.py"


def test_hooks_and_filters_of_a_repository_do_not_run(place, tmp_path):
    marker = tmp_path / "PWN"
    (place.origin.directory / ".gitattributes").write_text("*.py filter=evil\n")
    place.origin.git("config", "filter.evil.smudge", f"touch {marker}")
    place.origin.git("config", "core.fsmonitor", f"touch {marker}")
    hook = place.origin.directory / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {marker}\n")
    hook.chmod(0o755)
    place.origin.commit(x=SCRIPT)
    marker.unlink(missing_ok=True)

    place.locate()

    assert not marker.exists()


def test_the_configuration_of_whoever_started_us_is_not_used(place, tmp_path, monkeypatch):
    config = tmp_path / "gitconfig"
    config.write_text(f'[url "file:///nowhere/"]\n\tinsteadOf = file://{tmp_path}/repos/\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    # The cache may lie within a repository.
    shutil.copytree(place.origin.directory / ".git", tmp_path / ".git")
    shutil.copy(config, tmp_path / ".git" / "config")

    assert place.locate().path.read_text()


# --- The cache


def test_a_cached_commit_needs_no_remote(place):
    first = place.locate(commit=place.first)
    shutil.rmtree(place.origin.directory)

    again = place.locate(place.open(), commit=place.first)

    assert again == first
    with pytest.raises(EnvironmentFailed):
        place.locate(branch="main")


def test_the_same_commit_of_another_url_is_another_checkout(place):
    Repository(place.directory / "repos" / "other").git("pull", "--quiet", place.origin.url, "main")

    first = place.locate(commit=place.first)
    other = place.locate(commit=place.first, repo=f"file://{place.directory}/repos/other")

    assert first.path != other.path


def test_requests_at_the_same_time_share_one_clone(place):
    reports: list[str] = []
    archives = [place.open(), place.open()]

    with ThreadPoolExecutor(8) as threads:
        located = list(
            threads.map(
                lambda n: archives[n % 2].locate(
                    GitScript("git://x.py", place.origin.url, commit=place.first),
                    report=reports.append,
                    cancelled=lambda: False,
                ),
                range(8),
            )
        )

    assert len(set(map(str, located))) == 1
    assert len(reports) == 1
    assert len(place.checkouts()) == 1


def test_a_half_written_checkout_of_a_crash_is_never_used(place):
    name = place.locate(commit=place.first).path.parent
    name.rename(name.with_name(name.name + ".partial"))
    (name.with_name(name.name + ".partial") / "x.py").write_text("half")

    located = place.locate(commit=place.first)

    assert located.path.read_text() == SCRIPT
    assert place.checkouts() == [located.path.parent]


def test_what_a_crash_left_of_other_commits_is_removed(place):
    rubbish = place.cache / ("0" * 64 + "-" + "1" * 40 + ".partial")
    rubbish.mkdir(parents=True)

    located = place.locate()

    assert place.checkouts() == [located.path.parent]


def test_only_the_checkouts_used_last_are_kept_and_none_in_use_is_removed(place):
    repositories = place.open(keep=2)
    commits = [place.origin.commit(x=f"x = {number}\n") for number in range(4)]
    kept = [place.locate(repositories, commit=commit).path.parent for commit in commits]
    assert all(path.exists() for path in kept)  # all used within the last hour

    for age, path in enumerate(kept):
        os.utime(path, (time.time() - IDLE_S * (5 - age),) * 2)
    place.locate(repositories, commit=commits[0])
    place.locate(repositories, commit=place.first)

    assert [path.exists() for path in kept] == [True, False, False, False]


# --- Limits


def test_a_repository_that_is_too_large_is_refused_and_removed(place):
    place.origin.commit(large="#" * 3_000_000)

    with pytest.raises(EnvironmentFailed, match="larger than 1000000 bytes"):
        place.locate(place.open(max_bytes=1_000_000))

    assert place.checkouts() == []


@pytest.fixture
def slow_git(tmp_path, monkeypatch):
    """A git program that never ends, and the file with the number of its child."""
    programs = tmp_path / "bin"
    programs.mkdir()
    git = programs / "git"
    git.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/child\nwait\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path / "child"


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_git_is_killed_with_its_children_when_time_is_up(place, slow_git):
    started = time.monotonic()

    with pytest.raises(EnvironmentFailed, match="not ready in time"):
        place.locate(place.open(timeout_s=0.5), commit=place.first)

    assert time.monotonic() - started < 2
    wait_until(lambda: not is_alive(int(slow_git.read_text())))
    assert place.checkouts() == []


def test_git_is_killed_with_its_children_when_it_is_cancelled(place, slow_git):
    cancel = threading.Event()

    with ThreadPoolExecutor(1) as threads:
        work = threads.submit(place.locate, cancelled=cancel.is_set)
        wait_until(slow_git.exists)
        cancel.set()
        with pytest.raises(EnvironmentFailed, match="cancelled"):
            work.result(timeout=2)

    wait_until(lambda: not is_alive(int(slow_git.read_text())))


def test_without_git_it_says_so(place, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EnvironmentFailed, match="git could not be started"):
        place.locate()


def test_a_cache_that_cannot_be_written_is_an_environment_error(place):
    place.cache.write_text("a file")

    with pytest.raises(EnvironmentFailed, match="cache"):
        place.locate()


# --- Over HTTP


@pytest.fixture
def server(place, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    moved = place.directory / "repos" / "moved"
    moved.mkdir()
    place.origin.git("clone", "--quiet", "--bare", ".", str(moved / "x.git"))
    server = GitServer(place.directory / "repos")
    yield server
    server.close()


def test_a_repository_is_cloned_over_http_if_a_prefix_says_so(place, server):
    repositories = place.open(f"{server.url}/")

    located = place.locate(repositories, repo=f"{server.url}/scripting", branch="main")

    assert located.described["commit"] == place.second


def test_a_name_that_is_served_with_git_added_is_found(place, server):
    repositories = place.open(f"{server.url}/moved/")

    for script in ({}, {"commit": place.first}):
        located = place.locate(repositories, repo=f"{server.url}/moved/x", **script)
        assert located.path.read_text().startswith(SCRIPT)


def test_a_redirect_to_elsewhere_is_not_followed(place, server):
    server.elsewhere = f"{server.url}/scripting"
    repositories = place.open(f"{server.url}/moved/")

    with pytest.raises(EnvironmentFailed):
        place.locate(repositories, repo=f"{server.url}/moved/none")

    assert not any(path.startswith("/scripting") for path in server.requests)


def test_the_server_being_away_is_an_environment_error(place, server):
    server.close()
    repositories = place.open(f"{server.url}/")

    with pytest.raises(ActivityError, match="unable to access") as error:
        place.locate(repositories, repo=f"{server.url}/scripting")

    assert error.value.reason.value == "ENVIRONMENT_ERROR"
