"""The SKA side of both our devices: long-running commands, adminMode, health, versions.

Devices layer.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import tango
from tango import AttrWriteType, DevState
from tango.server import Device, attribute, command

from ska_oso_activity import __version__
from ska_oso_activity.application.command_tracker import (
    MAX_EXECUTING,
    MAX_FINISHED,
    MAX_QUEUE_ATTRIBUTE,
    CommandTracker,
)
from ska_oso_activity.devices.publisher import TangoPublisher
from ska_oso_activity.devices.refusals import LongRunning, accepted, as_dev_failed, refused
from ska_oso_activity.devices.start_up import START_UP
from ska_oso_activity.domain.errors import NoSpace
from ska_oso_activity.domain.times import utc_now

_log = logging.getLogger(__name__)


class AdminMode(IntEnum):
    """Whether the device is in use (ska-control-model)."""

    ONLINE = 0  # in use
    OFFLINE = 1  # takes no new work; what runs goes on
    ENGINEERING = 2  # in use for tests
    NOT_FITTED = 3
    RESERVED = 4


class HealthState(IntEnum):
    """How well the device can do its work (ska-control-model)."""

    OK = 0
    DEGRADED = 1
    FAILED = 2
    UNKNOWN = 3


IN_USE = frozenset({AdminMode.ONLINE, AdminMode.ENGINEERING})
_AWAY = frozenset({AdminMode.NOT_FITTED, AdminMode.RESERVED})
_IDLE = _AWAY | {AdminMode.OFFLINE}
ADMIN_TRANSITIONS: dict[AdminMode, frozenset[AdminMode]] = {
    AdminMode.ONLINE: IN_USE | {AdminMode.OFFLINE},
    AdminMode.ENGINEERING: IN_USE | {AdminMode.OFFLINE},
    AdminMode.OFFLINE: frozenset(AdminMode),
    AdminMode.NOT_FITTED: _IDLE,
    AdminMode.RESERVED: _IDLE,
}
"""From a mode to those that may be written next."""

CONSTANT = ("buildState", "versionId", "lrcProtocolVersions")
"""Attributes that never change while the server runs; all the same, clients may subscribe."""

BUILD_STATE = f"ska-oso-activity, {__version__}, runs the scripts of SKA observing activities"


def published(name: str, **options: Any) -> Any:
    """An attribute that reads as the value that was last pushed for `name`."""

    def read(device: OsoDevice) -> Any:
        return device.publisher.values[name]

    options.setdefault("fget", read)
    return attribute(name=name, **options)


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a part of a device, and whether the device can do nothing without it."""

    what: str
    failed: bool = False


