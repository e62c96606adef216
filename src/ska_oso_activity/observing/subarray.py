"""A subarray as an observing script sees it: what can be asked of it (observing library)."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from ska_oso_activity import script
from ska_oso_activity.observing import states
from ska_oso_activity.observing.course import Patience
from ska_oso_activity.observing.device import Device, DeviceError
from ska_oso_activity.observing.errors import (
    CommandError,
    ConnectionLost,
    NotConfigured,
    SubarrayAstray,
    TimedOut,
    WrongState,
)
from ska_oso_activity.observing.names import Names
from ska_oso_activity.observing.part import is_number
from ska_oso_activity.observing.states import ABORTABLE, Command, ObsState
from ska_oso_activity.observing.watch import Watch, patiently

LOG = logging.getLogger(__name__)
Json = dict[str, Any]
ROUNDS = 5
"""How often an abort looks anew, if the subarray moves on by itself meanwhile."""
_UNDER_WAY = frozenset({ObsState.ABORTING, ObsState.RESTARTING, ObsState.RESETTING})


class Subarray:
    """Commands a subarray, and waits for each command to be over.

    Use it in a `with` statement:

        with Subarray(1) as subarray:
            subarray.assign(request)

    Attributes:
        id: 1 to 16.
        names: of the devices.
    """

    def __init__(
        self,
        subarray_id: int | None = None,
        *,
        timeouts: Mapping[str, float] | None = None,
        names: Names | None = None,
        connect: Callable[[str], Device] | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Connect to the subarray; to the CentralNode only when it is needed.

        Args:
            subarray_id: None: that of the activity.
            timeouts: seconds by Tango command, such as `{"Configure": 400}`, instead of the usual
                ones (`states.py`). Those of Scan come on top of the scan's duration.
            names: of the devices; None: as the environment says.
            connect: makes a device of a name; None: by Tango.
            patience: how long events may lag behind each other; None: as is usual.

        Raises:
            NotConfigured: no subarray is named, or the environment does not name the telescope.
            ConnectionLost: the subarray does not answer.
            ValueError: there is no such subarray, no such command, or no such time-out.
            TypeError: `timeouts` is no mapping.
        """
        number = script.subarray_id() if subarray_id is None else subarray_id
        if number is None:
            raise NotConfigured("no subarray is named: run the activity with a subarray_id")
        self.id = number
        self.names = names or Names.from_environment()
        self._timeouts = _checked(timeouts or {})
        self._connect = connect or _by_tango
        self._patience = patience or Patience()
        self._subarray = self._reach(self.names.subarray(number))
        self._central_node: Device | None = None
        self._watch = Watch(self._subarray, self._patience)

    def __enter__(self) -> Subarray:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None or issubclass(kind, Exception):  # after an interrupt nobody waits
            self._watch.close()

    @property
    def name(self) -> str:
        """The device's name."""
        return self._subarray.name

    @property
    def obs_state(self) -> ObsState:
        """What the subarray is doing, read now."""
        return self._watch.obs_state()

    # The way of an observation. Each raises what `Watch.run` does.

    def assign(self, request: Json) -> None:
        """Assign resources, from EMPTY or IDLE; ends IDLE.

        Args:
            request: of the CentralNode's AssignResources; its `subarray_id` is set to ours.
        """
        self._run(states.ASSIGN, {**request, "subarray_id": self.id}, self._commander())

    def configure(self, request: Json) -> None:
        """Configure for a scan, from IDLE or READY; ends READY."""
        self._run(states.CONFIGURE, request)

    def scan(self, request: Json, duration: float) -> None:
        """Scan until the telescope has counted `duration` seconds down, from READY; ends READY.

        Raises:
            SubarrayAstray: also if it was READY again clearly before that.
            ValueError: `duration` is no number of seconds.
        """
        if not is_number(duration) or duration < 0:
            raise ValueError(f"a scan takes seconds, such as 12.5, and not {duration!r}")
        self._run(states.SCAN, request, least=duration)

    def end_scan(self) -> None:
        """End a scan before its time, from SCANNING; ends READY."""
        self._run(states.END_SCAN)

    def end(self) -> None:
        """Be done with scans, from READY; ends IDLE."""
        self._run(states.END)

    def release(self, request: Json) -> None:
        """Release all resources, from IDLE; ends EMPTY.

        Args:
            request: of the CentralNode's ReleaseResources; its `subarray_id` is set to ours.
        """
        self._run(states.RELEASE, {**request, "subarray_id": self.id}, self._commander())

    # The way out.

    def restart(self) -> None:
        """Let go of everything, from ABORTED or FAULT; ends EMPTY."""
        self._run(states.RESTART)

    def abort(self, *, restart: bool = False) -> ObsState:
        """Stop whatever the subarray is doing, from any obsState; returns the one it ends in.

        That is ABORTED, or EMPTY with `restart` and where there was nothing to abort. What is under
        way already (ABORTING, RESTARTING) is waited for; EMPTY is believed if it stays so for
        a moment, as resources that were asked for may be on their way.

        Args:
            restart: go on to EMPTY, also out of FAULT.

        Raises:
            WrongState: it is in FAULT, which has no way to ABORTED.
            CommandError: it did not get there.
        """
        ends = {ObsState.EMPTY} if restart else {ObsState.EMPTY, ObsState.ABORTED}
        if self._look() is ObsState.EMPTY:
            self._moves(ObsState.EMPTY)
        for _ in range(ROUNDS):
            state = self._look()
            if state in ends:
                return state
            if state is ObsState.FAULT and not restart:
                raise WrongState.of("Abort", self.name, state, ABORTABLE)
            self._one_step_out(state)
        state = self._look()
        if state in ends:
            return state
        text = f"{self.name} could not be aborted in {ROUNDS} rounds. It is {state.name}"
        raise SubarrayAstray(text, command="Abort", device=self.name, obs_state=state)

    def _one_step_out(self, state: ObsState) -> None:
        """Abort, restart, or wait for what is under way; an error passes if it moved meanwhile."""
        if state in _UNDER_WAY:
            settled = frozenset(ObsState) - _UNDER_WAY
            self._watch.wait_for(settled, self._seconds(states.ABORT), state.name)
            return
        command = states.ABORT if state in ABORTABLE else states.RESTART
        try:
            self._run(command)
        except CommandError as error:
            late = isinstance(error, TimedOut)
            moved = self._look() is not state if late else self._moves(state)
            if not moved or (late and self._look() in _UNDER_WAY):
                raise
            LOG.warning("%s", error)  # it moved meanwhile: look again

    def _look(self) -> ObsState:
        return self._watch.obs_state(self._seconds(states.ABORT))

    def _moves(self, state: ObsState) -> bool:
        """Whether it leaves a state within a moment."""
        others = frozenset(ObsState) - {state}
        try:
            self._watch.wait_for(others, self._patience.moves_within, "looking whether it moves")
        except (TimedOut, ConnectionLost):
            LOG.debug("%s stays %s, or is too busy to tell", self.name, state.name)
        return self._look() is not state

    def _commander(self) -> Device:
        """The CentralNode."""
        if self._central_node is None:
            self._central_node = self._reach(self.names.central_node)
        return self._central_node

    def _reach(self, name: str) -> Device:
        until = time.monotonic() + self._patience.answers
        try:
            return patiently(lambda: self._connect(name), until)
        except DeviceError as error:
            text = f"{name} cannot be reached: {error}"
            raise ConnectionLost(text, command="connect", device=name) from error

    def _run(
        self,
        command: Command,
        request: Json | None = None,
        device: Device | None = None,
        *,
        least: float = 0.0,
    ) -> None:
        argument = None if request is None else _json(command, request)
        seconds = self._seconds(command)
        self._watch.run(command, device or self._subarray, argument, seconds=seconds, least=least)

    def _seconds(self, command: Command) -> float:
        return self._timeouts.get(command.name, command.seconds)


def _by_tango(name: str) -> Device:
    from ska_oso_activity.observing.tango_device import TangoDevice

    return TangoDevice(name)


def _json(command: Command, request: Json) -> str:
    try:
        return json.dumps(request, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"what {command.name} is to be sent is no JSON: {error}") from error


def _checked(timeouts: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(timeouts, Mapping):
        raise TypeError(f'time-outs are an object, such as {{"Scan": 90}}, not {timeouts!r}')
    known = [command.name for command in states.COMMANDS]
    if unknown := sorted(set(timeouts) - set(known), key=str):
        raise ValueError(f"time-outs are given for {unknown}; commands are {', '.join(known)}")
    bad = {name: each for name, each in timeouts.items() if not is_number(each) or each <= 0}
    if bad:
        raise ValueError(f"time-outs are seconds above 0, such as 90, not {bad}")
    return dict(timeouts)
