"""A simulated CentralNode: the telescope's state, and resources for subarrays (simulators; no
Tango).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.control_model import ResultCode
from ska_oso_activity.simulators import answers
from ska_oso_activity.simulators.answers import COMPLETED, Answer, BadArgument
from ska_oso_activity.simulators.arguments import read_object, read_subarray_id
from ska_oso_activity.simulators.faults import Defect, FaultType
from ska_oso_activity.simulators.simulation import Outlets, Simulation, Tmc
from ska_oso_activity.simulators.subarray import Subarray, nothing
from ska_oso_activity.simulators.timing import Cancel

COMMAND_TIME_OUT = 30
"""Seconds that a subarray has, unless `commandTimeOut` is written."""
TELESCOPE_STATES = {"TelescopeOn": "ON", "TelescopeOff": "OFF", "TelescopeStandby": "STANDBY"}
"""By the command that leads there."""
_OF_SUBARRAYS = frozenset({"AssignResources", "ReleaseResources"})


class CentralNode(Simulation):
    """The CentralNode of one TMC."""

    def __init__(self, name: str, tmc: Tmc, outlets: Outlets) -> None:
        super().__init__(name, tmc, outlets)
        self.telescope_state = "OFF"
        self.command_time_out = COMMAND_TIME_OUT

    def perform(self, command: str, argument: str = "") -> Answer:
        """See `Simulation.perform`; an exception may also be the subarray's."""
        defect = self._defect_of(command)
        with self._lock:
            try:
                subarray = self._subarray_of(command, argument)
            except BadArgument as error:
                return Answer(ResultCode.REJECTED, f"{command} on {self.name}: {error}")
            if defect.fault is FaultType.FAILED_RESULT:
                return Answer(defect.result, defect.message)
            if subarray is None or defect.fault is FaultType.NOT_ALLOWED_AFTER_QUEUING:
                return self._perform_alone(command, defect)
            return self._perform_with(subarray, command, argument, defect)

    def perform_at_once(self, command: str, argument: str = "") -> None:
        """See `Simulation.perform_at_once`."""
        defect = self._defect_of(command)
        with self._lock:
            try:
                subarray = self._subarray_of(command, argument)
            except BadArgument as error:
                raise answers.NotAllowed(f"{command} on {self.name}: {error}") from error
            if defect.fault is not FaultType.NONE:
                raise answers.NotAllowed(defect.message)
            if subarray is None:
                self._take_effect(command)
            else:
                subarray.perform_at_once(command, argument)

    def availability(self) -> str:
        """telescopeAvailability: the devices that can be used, as JSON."""
        with self._lock:
            subarrays = {each.name: True for _, each in sorted(self._tmc.subarrays.items())}
        return strict_json.dumps({
            "tmc_subarrays": subarrays,
            "csp_master_leaf_node": True,
            "sdp_master_leaf_node": True,
        })  # fmt: skip

    def _subarray_of(self, command: str, argument: str) -> Subarray | None:
        """The subarray that a command is for; None: it is for the telescope."""
        if command not in _OF_SUBARRAYS:
            if command == "LoadDishCfg":
                read_object(argument)
            return None
        number = read_subarray_id(argument)
        subarray = self._tmc.subarrays.get(number)
        if subarray is None:
            there = ", ".join(map(str, sorted(self._tmc.subarrays))) or "none"
            raise BadArgument(f"there is no subarray_id {number}; there are {there}")
        return subarray

    def _perform_alone(self, command: str, defect: Defect) -> Answer:
        uid = self._submit(command)
        if defect.fault is FaultType.NOT_ALLOWED_AFTER_QUEUING:
            rejected = Answer(ResultCode.NOT_ALLOWED, defect.message)
            self._out.timers.after(0.0, partial(self._end, command, uid, rejected))
            return Answer(ResultCode.QUEUED, uid)
        self._out.tracker.start(uid)
        if defect.fault is not FaultType.STUCK_IN_INTERMEDIATE_STATE:
            answer = COMPLETED
            if defect.fault is not FaultType.NONE:
                answer = answers.exception(self.name, defect.result, defect.message)
            self._out.timers.after(
                self.delays.of(command), partial(self._end, command, uid, answer)
            )
        return Answer(ResultCode.QUEUED, uid)

    def _perform_with(
        self, subarray: Subarray, command: str, argument: str, defect: Defect
    ) -> Answer:
        """Have a subarray do it. The lock is held, so its end comes after its beginning."""
        uid = ""
        cancel: Cancel = nothing

        def on_end(answer: Answer) -> None:
            cancel()
            self._finish(uid, self._as_ours(subarray, answer))

        answer = subarray.perform(
            command, argument, defect=replace(defect, commands=frozenset()), on_end=on_end
        )
        if answer.code == ResultCode.REJECTED:
            return answer
        uid = self._submit(command)
        self._out.tracker.start(uid)
        timed_out = Answer(ResultCode.FAILED, f"{command} on {self.name}: {answers.TIMED_OUT}")
        # A command that is to get stuck without a result does not time out either.
        if defect.fault is not FaultType.STUCK_IN_INTERMEDIATE_STATE:
            time_out = partial(self._finish, uid, timed_out)
            cancel = self._out.timers.after(float(self.command_time_out), time_out)
        if not answer.accepted:
            on_end(answer)
        return Answer(ResultCode.QUEUED, uid)

    def _as_ours(self, subarray: Subarray, answer: Answer) -> Answer:
        if answer.code == ResultCode.OK:
            return COMPLETED
        if answer.text.startswith(answers.EXCEPTION):
            return answer
        return answers.exception(subarray.name, ResultCode.FAILED, answer.text)

    def _end(self, command: str, uid: str, answer: Answer) -> None:
        with self._lock:
            if uid not in self._live:
                return  # aborted meanwhile
            move = partial(self._take_effect, command if answer is COMPLETED else "")
            self._conclude(move, partial(self._finish, uid, answer))

    def _take_effect(self, command: str) -> None:
        state = TELESCOPE_STATES.get(command)
        if state is not None and state != self.telescope_state:
            self.telescope_state = state
            self._publish("telescopeState", state)
