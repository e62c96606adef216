"""The git program, called without anything that could lead it astray (adapters layer).

It does the work, as a list of arguments and never through a shell, with no configuration but ours:
no prompts, hooks, submodules, redirects or other transports.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ska_oso_activity.adapters.git_names import is_commit
from ska_oso_activity.adapters.programs import Effort, ProgramFailed, run
from ska_oso_activity.domain.errors import EnvironmentFailed

MAX_FILES = 200_000
"""Most files in a checkout, those of git itself included."""

OPTIONS = (
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

_REDIRECTED = re.compile(r"returned error: 30\d")
_ALL_REFS = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")


class Git:
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
            if is_commit(refs.get(name, "")):
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
