"""A simulated subarray: obsState and what its commands do to it (simulators; no Tango)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ska_oso_activity.domain.control_model import ResultCode, TaskStatus
from ska_oso_activity.simulators import answers
from ska_oso_activity.simulators.answers import COMPLETED, Answer, BadArgument, NotAllowed
from ska_oso_activity.simulators.arguments import READERS, Resources
from ska_oso_activity.simulators.faults import HEALTHY, Defect, FaultType
from ska_oso_activity.simulators.obs_state import RULES, ObsState, Rule
from ska_oso_activity.simulators.simulation import Outlets, Simulation, Tmc
from ska_oso_activity.simulators.timing import Cancel

ABORT_LIMIT = 30.0
"""Seconds after which an Abort that is still under way ends in FAULT."""
MOST_RESOURCES = 1024
"""How many resources the attribute shows."""
_STUCK = frozenset({FaultType.STUCK_IN_INTERMEDIATE_STATE, FaultType.STUCK_IN_OBSSTATE})

OnEnd = Callable[[Answer], None]


class WrongState(NotAllowed):
    """The command is not allowed in the obsState that the subarray is in."""


def nothing(*_: object) -> None:
    """What is called where nothing is to happen."""


@dataclass
class _UnderWay:
    """The command that a subarray is busy with.

    Attributes:
        uid: of the long-running command.
        stuck: whether it never ends by itself.
    """

    uid: str
    command: str
    on_end: OnEnd
    cancel: Cancel = nothing
    stuck: bool = False


def _together(own: Defect, callers: Defect | None) -> Defect:
    """Our own defect and that of the caller, which goes first."""
    if callers is None:
        return own
    defect = own if callers.fault is FaultType.NONE else callers
    die_at = own.die_at if callers.die_at is None else callers.die_at
    return replace(defect, die_at=die_at)


def _way_of(defect: Defect, rule: Rule) -> ObsState | None:
    """The state to be in while a command is under way."""
    # EMPTY is 0, so `or` would not do.
    if defect.fault in _STUCK and defect.intermediate_state is not None:
        return defect.intermediate_state
    return rule.through


class Subarray(Simulation):
    """One subarray.

    Args:
        number: of the subarray, from 1.
        abort_limit: see `ABORT_LIMIT`.
    """

    def __init__(
        self,
        name: str,
        number: int,
        tmc: Tmc,
        outlets: Outlets,
        *,
        abort_limit: float = ABORT_LIMIT,
    ) -> None:
        super().__init__(name, tmc, outlets)
        self.number = number
        self.obs_state = ObsState.EMPTY
        self.resources: tuple[str, ...] = ()
        self.scan_id = 0
        self.scan_duration = 0.0
        self._abort_limit = abort_limit
        self._under_way: _UnderWay | None = None
        self._scans = 0
        self._cancel_scan: Cancel = nothing
        self._imposed = HEALTHY
        tmc.join(self)

    # --- Commands --------------------------------------------------------------------------------

    def perform(
        self,
        command: str,
        argument: str = "",
        *,
        defect: Defect | None = None,
        on_end: OnEnd = nothing,
    ) -> Answer:
        """See `Simulation.perform`.

        Args:
            defect: of the caller, which goes before our own.
            on_end: told the result of a command that was accepted, unless it never ends.

        Raises:
            NotAllowed: it is refused by an exception; WrongState: because of obsState.
        """
        own = self._defect_of(command)
        with self._lock:
            self._check_state(command)
            request = self._read(command, argument)
            if isinstance(request, Answer):
                return request
            defect = _together(own, defect)
            self._imposed = defect
            if defect.fault is FaultType.FAILED_RESULT:
                self._pass_through(defect)
                return Answer(defect.result, defect.message)
            uid = self._submit(command)
            if defect.fault is FaultType.NOT_ALLOWED_AFTER_QUEUING:
                self._reject_later(uid, defect, on_end)
            else:
                if RULES[command].ends_others:
                    fails = defect.fault is not FaultType.NONE
                    self._break_off(command, scan_too=command != "EndScan" or not fails)
                self._begin(_UnderWay(uid, command, on_end), request, defect)
            started = command == "Abort" and defect.fault is FaultType.NONE
            return Answer(ResultCode.STARTED if started else ResultCode.QUEUED, uid)

    def perform_at_once(self, command: str, argument: str = "") -> None:
        """See `Simulation.perform_at_once`; obsState passes on to the last."""
        defect = self._defect_of(command)
        with self._lock:
            self._check_state(command)
            request = self._read(command, argument)
            if isinstance(request, Answer):
                raise NotAllowed(request.text)
            self._imposed = defect
            rule = RULES[command]
            if rule.ends_others:
                self._break_off(command)
            if defect.fault is FaultType.NONE:
                self._enter(rule.through)
                last = self._take_effect(command, request)
                if command == "Scan":
                    self._set_scan_id(0)
                self._enter(rule.to if last is None else last)
                return
            if defect.fault in _STUCK:
                self._enter(_way_of(defect, rule))
            if defect.fault is not FaultType.STUCK_IN_INTERMEDIATE_STATE:
                self._pass_through(defect)
                raise NotAllowed(defect.message)

    def set_obs_state(self, state: ObsState) -> None:
        """Be in a state, whatever was under way."""
        with self._lock:
            self._break_off("SetDirectObsState")
            self._enter(state)

    def leave(self) -> None:
        """Be no subarray of this TMC any more; what is under way is aborted."""
        with self._lock:
            self._tmc.leave(self)
            self._break_off("Init")
            self.abort_commands()

    def abort_commands(self) -> None:
        """Abort what is under way; a scan that goes on still comes to its end."""
        with self._lock:
            self._break_off("AbortCommands", scan_too=False)
            super().abort_commands()

    # --- The beginning ---------------------------------------------------------------------------

    def _check_state(self, command: str) -> None:
        allowed = RULES[command].allowed
        if self.obs_state not in allowed:
            raise WrongState(
                f"{command} is not allowed on {self.name}: obsState is {self.obs_state.name}, and "
                f"it would be allowed in {', '.join(each.name for each in sorted(allowed))}"
            )
        now = self._under_way
        if now is not None and not now.stuck and not RULES[command].ends_others:
            raise WrongState(
                f"{command} is not allowed on {self.name}: {now.command} is still under way, "
                "and it would be allowed after that"
            )

    def _read(self, command: str, argument: str) -> Any:
        """What a command's argument asks for; an Answer if it is not what TMC takes."""
        reader = READERS.get(command)
        # Without an argument, ReleaseResources means all, as ReleaseAllResources does.
        if reader is None or (command == "ReleaseResources" and not argument.strip()):
            return Resources((), everything=True)
        try:
            request = reader(self._tmc.telescope, argument)
            if command == "ReleaseResources":
                self._check_assigned(request)
        except BadArgument as error:
            return Answer(ResultCode.REJECTED, f"{command} on {self.name}: {error}")
        return request

    def _check_assigned(self, request: Resources) -> None:
        others = [name for name in request.names if name not in self.resources]
        if others:
            raise BadArgument(
                f"{', '.join(others)} cannot be released: assigned are "
                f"{', '.join(self.resources) or 'none'}"
            )

    def _begin(self, call: _UnderWay, request: Any, defect: Defect) -> None:
        if self._under_way is not None:
            self._break_off(call.command, scan_too=False)  # it was stuck
        self._under_way = call
        self._out.tracker.start(call.uid)
        rule, origin, command = RULES[call.command], self.obs_state, call.command
        delay = self.delays.of(command)
        stuck = defect.fault in _STUCK
        self._enter(_way_of(defect, rule))
        if defect.fault is FaultType.STUCK_IN_INTERMEDIATE_STATE:
            call.stuck = True
            return
        if defect.fault is not FaultType.NONE:
            end = partial(
                self._fail, call, defect, None if stuck or rule.through is None else origin
            )
        elif command == "Abort" and delay > self._abort_limit:
            delay, end = self._abort_limit, partial(self._abort_too_long, call)
        else:
            end = partial(self._complete, call, request)
            if command == "Scan":
                self._take_effect(command, request)
                self._scans += 1
                over = partial(self._scan_over, self._scans)
                self._cancel_scan = self._out.timers.after(self.scan_duration, over)
        call.cancel = self._out.timers.after(delay, end)

    def _reject_later(self, uid: str, defect: Defect, on_end: OnEnd) -> None:
        answer = Answer(ResultCode.NOT_ALLOWED, defect.message)

        def reject() -> None:
            with self._lock:
                self._finish(uid, answer)
                on_end(answer)

        self._out.timers.after(0.0, reject)

    # --- The end ---------------------------------------------------------------------------------

    def _complete(self, call: _UnderWay, request: Any) -> None:
        with self._lock:
            if self._under_way is not call:
                return
            if call.command == "Scan":
                self._end(call, COMPLETED)
                return
            last = self._take_effect(call.command, request)
            self._end(call, COMPLETED, RULES[call.command].to if last is None else last)

    def _scan_over(self, scan: int) -> None:
        with self._lock:
            call = self._under_way
            # A timer that was cancelled at the last moment may be of an earlier scan.
            if self.obs_state is not ObsState.SCANNING or scan != self._scans:
                return
            self._set_scan_id(0)
            if call is not None and call.command == "Scan":
                call.cancel()
                self._end(call, COMPLETED, ObsState.READY)
            else:
                self._enter(ObsState.READY)

    def _fail(self, call: _UnderWay, defect: Defect, back_to: ObsState | None) -> None:
        with self._lock:
            if self._under_way is not call:
                return
            self._end(call, answers.exception(self.name, defect.result, defect.message), back_to)
            self._pass_through(defect)

    def _abort_too_long(self, call: _UnderWay) -> None:
        with self._lock:
            if self._under_way is call:
                text = f"Abort on {self.name}: {answers.TIMED_OUT}"
                self._end(call, Answer(ResultCode.FAILED, text), ObsState.FAULT)

    def _break_off(self, by: str, *, scan_too: bool = True) -> None:
        """End whatever is under way; EndScan completes a scan, all others abort it.

        Args:
            scan_too: whether the scan's own end is not to come any more.
        """
        if scan_too:
            self._cancel_scan()
            self._scans += 1  # should its timer ring at this moment, it finds another scan
        call = self._under_way
        if call is None:
            return
        call.cancel()
        if by == "EndScan":
            self._end(call, COMPLETED)
            return
        self._end(call, self._aborted(call.command), status=TaskStatus.ABORTED)

    def _end(
        self,
        call: _UnderWay,
        answer: Answer,
        state: ObsState | None = None,
        status: TaskStatus | None = None,
    ) -> None:
        self._under_way = None

        def tell() -> None:
            self._finish(call.uid, answer, status)
            call.on_end(answer)

        self._conclude(partial(self._enter, state), tell)

    # --- What changes ----------------------------------------------------------------------------

    def _take_effect(self, command: str, request: Any) -> ObsState | None:
        """Do what a command is for; returns the state it leads to if its rule does not say."""
        if command == "AssignResources":
            self._set_resources(tuple(dict.fromkeys((*self.resources, *request.names))))
        elif command in {"ReleaseResources", "ReleaseAllResources"}:
            left = () if request.everything else self.resources
            self._set_resources(tuple(each for each in left if each not in request.names))
            return ObsState.IDLE if self.resources else ObsState.EMPTY
        elif command == "Configure" and request is not None:
            self.scan_duration = request
        elif command == "Scan":
            self._set_scan_id(request)
        elif command in {"EndScan", "Abort"}:
            self._set_scan_id(0)
        elif command == "Restart":
            self._set_resources(())
            self.scan_duration = 0.0
        return None

    def _set_resources(self, names: tuple[str, ...]) -> None:
        if names != self.resources:
            self.resources = names
            self._publish("assignedResources", list(names[:MOST_RESOURCES]))

    def _set_scan_id(self, scan_id: int) -> None:
        if scan_id != self.scan_id:
            self.scan_id = scan_id
            self._publish("scanId", scan_id)

    def _pass_through(self, defect: Defect) -> None:
        for state in defect.target_obsstates:
            self._enter(state)

    def _enter(self, state: ObsState | None) -> None:
        """Change obsState and tell it; None: it stays."""
        if state is None or state is self.obs_state:
            return
        if state in {self.defect.die_at, self._imposed.die_at}:
            self._out.die(1)
        self.obs_state = state
        self._publish("obsState", state)
