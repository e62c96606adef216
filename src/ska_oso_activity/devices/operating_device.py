"""State and modes of an always-on software device (devices layer).

Nothing of ours can be switched off. State follows On, Off, Standby and adminMode as in any SKA
device, so that whoever commands a whole subsystem finds it where it was sent; what runs goes on.
"""

from __future__ import annotations

import threading
from typing import Any

import tango
from tango import AttrWriteType, DevState
from tango.server import attribute, command

from ska_oso_activity.devices.lrc_device import LrcDevice
from ska_oso_activity.devices.published import published
from ska_oso_activity.devices.refusals import LongRunning
from ska_oso_activity.domain.control_model import (
    ADMIN_TRANSITIONS,
    IN_USE,
    AdminMode,
    ControlMode,
    ResultCode,
    SimulationMode,
    TaskStatus,
    TestMode,
)

_S = DevState
SWITCHABLE = frozenset({_S.OFF, _S.STANDBY, _S.ON, _S.ALARM, _S.UNKNOWN})
ALLOWED: dict[str, frozenset[DevState]] = {
    "On": SWITCHABLE,
    "Off": SWITCHABLE | {_S.FAULT},
    "Standby": SWITCHABLE,
    "Reset": frozenset({_S.STANDBY, _S.ON, _S.ALARM, _S.FAULT}),
}
"""The States in which each of the commands is allowed; all others are in any."""

Mode = AdminMode | ControlMode | SimulationMode | TestMode

FIRST_MODES: dict[str, Mode] = {
    "adminMode": AdminMode.ONLINE,
    "controlMode": ControlMode.REMOTE,
    "simulationMode": SimulationMode.FALSE,
    "testMode": TestMode.NONE,
}
"""The modes of a device that has just started; those that are memorised are written then."""

_MEMORISED: dict[str, Any] = {
    "access": AttrWriteType.READ_WRITE,
    "memorized": True,
    "hw_memorized": True,
}
_LRC_OUT = "[[2], [command id]] when accepted, [[5], [reason]] when not."


