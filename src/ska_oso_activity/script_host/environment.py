"""The environment variables of a script's process: an allow-list (script host).

Scripts see what a program needs to run, to reach the telescope and to use the archive. Nothing
else that a server was started with, such as its tokens and passwords, is handed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

MARK = "SKA_OSO_ACTIVITY_PROCEDURE"
"""Set in every process of a script, `<host>:<procedure_id>`: how they are found again."""

_NAMES = frozenset(
    {
        # to run at all
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "TMPDIR", "TZ"),
        *("LANG", "LANGUAGE", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
        # to reach the outside
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
        # the telescope
        *("TANGO_HOST", "KUBE_NAMESPACE"),
    }
)

_PREFIXES = (
    *("LC_", "PYTHON"),
    *("ORB", "OMNIORB_", "omniORB"),
    *("SKA_", "CENTRALNODE_", "SUBARRAYNODE_"),
    *("OPENBLAS_", "OMP_", "MKL_", "NUMEXPR_"),
)

_ARCHIVE_NAMES = frozenset({"SKUID_URL"})
_ARCHIVE_PREFIXES = ("ODA_", "PG", "POSTGRES_", "ADMIN_POSTGRES_")
"""The archive's client needs its password too, so these are handed on whatever they are called."""

_SECRET = re.compile(r"TOKEN|PASS|SECRET|CREDENTIAL|PRIVATE|AUTH|_KEY\b", re.IGNORECASE)
"""What is called like this is handed on only if a site names it."""

_OURS_ALONE = frozenset({"SKA_OSO_ACTIVITY_LIFELINE"})
"""Variables of the server and the host that mean nothing in a script's process."""

_READ_AT_START = re.compile(r"(?!PYTHONUNBUFFERED$)(PYTHON|LD_|LC_)|(LANG|LANGUAGE|VIRTUAL_ENV)$")
"""Variables that an interpreter reads when it starts, so that a process which is already there
cannot take on another value."""


def mark_of(host: str, procedure_id: int) -> str:
    """The mark of a procedure's processes."""
    return f"{host}:{procedure_id}"


def spare_mark(host: str) -> str:
    """The mark of processes that have no procedure yet: as long as any that may take its place."""
    return f"{host}:{0:020d}"


def passed_on(variables: Mapping[str, str]) -> dict[str, str]:
    """Of a server's or a host's variables, those that scripts may see."""
    return {name: value for name, value in variables.items() if _may_pass(name)}


def script_environment(
    host: Mapping[str, str], wanted: Mapping[str, str], mark: str
) -> dict[str, str]:
    """The variables of a script's process.

    Args:
        host: those of the host itself; scripts see some of them.
        wanted: those that the server asked for; they win.
        mark: names the procedure.
    """
    return {**passed_on(host), **wanted, "PYTHONUNBUFFERED": "1", MARK: mark}


def differ_at_start(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The variables that an interpreter reads at its start, and that are not the same in both."""
    return sorted(
        name
        for name in one.keys() | other.keys()
        if one.get(name) != other.get(name) and _READ_AT_START.match(name)
    )


@lru_cache(maxsize=4096)
def _may_pass(name: str) -> bool:
    if name in _OURS_ALONE or name == MARK:
        return False
    if name in _NAMES or name in _ARCHIVE_NAMES or name.startswith(_ARCHIVE_PREFIXES):
        return True
    return name.startswith(_PREFIXES) and not _SECRET.search(name)
