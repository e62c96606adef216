"""What both our devices are: an SKA device that is always on, with health, and can be set up late.

Devices layer. The SKA interface is spread over the classes that this one builds on, by subject:
`lrc_device`, `operating_device`, `logging_device`.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tango
from tango import DevState
from tango.server import attribute, command, device_property

from ska_oso_activity import __version__
from ska_oso_activity.application.command_tracker import CommandTracker
from ska_oso_activity.devices.debugger import Debugger, allow_debugging
from ska_oso_activity.devices.logging_device import LoggingDevice
from ska_oso_activity.devices.logging_targets import PROCESS_LOG
from ska_oso_activity.devices.published import published
from ska_oso_activity.devices.publisher import TangoPublisher
from ska_oso_activity.devices.start_up import START_UP
from ska_oso_activity.domain.control_model import (
    ADMIN_TRANSITIONS,
    IN_USE,
    AdminMode,
    HealthState,
)
from ska_oso_activity.domain.errors import NoSpace
from ska_oso_activity.domain.times import utc_now

__all__ = [
    "ADMIN_TRANSITIONS",
    "IN_USE",
    "AdminMode",
    "HealthState",
    "OsoDevice",
    "Trouble",
    "published",
    "set_up_process",
]

_log = logging.getLogger(__name__)

CONSTANT = ("buildState", "versionId", "lrcProtocolVersions")
"""Attributes that never change while the server runs; all the same, clients may subscribe."""

BUILD_STATE = f"ska-oso-activity, {__version__}, runs the scripts of SKA observing activities"


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a part of a device, and whether the device can do nothing without it."""

    what: str
    failed: bool = False