class OsoDevice(Device):
    """Base of ActivityDevice and ScriptExecution."""

    publisher: TangoPublisher
    tracker: CommandTracker
    _memorised_write_due: bool = False
    _setup_error: Exception | None = None
    _setup_lock: threading.Lock
    _life_ended: threading.Event

    # --- Attributes ----------------------------------------------------------------------------

    healthState = published(
        "healthState", dtype=HealthState, doc="Whether it can do its work; Status says why not."
    )
    longRunningCommandsInQueue = published(
        "longRunningCommandsInQueue",
        dtype=(str,),
        max_dim_x=MAX_QUEUE_ATTRIBUTE,
        doc="Names of the commands that are queued, running or finished within 10 s.",
    )
    longRunningCommandIDsInQueue = published(
        "longRunningCommandIDsInQueue",
        dtype=(str,),
        max_dim_x=MAX_QUEUE_ATTRIBUTE,
        doc="Ids of the same commands, in the same order.",
    )
    longRunningCommandStatus = published(
        "longRunningCommandStatus",
        dtype=(str,),
        max_dim_x=2 * MAX_QUEUE_ATTRIBUTE,
        doc="Id, status, id, status ... of the same commands.",
    )
    longRunningCommandInProgress = published(
        "longRunningCommandInProgress",
        dtype=(str,),
        max_dim_x=MAX_EXECUTING,
        doc="Names of the commands that are running.",
    )
    longRunningCommandProgress = published(
        "longRunningCommandProgress",
        dtype=(str,),
        max_dim_x=2 * MAX_EXECUTING,
        doc="Id, progress in percent, id, progress ... of running commands.",
    )
    longRunningCommandResult = published(
        "longRunningCommandResult",
        dtype=(str,),
        max_dim_x=2,
        doc='Id and result of the command that finished last: ["<id>", "[0, \\"text\\"]"].',
    )
    lrcQueue = published(
        "lrcQueue",
        dtype=(str,),
        max_dim_x=MAX_QUEUE_ATTRIBUTE,
        doc="JSON objects: commands that wait.",
    )
    lrcExecuting = published(
        "lrcExecuting",
        dtype=(str,),
        max_dim_x=MAX_EXECUTING + 1,
        doc="JSON objects: commands that run.",
    )
    lrcFinished = published(
        "lrcFinished",
        dtype=(str,),
        max_dim_x=MAX_FINISHED,
        doc="JSON objects: commands that have finished, the newest last.",
    )

    @attribute(dtype=(str,), max_dim_x=2, doc="Events only: [command id, JSON of what is new].")
    def _lrcEvent(self) -> list[str]:
        return []

    @attribute(dtype=("DevLong64",), max_dim_x=2, doc="Least and greatest LRC protocol served.")
    def lrcProtocolVersions(self) -> list[int]:
        return [1, 2]

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

    adminMode = attribute(
        name="adminMode",
        dtype=AdminMode,
        access=AttrWriteType.READ_WRITE,
        memorized=True,
        hw_memorized=True,
        doc="ONLINE or ENGINEERING: takes work. OFFLINE: what runs goes on, nothing new is taken.",
    )

    def read_adminMode(self) -> AdminMode:
        return AdminMode(self.publisher.values["adminMode"])

    def write_adminMode(self, value: int) -> None:
        mode, now = AdminMode(value), self.read_adminMode()
        if mode not in ADMIN_TRANSITIONS[now] and not self._memorised_write_due:
            allowed = ", ".join(each.name for each in sorted(ADMIN_TRANSITIONS[now]))
            tango.Except.throw_exception(
                "PyDs_PythonError",
                f"StateModelError: adminMode is {now.name} and cannot become {mode.name}: "
                f"{allowed} would be accepted",
                "write_adminMode",
            )
        self._memorised_write_due = False
        if mode is not now:
            # Read back at once by the writer, whatever the publisher has in its queue.
            self.publisher.values["adminMode"] = mode
            self.publisher.publish([("adminMode", mode)])
        self.on_admin_mode(mode)

    # --- Life --------------------------------------------------------------------------------

    def init_device(self) -> None:
        """Start, or start again: what runs elsewhere goes on and is picked up."""
        START_UP.hold_requests(self)
        super().init_device()
        self._troubles: dict[str, Trouble] = {}
        self._trouble_lock = threading.Lock()
        self._setup_error = None
        again = hasattr(self, "publisher")
        if not again:
            self._setup_lock = threading.Lock()
            self.publisher = TangoPublisher(self)
        # The same publisher over every Init: what the last life handed over is pushed first.
        for name, value in self.first_values().items():
            self.publisher.values.setdefault(name, value)
        self.publisher.values["serverStartedAt"] = utc_now()
        for name in (*self.publisher.values, *CONSTANT, "_lrcEvent"):
            self.set_change_event(name, True, False)
            self.set_archive_event(name, True, False)
        if not again:
            self.tracker = CommandTracker(self.publisher)
        self._memorised_write_due = self._has_memorised("adminMode")
        self.set_state(DevState.ON)
        self.set_status(self._status())
        if again:
            self.publisher.resume()
        else:
            self.publisher.start()
        self._life_ended = threading.Event()
        if not self._set_up():
            threading.Thread(
                target=self._keep_setting_up, args=(self._life_ended,), name="setup", daemon=True
            ).start()
        self.publisher.publish(
            [
                ("State", DevState.ON),
                ("Status", self._status()),
                ("healthState", self.judge_health(self._troubles)),
                ("adminMode", self.publisher.values["adminMode"]),
                ("serverStartedAt", self.publisher.values["serverStartedAt"]),
            ]
        )

    def delete_device(self) -> None:
        """Let go of everything; scripts go on."""
        # Nothing here waits for a thread that pushes: the caller holds the device's monitor.
        self._life_ended.set()
        self.publisher.pause()
        with self._setup_lock:
            self.release_component_manager()
        super().delete_device()

    def _set_up(self) -> bool:
        """Build the services; whether that worked."""
        try:
            self.create_component_manager()
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
            with self._setup_lock:
                if not ended.is_set() and self._set_up():
                    _log.info("the device is set up")
                    self.on_admin_mode(self.read_adminMode())
                    return

    def not_set_up(self) -> Exception:
        """What a command is to raise that needs services which could not be set up."""
        text = f"the device is not set up, which is tried again and again. {self._status()}"
        return NoSpace(text) if isinstance(self._setup_error, OSError) else RuntimeError(text)

    def first_values(self) -> dict[str, Any]:
        """What each attribute reads as before anything has happened."""
        empty: list[str] = []
        return {
            "State": DevState.ON,
            "Status": "",
            "healthState": HealthState.OK,
            "adminMode": AdminMode.ONLINE,
            "serverStartedAt": utc_now(),
            "longRunningCommandResult": ["", ""],
            **dict.fromkeys(
                (
                    "longRunningCommandsInQueue",
                    "longRunningCommandIDsInQueue",
                    "longRunningCommandStatus",
                    "longRunningCommandInProgress",
                    "longRunningCommandProgress",
                    "lrcQueue",
                    "lrcExecuting",
                    "lrcFinished",
                ),
                empty,
            ),
        }

    def create_component_manager(self) -> None:
        """Build the services behind the commands; tests may build others."""

    def release_component_manager(self) -> None:
        """Let go of the services."""

    def on_admin_mode(self, mode: AdminMode) -> None:
        """React to adminMode."""

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
            self.publisher.publish([("healthState", health), ("Status", self._status())])

    def judge_health(self, troubles: dict[str, Trouble]) -> HealthState:
        """The health that these troubles, by the part they are of, amount to."""
        if not troubles:
            return HealthState.OK
        failed = any(trouble.failed for trouble in troubles.values())
        return HealthState.FAILED if failed else HealthState.DEGRADED

    def _status(self) -> str:
        lines = ["The device is in ON state."]
        lines += [f"{of}: {trouble.what}" for of, trouble in sorted(self._troubles.items())]
        return "\n".join(lines)

    # --- Commands ----------------------------------------------------------------------------

    def start_lrc(self, name: str, work: Callable[[], str]) -> LongRunning:
        """Answer a long-running command: its id, or why it is refused."""
        try:
            command_id = work()
        except Exception as error:
            return refused(self, name, error)
        return accepted(command_id)

    @command(
        dtype_in=str,
        doc_in="Id of a long-running command.",
        dtype_out=str,
        doc_out="Its status by name, such as IN_PROGRESS; NOT_FOUND for an id that is not known.",
    )
    def CheckLongRunningCommandStatus(self, command_id: str) -> str:
        with as_dev_failed(self, "CheckLongRunningCommandStatus"):
            return self.tracker.status(command_id)

    @command(dtype_out=(str,), doc_out="Class and build state.")
    def GetVersionInfo(self) -> list[str]:
        return [f"{type(self).__name__}, {BUILD_STATE}"]


SETUP_INTERVAL = 2.0
"""Seconds between two attempts to set a device up."""
SWITCH_INTERVAL = 0.0005
"""Seconds that a busy thread may keep Python for itself while a command waits for it."""
GARBAGE_THRESHOLD = 20_000
"""New objects after which cycles among them are looked for; Python's own 700 is for less memory."""


def set_up_process() -> None:
    """Log to stderr in SKA's format, and keep threads that compute from holding up commands."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.freeze()  # what is imported by now is never garbage
    gc.set_threshold(GARBAGE_THRESHOLD)
    formatter = logging.Formatter(
        "1|%(asctime)s.%(msecs)03dZ|%(levelname)s|%(threadName)s|%(funcName)s"
        "|%(filename)s#%(lineno)d||%(message)s",
        "%Y-%m-%dT%H:%M:%S",
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
