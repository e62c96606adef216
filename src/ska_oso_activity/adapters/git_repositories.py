"""Git scripts: which repositories are allowed, and checkouts of their commits (adapters layer).

The git program does the work, as a list of arguments and never through a shell, with no
configuration but ours: no prompts, hooks, submodules, redirects or other transports. Names that
could be taken for options never reach it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ska_oso_activity.adapters.environments import (
    Effort,
    Environments,
    ProgramFailed,
    Shelf,
    run,
)
from ska_oso_activity.adapters.script_source import Roots, open_script
from ska_oso_activity.application.ports import LocatedScript
from ska_oso_activity.domain.errors import EnvironmentFailed, ScriptNotAllowed
from ska_oso_activity.domain.script import GitScript

PROPERTY = "property Repositories"
KEPT_CHECKOUTS = 50
MAX_FILES = 200_000
"""Most files in a checkout, those of git itself included."""

_URL = re.compile(
    r"(?P<scheme>https?|file)://(?P<host>[A-Za-z0-9.-]*)(?P<port>:[0-9]{1,5})?"
    r"(?P<path>(?:/[\w.~+][\w.~+-]*)*)(?P<below>/?)\Z"
)
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|^[-./]|^@$|[/.]$")
_REDIRECTED = re.compile(r"returned error: 30\d")
_ALL_REFS = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")


@dataclass(frozen=True)
class _Address:
    """A repository's URL, or the prefix of several, in parts that are compared whole."""

    scheme: str
    host: str
    steps: tuple[str, ...]
    below: bool

    @staticmethod
    def parse(url: str) -> _Address | None:
        """The parts of a clean URL; None for any other text.

        User info, queries, fragments, escapes, `.` and `..` have no place in one.
        """
        found = _URL.match(url)
        if found is None:
            return None
        host = found["host"].lower()
        steps = tuple(found["path"].split("/")[1:])
        if found["scheme"] == "file":
            clean = not host and not found["port"]
        else:
            clean = bool(_HOST.match(host)) and url.isascii()
        if not clean or {".", ".."} & set(steps):
            return None
        return _Address(found["scheme"], host + (found["port"] or ""), steps, bool(found["below"]))

    def admits(self, url: _Address) -> bool:
        """Whether this prefix admits a repository: all that lie below, and itself if it may."""
        if (self.scheme, self.host) != (url.scheme, url.host):
            return False
        count = len(self.steps)
        if len(url.steps) > count and url.steps[:count] == self.steps:
            return not self._leads_away(url)
        return not self.below and bool(self.steps) and self._bare() == url._bare()

    def _leads_away(self, url: _Address) -> bool:
        """Whether a symbolic link takes a local repository out of the prefix."""
        if self.scheme != "file":
            return False
        return not Roots([Path("/", *self.steps)]).covers(Path("/", *url.steps))

    def _bare(self) -> tuple[str, ...]:
        return (*self.steps[:-1], self.steps[-1].removesuffix(".git")) if self.steps else ()