class OperatingDevice(LrcDevice):
    """A device with State, adminMode and the other modes of SKA's control model."""

    _memorised_write_due: bool = False
    _power: DevState = DevState.ON
    """Where On, Off and Standby have put it."""
    _modes: dict[str, Mode]
    """The modes as last written; the publisher's values are older while pushes wait."""
    _modes_lock: threading.RLock
    """Held from a change of a mode or of `_power` until it is handed over and acted upon."""

    commandedState = published(
        "commandedState",
        dtype=str,
        doc='The State that On, Off, Standby or Reset last went for; "None" before the first.',
    )
    adminMode = attribute(
        name="adminMode",
        dtype=AdminMode,
        doc="ONLINE or ENGINEERING: takes work. OFFLINE: what runs goes on, nothing new is taken.",
        **_MEMORISED,
    )
    controlMode = attribute(
        name="controlMode",
        dtype=ControlMode,
        doc="Who is to control it. Kept for clients; nothing here depends on it.",
        **_MEMORISED,
    )
    simulationMode = attribute(
        name="simulationMode",
        dtype=SimulationMode,
        doc="Kept for clients; there is nothing here to simulate.",
        **_MEMORISED,
    )
    testMode = attribute(
        name="testMode",
        dtype=TestMode,
        doc="Kept for clients; nothing here depends on it.",
        **_MEMORISED,
    )

    def init_device(self) -> None:
        """Start, or start again with the modes as they are."""
        if "_modes" not in vars(self):
            self._modes = dict(FIRST_MODES)
            self._modes_lock = threading.RLock()
        super().init_device()

    def first_values(self) -> dict[str, Any]:
        """See `LrcDevice.first_values`."""
        return {
            **super().first_values(),
            "State": DevState.ON,
            "Status": "",
            "commandedState": "None",
            **FIRST_MODES,
        }

    # --- Modes -------------------------------------------------------------------------------

    def read_adminMode(self) -> AdminMode:
        return AdminMode(self._modes["adminMode"])

    def write_adminMode(self, value: int) -> None:
        mode = AdminMode(value)
        with self._modes_lock:
            now = self.read_adminMode()
            if mode not in ADMIN_TRANSITIONS[now] and not self._memorised_write_due:
                allowed = ", ".join(each.name for each in sorted(ADMIN_TRANSITIONS[now]))
                tango.Except.throw_exception(
                    "PyDs_PythonError",
                    f"StateModelError: adminMode is {now.name} and cannot become {mode.name}: "
                    f"{allowed} would be accepted",
                    "write_adminMode",
                )
            self._memorised_write_due = False
            if self._set_mode("adminMode", mode):
                self.tell_state()
            self.apply_admin_mode()

    def apply_admin_mode(self) -> None:
        """Have the services, which may be new, follow adminMode."""
        with self._modes_lock:  # so that the last to call does so with the last mode
            self.on_admin_mode(self.read_adminMode())

    def on_admin_mode(self, mode: AdminMode) -> None:
        """React to adminMode."""

    def read_controlMode(self) -> ControlMode:
        return ControlMode(self._modes["controlMode"])

    def write_controlMode(self, value: int) -> None:
        self._set_mode("controlMode", ControlMode(value))

    def read_simulationMode(self) -> SimulationMode:
        return SimulationMode(self._modes["simulationMode"])

    def write_simulationMode(self, value: int) -> None:
        self._set_mode("simulationMode", SimulationMode(value))

    def read_testMode(self) -> TestMode:
        return TestMode(self._modes["testMode"])

    def write_testMode(self, value: int) -> None:
        self._set_mode("testMode", TestMode(value))

    def _set_mode(self, name: str, mode: Mode) -> bool:
        """Have a mode from now on, and tell it if it is another; whether it is."""
        with self._modes_lock:
            if self._modes[name] == mode:
                return False
            self._modes[name] = mode
            self.publisher.publish([(name, mode)])
            return True

    # --- State -------------------------------------------------------------------------------

    @property
    def op_state(self) -> DevState:
        """The State, also if it is still to be pushed."""
        return self._power if self.read_adminMode() in IN_USE else DevState.DISABLE

    def status_text(self) -> str:
        """What Status says."""
        return f"The device is in {self.op_state} state."

    def tell_state(self) -> None:
        """Push State and Status together."""
        with self._modes_lock:
            self.publisher.publish([("State", self.op_state), ("Status", self.status_text())])

    def _go(self, name: str, state: DevState) -> LongRunning:
        """On, Off or Standby: nothing is switched, so it is done when it returns."""
        if self.op_state == state:
            return [int(ResultCode.REJECTED)], [f"Device is already in {state} state."]
        return self._operate(name, state)

    def _operate(self, name: str, state: DevState) -> LongRunning:
        def work() -> str:
            command_id = self.tracker.submit(name)
            self.tracker.start(command_id)
            self.publisher.publish([("commandedState", str(state))])
            with self._modes_lock:
                if state != self._power:
                    self._power = state
                    self.tell_state()
            self.tracker.finish(
                command_id, TaskStatus.COMPLETED, ResultCode.OK, f"{name} command completed OK"
            )
            return command_id

        return self.start_lrc(name, work)

    def is_On_allowed(self) -> bool:
        return self.op_state in ALLOWED["On"]

    @command(dtype_out="DevVarLongStringArray", doc_out=_LRC_OUT)
    def On(self) -> LongRunning:
        return self._go("On", DevState.ON)

    def is_Off_allowed(self) -> bool:
        return self.op_state in ALLOWED["Off"]

    @command(dtype_out="DevVarLongStringArray", doc_out=f"{_LRC_OUT} Nothing is stopped.")
    def Off(self) -> LongRunning:
        return self._go("Off", DevState.OFF)

    def is_Standby_allowed(self) -> bool:
        return self.op_state in ALLOWED["Standby"]

    @command(dtype_out="DevVarLongStringArray", doc_out=f"{_LRC_OUT} Nothing is stopped.")
    def Standby(self) -> LongRunning:
        return self._go("Standby", DevState.STANDBY)

    def is_Reset_allowed(self) -> bool:
        return self.op_state in ALLOWED["Reset"]

    @command(dtype_out="DevVarLongStringArray", doc_out=f"{_LRC_OUT} Nothing is stopped.")
    def Reset(self) -> LongRunning:
        return self._operate("Reset", self.op_state)
