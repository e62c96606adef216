"""What both simulated TMC devices show to Tango: SKA's interface, timing, faults (simulators)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import tango
from tango.server import attribute, command, device_property

from ska_oso_activity.application.ports import Publisher
from ska_oso_activity.devices.base import HealthState, OsoDevice, Trouble, published
from ska_oso_activity.devices.publisher import on_the_wire
from ska_oso_activity.devices.refusals import LongRunning
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.control_model import ResultCode
from ska_oso_activity.simulators.answers import Answer, BadArgument, NotAllowed
from ska_oso_activity.simulators.arguments import Telescope
from ska_oso_activity.simulators.faults import read_defect
from ska_oso_activity.simulators.simulation import Order, Outlets, Simulation, Tmc
from ska_oso_activity.simulators.subarray import WrongState
from ska_oso_activity.simulators.timing import DEFAULT_DELAY, Delays, ThreadTimers

NOT_ALLOWED = "API_CommandNotAllowed"
BAD_ARGUMENT = "TMC_BadArgument"
NOT_SET_UP = "TMC_NotSetUp"
MOST_CALLS = 100
"""How many calls commandCallInfo and History remember."""

TMCS = {telescope: Tmc(telescope) for telescope in Telescope}
"""Those of this process: CentralNode finds the subarrays of its own server here."""


def long_running(name: str, doc_in: str | None = None) -> Any:
    """A long-running command, which takes a string if `doc_in` says what it is."""
    return _command(name, doc_in, "answer", "DevVarLongStringArray", "[[2], [id]], or why not")


def silent(name: str, doc_in: str | None = None) -> Any:
    """A command that has done its work when it returns, and returns nothing."""
    return _command(name, doc_in, "obey", None, "")


def _command(name: str, doc_in: str | None, how: str, dtype_out: Any, doc_out: str) -> Any:
    function: Callable[..., Any]
    if doc_in is None:

        def function(device: TmcDevice) -> Any:
            return getattr(device, how)(name, "")
    else:

        def function(device: TmcDevice, argument: str) -> Any:
            return getattr(device, how)(name, argument)

    function.__name__ = name
    function.__doc__ = doc_in or name
    return command(
        function,
        dtype_in=None if doc_in is None else str,
        doc_in=doc_in or "",
        dtype_out=dtype_out,
        doc_out=doc_out,
    )


class TmcDevice(OsoDevice):
    """Base of the simulated CentralNode and SubarrayNode."""

    TELESCOPE: ClassVar[Telescope]
    simulation: Simulation

    DefaultDelay = device_property(
        dtype=float,
        default_value=DEFAULT_DELAY,
        doc="Seconds that a command takes; SetDelayInfo says otherwise for single commands.",
    )
    Jitter = device_property(
        dtype=float, default_value=0.0, doc="Up to so many seconds more, by chance."
    )
    EventOrder = device_property(
        dtype=str,
        default_value=Order.STATE_FIRST.value,
        doc="What is told first at a command's end: state-first, result-first or random.",
    )
    WrongStateRaises = device_property(
        dtype=bool,
        default_value=True,
        doc="Whether a command that obsState does not allow raises; else it returns [[5], [text]].",
    )

    # --- Attributes ------------------------------------------------------------------------------

    commandCallInfo = published(
        "commandCallInfo",
        dtype=((str,),),
        max_dim_x=2,
        max_dim_y=MOST_CALLS,
        doc="Name and argument of each command that came, the newest last.",
    )

    @attribute(dtype=str, doc='JSON list of the commands that came: {"command", "args"}.')
    def History(self) -> str:
        return strict_json.dumps([{"command": n, "args": a} for n, a in self._calls])

    @attribute(dtype=str, doc="What SetDefective was last told.")
    def defective(self) -> str:
        return self._defective

    @attribute(dtype=str, doc="Seconds that commands take, as JSON.")
    def commandDelayInfo(self) -> str:
        return self.simulation.delays.describe()

    # --- Life ------------------------------------------------------------------------------------

    def create_component_manager(self) -> None:
        try:
            order = Order(self.EventOrder)
        except ValueError as error:
            known = ", ".join(each.value for each in Order)
            raise ValueError(
                f"property EventOrder is {self.EventOrder!r}; possible are {known}"
            ) from error
        self._calls: deque[tuple[str, str]] = deque(maxlen=MOST_CALLS)
        self._defective = '{"enabled":false}'
        self._direct_health: HealthState | None = None
        self._timers = ThreadTimers()
        delays = Delays(self.DefaultDelay, self.Jitter)
        outlets = Outlets(self.tracker, self.create_publisher(), self._timers, delays, order)
        self.simulation = self.create_simulation(TMCS[self.TELESCOPE], outlets)
        # After an Init, clients learn that all is as in the beginning.
        self.publisher.publish(list(self.simulated_values().items()))

    def release_component_manager(self) -> None:
        # Neither is there if a property was wrong.
        if hasattr(self, "_timers"):
            self._timers.close()
        if hasattr(self, "simulation"):
            self.simulation.leave()

    def create_publisher(self) -> Publisher:
        """What the simulation publishes through."""
        return self.publisher

    def create_simulation(self, tmc: Tmc, outlets: Outlets) -> Simulation:
        """Build what is behind the commands."""
        raise NotImplementedError

    def simulated_values(self) -> dict[str, Any]:
        """What the attributes of the simulation read as in the beginning."""
        return {"commandCallInfo": [["", ""]]}

    def first_values(self) -> dict[str, Any]:
        return {**super().first_values(), **self.simulated_values()}

    def judge_health(self, troubles: dict[str, Trouble]) -> HealthState:
        direct = getattr(self, "_direct_health", None)
        return super().judge_health(troubles) if direct is None else direct

    def on_direct_health(self, health: HealthState) -> None:
        """Be in this health from now on."""
        self._direct_health = health
        self.publisher.publish([("healthState", health)])

    # --- How commands are answered ---------------------------------------------------------------

    def answer(self, name: str, argument: str) -> LongRunning:
        """Answer a long-running command."""
        self._note(name, argument)
        try:
            answer = self.simulation.perform(name, argument)
        except WrongState as error:
            if self.WrongStateRaises:
                refuse(NOT_ALLOWED, error, name)
            answer = Answer(ResultCode.REJECTED, str(error))
        except NotAllowed as error:
            refuse(NOT_ALLOWED, error, name)
        return [int(answer.code)], [on_the_wire(answer.text)]

    def stop_everything(self, *, tracked: bool) -> str:
        self.simulation.abort_commands()
        return super().stop_everything(tracked=tracked)

    def obey(self, name: str, argument: str) -> None:
        """Do what a command asks for before it returns, as simulators without LRCs do."""
        self._note(name, argument)
        try:
            self.simulation.perform_at_once(name, argument)
        except NotAllowed as error:
            refuse(NOT_ALLOWED, error, name)

    def _note(self, name: str, argument: str) -> None:
        """Remember a call; hang if that is what the device is told to do."""
        if self._setup_error is not None:
            refuse(NOT_SET_UP, self.not_set_up(), name)
        self._calls.append((name, argument))
        self.publisher.publish([("commandCallInfo", [list(call) for call in self._calls])])
        defect = self.simulation.defect
        if defect.hang and defect.concerns(name):
            time.sleep(defect.hang)  # the device answers nobody meanwhile, and that is the point

    # --- Commands --------------------------------------------------------------------------------

    @command(
        dtype_in=str,
        doc_in='JSON: {"enabled": true, "fault_type": 0..6, "error_message", "result", '
        '"intermediate_state", "target_obsstates", "commands", "hang", "die_at"}.',
    )
    def SetDefective(self, text: str) -> None:
        try:
            self.simulation.defect = read_defect(text)
        except BadArgument as error:
            refuse(BAD_ARGUMENT, error, "SetDefective")
        self._defective = text

    @command(dtype_in=str, doc_in='JSON: seconds by command, e.g. {"Configure": 3, "jitter": 0.1}.')
    def SetDelayInfo(self, text: str) -> None:
        try:
            self.simulation.delays.set(text)
        except BadArgument as error:
            refuse(BAD_ARGUMENT, error, "SetDelayInfo")

    @command
    def ResetDelayInfo(self) -> None:
        self.simulation.delays.reset()

    @command(dtype_in=int, doc_in="HealthState: 0 OK, 1 DEGRADED, 2 FAILED, 3 UNKNOWN.")
    def SetDirectHealthState(self, value: int) -> None:
        try:
            health = HealthState(value)
        except ValueError as error:
            refuse(BAD_ARGUMENT, error, "SetDirectHealthState")
        self.on_direct_health(health)

    @command
    def ClearCommandCallInfo(self) -> None:
        self._calls.clear()
        self.publisher.publish([("commandCallInfo", [["", ""]])])

    @command
    def ClearHistory(self) -> None:
        self.ClearCommandCallInfo()


def refuse(reason: str, error: Exception, origin: str) -> NoReturn:
    """Have the client get a DevFailed."""
    tango.Except.throw_exception(reason, on_the_wire(str(error)), origin)
    raise AssertionError  # it never returns, which its types do not say