class CachedGitRepositories:
    """Implements `ports.GitRepositories` with shallow clones that are kept by commit."""

    options: Sequence[str] = (
        "core.hooksPath=/dev/null",
        "core.attributesFile=/dev/null",
        "core.fsmonitor=false",
        "core.autocrlf=false",
        "credential.helper=",
        "fetch.fsckObjects=true",
        "fetch.recurseSubmodules=false",
        "submodule.recurse=false",
        "gc.auto=0",
        "maintenance.auto=false",
        "http.followRedirects=false",
        "http.lowSpeedLimit=1000",
        "http.lowSpeedTime=30",
        "protocol.ext.allow=never",
        "advice.detachedHead=false",
        "init.defaultBranch=main",
    )
    """Configuration of every call of git; there is no other."""

    def __init__(
        self,
        directory: Path,
        allowed_prefixes: Sequence[str],
        timeout_s: float,
        max_bytes: int,
        environments: Environments,
        keep: int = KEPT_CHECKOUTS,
    ) -> None:
        """Checkouts below `directory`.

        Args:
            allowed_prefixes: such as `https://gitlab.com/ska-telescope/` (all repositories below)
                or `https://gitlab.com/a/b` (that one, and those below). A port, and a scheme other
                than https (http, file), must stand in the prefix.
            timeout_s: longest time to make a checkout ready, in seconds.
            max_bytes: largest checkout on the disk, git's own files included.
            keep: how many checkouts to keep; ones used within the last hour stay.

        Raises:
            ValueError: a prefix is not a clean URL.
        """
        self._shelf = Shelf(directory.absolute(), keep)
        self._allowed = [_prefix(text) for text in allowed_prefixes]
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._environments = environments

    def admit(self, script: GitScript) -> None:
        """Check the names in a git script; see `ports.GitRepositories`."""
        self._admitted(script)

    def locate(
        self, script: GitScript, *, report: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> LocatedScript:
        """Clone or find the commit, then the script in it; see `ports.GitRepositories`."""
        scheme = self._admitted(script)
        effort = Effort.of(self._timeout_s, report, cancelled)
        git = _Git(scheme, self._shelf.make(), self.options, effort)
        commit = script.commit or git.resolve(script.repo, script.branch)
        checkout = self._checkout(git, script, commit)
        path = open_script(
            Roots([checkout]), checkout / _path_in_repository(script), script.uri, "its repository"
        )
        python = None
        if script.create_env:
            key = f"{script.repo}@{commit}"
            python = self._environments.python_for(key, checkout, report, cancelled)
        return LocatedScript(path, {**script.to_json(), "commit": commit}, python)

    def _admitted(self, script: GitScript) -> str:
        """The scheme of the repository of a script that may be run."""
        if "@" in script.repo:
            # Not repeated in the message: it may hold a password.
            raise ScriptNotAllowed("the repository's URL holds user info, which is not allowed")
        address = _Address.parse(script.repo)
        if address is None or address.below:
            raise ScriptNotAllowed(f"repository {script.repo!r:.200} is not a clean https URL")
        if not any(prefix.admits(address) for prefix in self._allowed):
            raise ScriptNotAllowed(
                f"repository {script.repo!r:.200} is not beneath an allowed one ({PROPERTY})"
            )
        if script.commit is not None and not _COMMIT.match(script.commit):
            raise ScriptNotAllowed(
                f"commit {script.commit!r:.100} is not 40 hexadecimal digits in lower case"
            )
        if script.branch is not None and not _is_ref(script.branch):
            raise ScriptNotAllowed(f"branch {script.branch!r:.100} is not a name that git allows")
        _path_in_repository(script)
        return address.scheme

    def _checkout(self, git: _Git, script: GitScript, commit: str) -> Path:
        """The directory of a commit, cloned if it is not there yet."""
        name = f"{hashlib.sha256(script.repo.encode()).hexdigest()}-{commit}"
        found = self._shelf.ready(name)
        if found is not None:
            return found
        with self._shelf.hold(name, git.effort):
            found = self._shelf.ready(name)
            if found is None:
                found = self._clone(git, script, commit, name)
        self._shelf.tidy()
        return found

    def _clone(self, git: _Git, script: GitScript, commit: str, name: str) -> Path:
        """Clone into a place beside, which gets its name when it is complete."""
        partial = self._shelf.partial(name)
        git.effort.report(f"cloning {script.repo} at {commit}")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            git.clone(script.repo, commit, partial, self._max_bytes)
            return partial.rename(self._shelf.directory / name)
        except OSError as error:
            raise EnvironmentFailed(
                f"the repository could not be written: {error.strerror}"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


class _Git:
    """The git program, for one script."""

    def __init__(
        self, scheme: str, directory: Path, options: Sequence[str], effort: Effort
    ) -> None:
        self.effort = effort
        self._scheme = scheme
        self._directory = directory
        self._options = [word for option in options for word in ("-c", option)]

    def resolve(self, url: str, branch: str | None) -> str:
        """The commit that a branch or tag names now; None is the default branch.

        Raises:
            EnvironmentFailed: there is none, or the repository does not answer.
        """
        wanted = (
            ["HEAD"]
            if branch is None
            else [f"refs/heads/{branch}", f"refs/tags/{branch}^{{}}", f"refs/tags/{branch}"]
        )
        output = self._ask(url, ["ls-remote", "--quiet"], wanted, self._directory)
        # Asked for a name, git also lists longer ones that end in it.
        lines = (line.partition("\t") for line in output.splitlines())
        refs = {name: commit for commit, _, name in lines}
        for name in wanted:
            if _COMMIT.match(refs.get(name, "")):
                return refs[name]
        what = "default branch" if branch is None else f"branch or tag {branch!r}"
        raise EnvironmentFailed(f"repository {url} has no {what}")

    def clone(self, url: str, commit: str, directory: Path, max_bytes: int) -> None:
        """Make `directory` a checkout of `commit`, with as little history as the server allows.

        Raises:
            EnvironmentFailed: no such commit, too large, or the repository does not answer.
        """

        def watch() -> None:
            _refuse_large(directory, max_bytes)

        self._run(["init", "--quiet", "--template="], directory)
        fetch = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"]
        try:
            self._ask(url, [*fetch, "--depth=1"], [commit], directory, watch)
        except ProgramFailed as error:
            if "not our ref" in error.output:
                raise EnvironmentFailed(f"repository {url} has no commit {commit}") from error
            if "unadvertised object" not in error.output:
                raise
            # Old servers give only what a branch or tag points at: then the history is needed.
            self._ask(url, fetch, list(_ALL_REFS), directory, watch)
        self._check_out(url, commit, directory, watch)
        watch()

    def _check_out(self, url: str, commit: str, directory: Path, watch: Callable[[], None]) -> None:
        try:
            self._run(["cat-file", "-e", f"{commit}^{{commit}}"], directory)
        except ProgramFailed as error:
            raise EnvironmentFailed(f"repository {url} has no commit {commit}") from error
        self._run(["checkout", "--quiet", "--detach", commit], directory, watch)
        if self._run(["rev-parse", "HEAD"], directory).strip() != commit:
            raise EnvironmentFailed(f"{commit} is not a commit of repository {url}")

    def _ask(
        self,
        url: str,
        command: list[str],
        refs: list[str],
        directory: Path,
        watch: Callable[[], None] | None = None,
    ) -> str:
        """Ask a remote repository.

        Redirects are not followed, because they lead anywhere; the one to the same name with
        `.git`, which GitLab gives, is taken without asking where it leads.
        """
        try:
            return self._run([*command, "--", url, *refs], directory, watch)
        except ProgramFailed as error:
            if url.endswith(".git") or not _REDIRECTED.search(error.output):
                raise
        return self._run([*command, "--", f"{url}.git", *refs], directory, watch)

    def _run(
        self, arguments: list[str], directory: Path, watch: Callable[[], None] | None = None
    ) -> str:
        return run(
            ["git", *self._options, *arguments],
            self.effort,
            environment=self._environment(directory),
            directory=directory,
            watch=watch,
        )

    def _environment(self, directory: Path) -> dict[str, str]:
        passed_on = {
            name: value
            for name, value in os.environ.items()
            if name in {"PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"}
            or name.lower() in {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
        }
        return {
            **passed_on,
            "LC_ALL": "C",
            "HOME": "/nonexistent",  # no ~/.netrc, no ~/.config
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_SSH_COMMAND": "false",
            "GIT_ALLOW_PROTOCOL": self._scheme,
            # The cache may lie within somebody's repository, whose configuration is not ours.
            "GIT_CEILING_DIRECTORIES": str(directory.resolve().parent),
        }


def _prefix(text: str) -> _Address:
    address = _Address.parse(text)
    if address is None:
        raise ValueError(
            f"{text!r:.200} is not the prefix of repositories' URLs: it should look like "
            "https://gitlab.com/ska-telescope/"
        )
    return address


def _is_ref(name: str) -> bool:
    """Whether git allows a branch or tag of that name (git check-ref-format), and we its look."""
    return bool(name) and len(name) <= 255 and name.isprintable() and not _NO_REF.search(name)


def _path_in_repository(script: GitScript) -> Path:
    """The relative path that a script's `git://` URI names.

    Raises:
        ScriptNotAllowed: it is not a clean one.
    """
    path = script.uri.removeprefix("git://")
    steps = path.split("/")
    if (
        path == script.uri
        or not path.isprintable()
        or any(step in {"", ".", ".."} or step.lower() == ".git" for step in steps)
    ):
        raise ScriptNotAllowed(
            f"path {script.uri!r:.200} is not of the form git://path/in/repository.py"
        )
    return Path(*steps)


def _refuse_large(directory: Path, max_bytes: int) -> None:
    """Refuse a directory that holds more than it may.

    Raises:
        EnvironmentFailed: more bytes or more files.
    """
    size = 0
    for number, entry in enumerate(_files(directory)):
        try:
            size += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            continue
        if size > max_bytes or number >= MAX_FILES:
            raise EnvironmentFailed(
                f"the repository is larger than {max_bytes} bytes or {MAX_FILES} files"
            )


def _files(directory: Path) -> Iterator[os.DirEntry[str]]:
    waiting: list[str] = [str(directory)]
    while waiting:
        entries: Iterable[os.DirEntry[str]]
        try:
            entries = list(os.scandir(waiting.pop()))
        except FileNotFoundError:
            continue
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
