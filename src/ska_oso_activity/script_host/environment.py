"""The environment variables of a script's process (script host)."""

from __future__ import annotations

from collections.abc import Mapping

MARK = "SKA_OSO_ACTIVITY_PROCEDURE"
"""Set in every process of a script, `<host>:<procedure_id>`: how they are found again."""

OURS_ALONE = frozenset({"SKA_OSO_ACTIVITY_LIFELINE"})
"""Variables of the host that mean nothing in a script's process."""


def mark_of(host: str, procedure_id: int) -> str:
    """The mark of a procedure's processes."""
    return f"{host}:{procedure_id}"


def script_environment(
    host: Mapping[str, str], wanted: Mapping[str, str], mark: str
) -> dict[str, str]:
    """The variables of a script's process.

    Args:
        host: those of the host itself.
        wanted: those that the server asked for; they win.
        mark: names the procedure.
    """
    kept = {name: value for name, value in host.items() if name not in OURS_ALONE}
    return {**kept, **wanted, "PYTHONUNBUFFERED": "1", MARK: mark}
