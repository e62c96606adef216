"""Names in git scripts: of repositories, branches, commits and paths (adapters layer).

All are parsed and compared in whole steps; what could be taken for an option, or leads elsewhere,
is no name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ska_oso_activity.adapters.script_source import Roots
from ska_oso_activity.domain.errors import ScriptNotAllowed

_URL = re.compile(
    r"(?P<scheme>https?|file)://(?P<host>[A-Za-z0-9.-]*)(?P<port>:[0-9]{1,5})?"
    r"(?P<path>(?:/[\w.~+][\w.~+-]*)*)(?P<below>/?)\Z"
)
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|^[-./]|^@$|[/.]$")


@dataclass(frozen=True)
class Address:
    """A repository's URL, or the prefix of several, in parts that are compared whole."""

    scheme: str
    host: str
    steps: tuple[str, ...]
    below: bool

    @staticmethod
    def parse(url: str) -> Address | None:
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
        return Address(found["scheme"], host + (found["port"] or ""), steps, bool(found["below"]))

    def admits(self, url: Address) -> bool:
        """Whether this prefix admits a repository: all that lie below, and itself if it may."""
        if (self.scheme, self.host) != (url.scheme, url.host):
            return False
        count = len(self.steps)
        if len(url.steps) > count and url.steps[:count] == self.steps:
            return not self._leads_away(url)
        return not self.below and bool(self.steps) and self._bare() == url._bare()

    def _leads_away(self, url: Address) -> bool:
        """Whether a symbolic link takes a local repository out of the prefix."""
        if self.scheme != "file":
            return False
        return not Roots([Path("/", *self.steps)]).covers(Path("/", *url.steps))

    def _bare(self) -> tuple[str, ...]:
        return (*self.steps[:-1], self.steps[-1].removesuffix(".git")) if self.steps else ()


def address_prefix(text: str) -> Address:
    """The prefix that a site names.

    Raises:
        ValueError: it is not a clean URL.
    """
    address = Address.parse(text)
    if address is None:
        raise ValueError(
            f"{text!r:.200} is not the prefix of repositories' URLs: it should look like "
            "https://gitlab.com/ska-telescope/"
        )
    return address


def is_commit(name: str) -> bool:
    """Whether it is a commit's whole name."""
    return bool(_COMMIT.match(name))


def is_ref(name: str) -> bool:
    """Whether git allows a branch or tag of that name (git check-ref-format), and we its look."""
    return bool(name) and len(name) <= 255 and name.isprintable() and not _NO_REF.search(name)


def path_in_repository(uri: str) -> Path:
    """The relative path that a `git://` URI names.

    Raises:
        ScriptNotAllowed: it is not a clean one.
    """
    path = uri.removeprefix("git://")
    steps = path.split("/")
    if (
        path == uri
        or not path.isprintable()
        or any(step in {"", ".", ".."} or step.lower() == ".git" for step in steps)
    ):
        raise ScriptNotAllowed(f"path {uri!r:.200} is not of the form git://path/in/repository.py")
    return Path(*steps)
