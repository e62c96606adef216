"""How a script's process and its host speak of a script's way (script host, both sides)."""

from __future__ import annotations

from enum import Enum


class Outcome(str, Enum):
    """How the script's code ended, as its own process saw it. The host judges what that means."""

    RETURNED = "returned"  # main came back
    RAISED = "raised"  # init or main raised an exception, or could not be called
    EXITED = "exited"  # init or main raised SystemExit
    UNLOADABLE = "unloadable"  # the script raised while loading, or has nothing to start
    UNCONFINED = "unconfined"  # it was not loaded: its limits or its user could not be set


STATES = ("IDLE", "LOADING", "INITIALISING", "READY", "RUNNING")
"""What a script's process reports on its way, in order (names of `ProcedureState`)."""

RESULT_LIMIT = 1024 * 1024
"""Largest JSON text of what main returned, in bytes."""

ERROR_LIMIT = 4 * 1024
STACKTRACE_LIMIT = 64 * 1024
"""Longest texts, in characters."""