class OsoDevice(LoggingDevice):
    """Base of ActivityDevice and ScriptExecution."""

    _setup_error: Exception | None = None
    _tango_properties: dict[str, Any]
    _is_memorised: bool = False
    _life_ended: threading.Event
    _debugger: Debugger | None = None

    SkaLevel = device_property(
        dtype="DevShort", default_value=4, doc="Level in SKA's hierarchy of devices; for clients."
    )
    GroupDefinitions = device_property(
        dtype=(str,), default_value=[], doc="JSON groups of devices, as SKA devices have; not used."
    )
    DebugPort = device_property(
        dtype="DevUShort",
        default_value=0,
        doc="Port of 127.0.0.1 for a debugger; it enables the command DebugDevice. 0: no such "
        "command.",
    )

    # --- Attributes ----------------------------------------------------------------------------

    healthState = published(
        "healthState", dtype=HealthState, doc="Whether it can do its work; Status says why not."
    )

    @attribute(dtype=str, doc="Name, version and description of this software.")
    def buildState(self) -> str:
        return BUILD_STATE

    @attribute(dtype=str, doc="Version of this software.")
    def versionId(self) -> str:
        return __version__

    serverStartedAt = published(
        "serverStartedAt",
        dtype=str,
        doc="When this server took up the device, UTC: another time means that it was restarted, "
        "and that subscriptions are best renewed.",
    )

    # --- Life --------------------------------------------------------------------------------

    def init_device(self) -> None:
        """Start, or start again: what runs elsewhere goes on and is picked up."""
        START_UP.hold_requests(self)
        again = hasattr(self, "publisher")
        stale = self._read_properties(again=again)
        self._troubles: dict[str, Trouble] = {}
        self._trouble_lock = threading.Lock()
        self._setup_error = None
        self._power = DevState.ON
        before = _PAUSED.pop(self.get_name(), None)
        if not again:
            if before is not None:
                before.end()  # that of an object which RestartServer has done away with
            self.publisher = TangoPublisher(self)
            self.add_version_info(type(self).__name__, __version__)
            self.add_version_info("ska-oso-activity", __version__)
        # The same publisher over every Init: what the last life handed over is pushed first.
        for name, value in self.first_values().items():
            self.publisher.values.setdefault(name, value)
        self.publisher.values |= {"serverStartedAt": utc_now(), "commandedState": "None"}
        for name in (*self.publisher.values, *CONSTANT, "_lrcEvent"):
            self.set_change_event(name, True, False)
            self.set_archive_event(name, True, False)
        if not again:
            self.tracker = CommandTracker(self.publisher)
        self.report_trouble("debugging", self._allow_debugging())
        if stale is None:
            self._is_memorised = self._has_memorised("adminMode")
        self._memorised_write_due = self._is_memorised
        self.set_state(self.op_state)
        self.set_status(self.status_text())
        if again:
            self.publisher.resume()
        else:
            self.publisher.start()
        self.report_trouble("logging", self.begin_logging())
        self._life_ended = threading.Event()
        if stale is not None:
            self.report_trouble("properties", stale)
            self._in_this_life(self._keep_reading_properties)
        with _SETUP_LOCK:
            done = self._set_up()
        if not done:
            self._in_this_life(self._keep_setting_up)
        self._in_this_life(self._keep_tidy)
        self.publisher.publish(
            [
                ("State", self.op_state),
                ("Status", self.status_text()),
                ("healthState", self.judge_health(self._troubles)),
                ("commandedState", "None"),
                ("serverStartedAt", self.publisher.values["serverStartedAt"]),
            ]
        )

    def delete_device(self) -> None:
        """Let go of everything; scripts go on."""
        # Nothing here waits for a thread that pushes: the caller holds the device's monitor.
        self._life_ended.set()
        self.publisher.pause()
        _PAUSED[self.get_name()] = self.publisher
        with _SETUP_LOCK:
            self.release_component_manager()
            if _HOLDERS.get(self.get_name()) is self:
                del _HOLDERS[self.get_name()]
        self.end_logging()
        super().delete_device()

    def _in_this_life(self, work: Callable[[threading.Event], None]) -> None:
        """Have something done in the background, until the event that it is given is set."""
        name = work.__name__.removeprefix("_keep_")
        threading.Thread(target=work, args=(self._life_ended,), name=name, daemon=True).start()

    def _set_up(self) -> bool:
        """Build the services; whether that worked. Called under `_SETUP_LOCK`."""
        holder = _HOLDERS.get(self.get_name())
        if holder is not None and holder is not self:
            holder.hand_over()
        _HOLDERS[self.get_name()] = self
        try:
            self.create_component_manager()
            self.apply_admin_mode()
        except Exception as error:
            if str(error) != str(self._setup_error):
                _log.exception("the device could not be set up")
            self._setup_error = error
            self.report_trouble("setup", f"{type(error).__name__}: {error}", failed=True)
            return False
        self._setup_error = None
        self.report_trouble("setup", None)
        return True

    def _keep_setting_up(self, ended: threading.Event) -> None:
        """Try again until it works, or until this life of the device ends."""
        while not ended.wait(SETUP_INTERVAL):
            with _SETUP_LOCK:
                if not ended.is_set() and self._set_up():
                    _log.info("the device is set up")
                    return

    def hand_over(self) -> None:
        """Let go of the services for another object of the same device.

        There are two of them after two RestartServer at once, which cppTango carries out at the
        same time: only one is exported, and that is not always the one that came last.
        """
        self.release_component_manager()
        self._setup_error = RuntimeError("another object of this device has its services")
        self._in_this_life(self._keep_looking_who_is_exported)

    def _keep_looking_who_is_exported(self, ended: threading.Event) -> None:
        """Take the services back if clients speak to this object."""
        while not ended.wait(SETUP_INTERVAL):
            try:
                read = tango.DeviceProxy(self.get_name()).read_attribute("serverStartedAt")
            except tango.DevFailed:
                continue
            # PyTango adds `value` in a way that its types do not show.
            if read.value != self.publisher.values["serverStartedAt"]:  # type: ignore[attr-defined]
                return
            with _SETUP_LOCK:
                if not ended.is_set() and self._set_up():
                    return

    def _read_properties(self, *, again: bool) -> str | None:
        """Read the properties of the device; what is wrong with them if those read before hold.

        Raises:
            DevFailed: there are none from before.
        """
        if not again:
            super().init_device()
            return None
        in_use = dict(self._tango_properties)
        try:
            super().init_device()
        except Exception as error:  # what is no number is an error of another kind
            self._tango_properties = in_use
            trouble = f"they could not be read at Init, so those read before hold: {_said(error)}"
            _log.error("properties: %s", trouble)
            return trouble
        return None

    def _keep_reading_properties(self, ended: threading.Event) -> None:
        """When the Tango database answers again, see whether the properties are still the same."""
        while not ended.wait(SETUP_INTERVAL):
            in_use = dict(self._tango_properties)
            try:
                self.get_device_properties()
                same = self._tango_properties == in_use
            except Exception as error:
                _log.debug("the properties still cannot be read: %s", _said(error))
                continue
            finally:
                self._tango_properties = in_use
            changed = "they have changed since they were read: Init takes them up"
            self.report_trouble("properties", None if same else changed)
            return

    def _keep_tidy(self, ended: threading.Event) -> None:
        """Take finished commands from the lists in time, also if nothing else happens."""
        while not ended.wait(TIDY_INTERVAL):
            self.tracker.expire()

    def not_set_up(self) -> Exception:
        """What a command is to raise that needs services which could not be set up."""
        text = f"the device is not set up, which is tried again and again. {self.status_text()}"
        return NoSpace(text) if isinstance(self._setup_error, OSError) else RuntimeError(text)

    def first_values(self) -> dict[str, Any]:
        """What each attribute reads as before anything has happened."""
        return {
            **super().first_values(),
            "healthState": HealthState.OK,
            "serverStartedAt": utc_now(),
        }

    def create_component_manager(self) -> None:
        """Build the services behind the commands; tests may build others."""

    def release_component_manager(self) -> None:
        """Let go of the services."""

    def _has_memorised(self, name: str) -> bool:
        try:
            found = (
                tango.Util.instance()
                .get_database()
                .get_device_attribute_property(self.get_name(), name)
            )
        except tango.DevFailed:
            return False
        return "__value" in found[name]

    # --- Health ------------------------------------------------------------------------------

    def report_trouble(self, of: str, what: str | None, *, failed: bool = False) -> None:
        """Say what is wrong with a part of the device, or (None) that it works again."""
        with self._trouble_lock:
            if what is None:
                if self._troubles.pop(of, None) is None:
                    return
            elif self._troubles.get(of) == Trouble(what, failed):
                return
            else:
                self._troubles[of] = Trouble(what, failed)
            health = self.judge_health(self._troubles)
            self.publisher.publish([("healthState", health), ("Status", self.status_text())])

    def judge_health(self, troubles: dict[str, Trouble]) -> HealthState:
        """The health that these troubles, by the part they are of, amount to."""
        if not troubles:
            return HealthState.OK
        failed = any(trouble.failed for trouble in troubles.values())
        return HealthState.FAILED if failed else HealthState.DEGRADED

    def status_text(self) -> str:
        """What Status says: State, then each trouble."""
        lines = [super().status_text()]
        lines += [f"{of}: {trouble.what}" for of, trouble in sorted(self._troubles.items())]
        return "\n".join(lines)

    # --- Commands ----------------------------------------------------------------------------

    @command(dtype_out=(str,), doc_out="Class and build state.")
    def GetVersionInfo(self) -> list[str]:
        return [f"{type(self).__name__}, {BUILD_STATE}"]

    def _allow_debugging(self) -> str | None:
        """Have the command DebugDevice as the property asks; what is wrong with that, if it is."""
        self._debugger = None
        try:
            self._debugger = allow_debugging(self, self.DebugPort)
        except ValueError as error:
            return str(error)
        return None

    def DebugDevice(self) -> int:
        """See `Debugger.attach`; a command only with the property DebugPort."""
        if self._debugger is None:
            raise RuntimeError("the property DebugPort is 0")
        return self._debugger.attach()


_HOLDERS: dict[str, OsoDevice] = {}
"""Of each device, by its name, the object that has its services."""
_SETUP_LOCK = threading.RLock()
"""Held while services are built or let go of."""
_PAUSED: dict[str, TangoPublisher] = {}
"""Of each device that was let go of, by its name, the publisher: Init goes on with it."""

SETUP_INTERVAL = 2.0
"""Seconds between two attempts to set a device up."""
TIDY_INTERVAL = 1.0
"""Seconds between two looks at which commands finished too long ago to be listed."""
SWITCH_INTERVAL = 0.0005
"""Seconds that a busy thread may keep Python for itself while a command waits for it."""
GARBAGE_THRESHOLD = 20_000
"""New objects after which cycles among them are looked for; Python's own 700 is for less memory."""


def _said(error: Exception) -> str:
    text = str(error.args[0].desc) if isinstance(error, tango.DevFailed) else str(error)
    return next(iter(text.splitlines()), type(error).__name__)


def set_up_process() -> None:
    """Log to stderr in SKA's format, and keep threads that compute from holding up commands."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.freeze()  # what is imported by now is never garbage
    gc.set_threshold(GARBAGE_THRESHOLD)
    PROCESS_LOG.begin()
