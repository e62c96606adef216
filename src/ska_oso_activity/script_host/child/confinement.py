"""Variables, limits and user: what a process takes on before its script (script's process)."""

from __future__ import annotations

import math
import os
import pwd
import resource
import time
from collections.abc import Mapping
from typing import Any

from ska_oso_activity.domain.limits import Limits
from ska_oso_activity.script_host.child.shown import show
from ska_oso_activity.script_host.environment import MARK
from ska_oso_activity.script_host.linux import (
    die_with_parent,
    gain_no_privileges,
)

HARD_CPU_SECONDS = 2
"""How long a process may go on that handles or ignores the signal that its time is used up."""


class Unconfined(Exception):
    """The script must not run, because it would not be confined as it should; the text says why."""


def confine(order: Mapping[str, Any], host: int) -> None:
    """Take on what the host's order says.

    Raises:
        Unconfined: it cannot be done.
    """
    limits = Limits.from_json(order.get("limits"))
    variables = order.get("variables")
    if variables is not None:  # those of an earlier release gave them to the interpreter alone
        name = str(order.get("name") or f"script {order['procedure_id']}")
        show(name, f"{name}: {order['script_path']}", variables.get(MARK, ""))
        _replace_variables(variables)
    try:
        _limit(limits)
        if limits.user:
            _become(limits.user, host)
        gain_no_privileges()
    except (OSError, ValueError, KeyError) as error:
        raise Unconfined(f"the script's process cannot be confined: {error}") from error


def _replace_variables(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()


def _limit(limits: Limits) -> None:
    cpu = math.ceil(limits.cpu_seconds)
    for kind, soft, hard in (
        (resource.RLIMIT_AS, limits.address_space, limits.address_space),
        (resource.RLIMIT_CPU, cpu, cpu + HARD_CPU_SECONDS),
        (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
        (resource.RLIMIT_NPROC, limits.processes, limits.processes),
    ):
        if soft:
            _set(kind, soft, hard)
    _set(resource.RLIMIT_CORE, 0, 0)


def _set(kind: int, soft: int, hard: int) -> None:
    """Limit something, without ever raising a limit that we have."""
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(kind, (soft, hard))


def _become(name: str, host: int) -> None:
    """Change to another user, and be as at home as after a login."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise KeyError(f"there is no user {name}") from None
    if user.pw_uid == os.getuid() == os.geteuid():
        return
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ.update(HOME=user.pw_dir, USER=name, LOGNAME=name)
    die_with_parent(host)
