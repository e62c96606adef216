"""Judges how a script ended, from what its process said and how it died (script host)."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ska_oso_activity.domain.errors import Reason
from ska_oso_activity.domain.limits import Limits
from ska_oso_activity.script_host.outcome import Outcome

_WHERE: Mapping[str, str] = {
    "CREATING": "before it was loaded",
    "IDLE": "before it was loaded",
    "LOADING": "while it was loaded",
    "INITIALISING": "in init",
    "READY": "while it waited to be started",
    "RUNNING": "in main",
}

_FAILURES: Mapping[Outcome, Reason] = {
    Outcome.RAISED: Reason.SCRIPT_ERROR,
    Outcome.EXITED: Reason.SCRIPT_DIED,
    Outcome.UNLOADABLE: Reason.SCRIPT_LOAD_ERROR,
    Outcome.UNCONFINED: Reason.ENVIRONMENT_ERROR,
}


_CUT = "threads of the script were still running after main had returned, and were ended"


@dataclass(frozen=True)
class Evidence:
    """What is known once a script's process is gone.

    Attributes:
        state: the last state it reported.
        outcome: what it said of its end; None if it died without a word.
        returncode: its exit code, or minus the signal that killed it.
        stopped: whether it was asked to stop before it told its outcome.
        host_ends: whether that was since the host ends, not for its server.
        hurried: whether we signalled it after it had told its outcome.
        limits: what it was allowed to use.
        overtime: whether it was stopped because its wall time was used up.
        cpu_seconds: processor time that it has used; None if nobody looked.
        out_of_memory: whether the kernel was out of memory at the time, and killed.
    """

    state: str
    outcome: Mapping[str, Any] | None
    returncode: int
    stopped: bool = False
    host_ends: bool = False
    hurried: bool = False
    limits: Limits = field(default_factory=Limits)
    overtime: bool = False
    cpu_seconds: float | None = None
    out_of_memory: bool = False


def judge(evidence: Evidence) -> dict[str, Any]:
    """The end of a procedure: the fields of the `end` event."""
    code = evidence.returncode
    end: dict[str, Any] = {
        "state": "FAILED",
        "reason": None,
        "error": None,
        "stacktrace": None,
        "result": None,
        "exit_code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "message": "",
    }
    outcome = evidence.outcome
    if evidence.stopped and _gave_way(outcome):
        message = "the script host was asked to end" if evidence.host_ends else ""
        return end | {
            "state": "STOPPED",
            "reason": Reason.STOPPED_BY_REQUEST.value,
            "message": message,
        }
    if evidence.overtime and _gave_way(outcome):
        text = (
            f"it had used up its {evidence.limits.wall_seconds:g} s of wall time, and was stopped"
        )
        return end | {"reason": Reason.TIMEOUT.value, "error": text}
    if outcome is None:
        return end | _died(f"{_death(code)} {_WHERE.get(evidence.state, '')}{_hint(evidence)}")
    kind = Outcome(outcome["outcome"])
    if kind is not Outcome.RETURNED:
        return end | {
            "reason": _FAILURES[kind].value,
            "error": outcome.get("error"),
            "stacktrace": outcome.get("stacktrace"),
        }
    if code != 0 and not (evidence.hurried or evidence.stopped or evidence.overtime):
        return end | _died(f"{_death(code)} after main had returned")
    messages = [outcome.get("message"), _CUT if code != 0 else None]
    return end | {
        "state": "COMPLETE",
        "result": outcome.get("result"),
        "message": "; ".join(filter(None, messages)),
    }


def _gave_way(outcome: Mapping[str, Any] | None) -> bool:
    """Whether a script that was asked to stop did so, rather than finish first."""
    if outcome is None or outcome.get("interrupted"):
        return True
    return Outcome(outcome["outcome"]) is Outcome.EXITED


def _died(text: str) -> dict[str, Any]:
    return {"reason": Reason.SCRIPT_DIED.value, "error": text}


def _death(returncode: int) -> str:
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:  # a real-time signal
        name = "real-time"
    return f"killed by signal {-returncode} ({name})"


def _hint(evidence: Evidence) -> str:
    """How that may have come about. An exit code is not the script's before it is loaded."""
    if evidence.returncode < 0:
        return _cause(evidence)
    if evidence.state in ("CREATING", "IDLE"):
        return ""
    if evidence.state == "RUNNING":
        return ", without returning from it (os._exit?)"
    return " (os._exit?)"


def _cause(evidence: Evidence) -> str:
    """Why it was killed by a signal, where that can be told."""
    number, allowed = -evidence.returncode, evidence.limits.cpu_seconds
    used_up = (evidence.cpu_seconds or 0.0) >= allowed
    if allowed and (number == signal.SIGXCPU or (number == signal.SIGKILL and used_up)):
        return f": it had used up its {allowed:g} s of processor time"
    if number == signal.SIGKILL and evidence.out_of_memory:
        return ": by the kernel, it seems, which was out of memory"
    return ""
