"""One script from launch to end, as the host sees it (script host)."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ska_oso_activity.script_host.capture import OutputCapture
from ska_oso_activity.script_host.control import ControlChannel
from ska_oso_activity.script_host.leader import Leader
from ska_oso_activity.script_host.loop import Loop, Timer
from ska_oso_activity.script_host.memory import OutOfMemory
from ska_oso_activity.script_host.outcome import STATES, Outcome
from ska_oso_activity.script_host.output import OutputWriter
from ska_oso_activity.script_host.procfs import cpu_seconds
from ska_oso_activity.script_host.request import LaunchRequest
from ska_oso_activity.script_host.stopping import AFTER_MAIN, STOP, Ladder, Rung
from ska_oso_activity.script_host.sweep import Clearing, Family, Leftovers
from ska_oso_activity.script_host.verdict import Evidence, judge
from ska_oso_activity.script_host.wall_clock import WallClock

OUTPUT_SECONDS = 0.05
"""Least time between two notices of new output."""

TEXTS = ("error", "stacktrace", "message")
"""What an outcome says in words; a script could have anything else sent in their place."""

LOG = logging.getLogger(__name__)

Emit = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class End:
    """How a script's process ended.

    Attributes:
        fields: those of the event that tells it.
        unheard: whether it was killed, and nobody had asked for that, before it had said that it
            loads the script: then it has not.
        start: the message that it was sent to start something; empty if none was.
    """

    fields: dict[str, Any]
    unheard: bool
    start: dict[str, Any]


class ScriptProcess:
    """Follows a script: its reports, its output, its stop, its death, and what it leaves."""

    def __init__(
        self,
        loop: Loop,
        request: LaunchRequest,
        leader: Leader,
        family: Family,
        writer: OutputWriter,
        emit: Emit,
        on_end: Callable[[End], None],
        memory: OutOfMemory,
    ) -> None:
        """Hand the script to its process and begin to watch.

        Args:
            emit: makes an event of a kind and its fields.
            on_end: called once, when no process of the script is left.
            memory: knows whether the kernel kills for want of it.
        """
        self.pid = leader.pid
        self._name = f"procedure {request.procedure_id} (process {leader.pid})"
        self._loop = loop
        self._request = request
        self._leader = leader
        self._family = family
        self._emit = emit
        self._on_end = on_end
        self._memory = memory

        self._state = "CREATING"
        self._outcome: dict[str, Any] | None = None
        self._start: dict[str, Any] = {}
        self._stopped = False
        self._host_ends = False
        self._overtime = False
        self._hurried = False
        self._dead = False
        self._ladder: Ladder | None = None
        self._clock = WallClock(loop, request.limits.wall_seconds, self._on_overtime)

        self._writer = writer
        self._told_output = 0
        self._output_timer: Timer | None = None
        self._capture = OutputCapture(loop, leader.ends, writer, self._tell_output_soon)
        leader.greet()
        self._control = ControlChannel(loop, leader.ends.control, leader.token, self._on_message)
        self._control.send({"kind": "load", "joins_states": True, **request.to_json()})
        leader.watch(loop, self._on_death)
        self._clock.run()

    # --- What the server asks for

    def start(self, function: str, args: dict[str, Any]) -> None:
        """Have a function run as soon as the script is ready; the first request counts."""
        if not self._start:
            self._start = {"kind": "start", "function": function, "args": args}
            self._control.send(self._start)

    def stop(self, grace: float | None = None) -> None:
        """Ask, terminate, kill; a second stop joins the first.

        Args:
            grace: seconds; None for what the script was launched with: it is not its server that
                asks, but the end of the host.
        """
        if self._dead and self._outcome is None and self._state == "CREATING":
            self._stopped = True  # no other process is needed
        if self._dead or self._stopped or self._hurried or self._overtime:
            return
        self._host_ends = grace is None
        grace = self._request.grace if grace is None else grace
        if self._outcome is None:
            self._stopped = True
        else:  # it has finished already, which is what will be reported
            self._hurried = True
        self._climb(STOP, grace)

    # --- What the script's process says

    def _on_message(self, message: dict[str, Any]) -> None:
        kind = message.get("kind")
        if kind == "state":
            for state in (*message.get("passed", ()), message.get("state")):
                if state in STATES:
                    self._on_state(state)
        elif kind == "progress":
            self._emit("progress", {key: message.get(key) for key in ("progress", "message")})
        elif kind == "message":
            self._emit("message", {"message": message.get("message")})
        elif kind == "outcome" and self._outcome is None:
            self._on_outcome(message)

    def _on_outcome(self, message: dict[str, Any]) -> None:
        try:
            outcome = Outcome(message.get("outcome"))
        except ValueError:
            LOG.warning("%s tells an outcome that nobody knows; it is ignored", self._name)
            return
        texts = {key: message[key] for key in TEXTS if isinstance(message.get(key), str)}
        self._outcome = {**message, **dict.fromkeys(TEXTS), **texts, "outcome": outcome}
        self._clock.pause()
        if not self._stopped and not self._overtime:
            self._climb(AFTER_MAIN, self._request.grace)

    def _on_state(self, state: str) -> None:
        self._state = state
        if state == "READY":
            self._clock.pause()
        elif not self._dead:
            self._clock.run()
        self._emit("state", {"state": state, "pid": self.pid})

    def _on_overtime(self) -> None:
        if not self._dead and not self._stopped:
            LOG.warning("%s has used up its wall time", self._name)
            self._overtime = True
            self._climb(STOP, self._request.grace)

    def _climb(self, rungs: Sequence[Rung], grace: float) -> None:
        if self._dead:  # there is nobody to climb after, and soon its number is another's
            return
        if self._ladder:
            self._ladder.cancel()
        self._ladder = Ladder(self._loop, self._name, rungs, grace, self._send_signal)

    def _send_signal(self, number: signal.Signals) -> None:
        if self._dead:
            return
        if self._outcome is not None:
            self._hurried = True
        self._leader.send_signal(number)

    # --- Its output

    def _tell_output_soon(self) -> None:
        if self._output_timer is None:
            self._tell_output()
            self._output_timer = self._loop.call_later(OUTPUT_SECONDS, self._output_pause_over)

    def _output_pause_over(self) -> None:
        self._output_timer = None
        if self._writer.next != self._told_output:
            self._tell_output_soon()

    def _tell_output(self) -> None:
        if self._writer.next != self._told_output:
            self._told_output = self._writer.next
            self._emit("output", {"next": self._told_output})

    # --- Its end

    def _on_death(self) -> None:
        """The leader has ended. Its pid stays taken until we wait for it, so that is done last."""
        self._dead = True
        self._clock.pause()
        if self._ladder:
            self._ladder.cancel()
        try:
            self._control.drain()
        except Exception:  # whatever it said: it has ended, and that is told
            LOG.exception("%s: what it said last cannot be read", self._name)
        # Who ended by itself leaves processes that nobody has asked to end yet.
        polite = self._outcome is not None
        Clearing(self._loop, self._leftovers, polite, self._on_cleared)

    def _leftovers(self, spare_newborns: bool) -> Leftovers:
        return self._family.leftovers(self.pid, spare_newborns=spare_newborns)

    def _on_cleared(self) -> None:
        self._capture.finish()
        if self._output_timer:
            self._output_timer.cancel()
        self._tell_output()
        cpu = cpu_seconds(self.pid) if self._request.limits.cpu_seconds else None
        returncode = self._leader.wait()
        self._control.close()
        self._leader.close()
        end = judge(
            Evidence(
                state=self._state,
                outcome=self._outcome,
                returncode=returncode,
                stopped=self._stopped,
                host_ends=self._host_ends,
                hurried=self._hurried,
                limits=self._request.limits,
                overtime=self._overtime,
                cpu_seconds=cpu,
                out_of_memory=returncode == -signal.SIGKILL and self._memory.struck(),
            )
        )
        LOG.info(
            "%s has ended: %s %s %s",
            self._name,
            end["state"],
            end["reason"] or "",
            end["error"] or "",
        )
        # What a process has sent can be read whatever kills it next: if it did not say that it
        # loads the script, it has not begun to.
        unheard = self._state == "CREATING" and self._outcome is None and returncode < 0
        asked = self._stopped or self._overtime
        self._on_end(End(end, unheard and not asked, self._start))
