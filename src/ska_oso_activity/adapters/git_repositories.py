"""Git scripts: which repositories are allowed, and checkouts of their commits (adapters layer).

Names that could be taken for options never reach the git program.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ska_oso_activity.adapters.environments import Environments
from ska_oso_activity.adapters.git_names import (
    Address,
    address_prefix,
    is_commit,
    is_ref,
    path_in_repository,
)
from ska_oso_activity.adapters.git_program import OPTIONS, Git
from ska_oso_activity.adapters.programs import Effort
from ska_oso_activity.adapters.script_source import Roots, open_script
from ska_oso_activity.adapters.shelf import Shelf
from ska_oso_activity.application.ports import LocatedScript
from ska_oso_activity.domain.errors import EnvironmentFailed, ScriptNotAllowed
from ska_oso_activity.domain.script import GitScript

PROPERTY = "property Repositories"
KEPT_CHECKOUTS = 50


class CachedGitRepositories:
    """Implements `ports.GitRepositories` with shallow clones that are kept by commit."""

    options: Sequence[str] = OPTIONS
    """See `git_program.OPTIONS`."""

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
        self._allowed = [address_prefix(text) for text in allowed_prefixes]
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
        git = Git(scheme, self._shelf.make(), self.options, effort)
        commit = script.commit or git.resolve(script.repo, script.branch)
        checkout = self._checkout(git, script, commit)
        path = open_script(
            Roots([checkout]),
            checkout / path_in_repository(script.uri),
            script.uri,
            "its repository",
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
        address = Address.parse(script.repo)
        if address is None or address.below:
            raise ScriptNotAllowed(f"repository {script.repo!r:.200} is not a clean https URL")
        if not any(prefix.admits(address) for prefix in self._allowed):
            raise ScriptNotAllowed(
                f"repository {script.repo!r:.200} is not beneath an allowed one ({PROPERTY})"
            )
        if script.commit is not None and not is_commit(script.commit):
            raise ScriptNotAllowed(
                f"commit {script.commit!r:.100} is not 40 hexadecimal digits in lower case"
            )
        if script.branch is not None and not is_ref(script.branch):
            raise ScriptNotAllowed(f"branch {script.branch!r:.100} is not a name that git allows")
        path_in_repository(script.uri)
        return address.scheme

    def _checkout(self, git: Git, script: GitScript, commit: str) -> Path:
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

    def _clone(self, git: Git, script: GitScript, commit: str, name: str) -> Path:
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
