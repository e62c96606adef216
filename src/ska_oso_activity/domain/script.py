"""Scripts: where the Python file that an activity runs comes from (domain layer)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class FileSystemScript:
    """A script in a file of the executor's host.

    Attributes:
        uri: `file:///absolute/path.py`.
    """

    uri: str

    kind = "filesystem"

    def to_json(self) -> dict[str, Any]:
        """The form PrepareProcess takes."""
        return {"kind": self.kind, "uri": self.uri}


@dataclass(frozen=True)
class GitScript:
    """A script in a git repository.

    Attributes:
        uri: `git://path/in/repository.py`.
        repo: URL of the repository.
        branch: branch or tag; None: the repository's default branch.
        commit: 40 hexadecimal digits; wins over `branch`.
        create_env: run in a virtual environment built from the repository.
    """

    uri: str
    repo: str
    branch: str | None = None
    commit: str | None = None
    create_env: bool = False

    kind = "git"

    def to_json(self) -> dict[str, Any]:
        """The form PrepareProcess takes."""
        return {
            "kind": self.kind,
            "uri": self.uri,
            "repo": self.repo,
            "branch": self.branch,
            "commit": self.commit,
            "create_env": self.create_env,
        }


@dataclass(frozen=True)
class InlineScript:
    """A script whose text stands in the Scheduling Block itself (PDM 17.2)."""

    content: str

    kind = "inline"

    def to_json(self) -> dict[str, Any]:
        """The form PrepareProcess takes."""
        return {"kind": self.kind, "content": self.content}


Script: TypeAlias = FileSystemScript | GitScript | InlineScript

FUNCTIONS = ("init", "main", "run")
"""The functions of a script that arguments can be given for."""
