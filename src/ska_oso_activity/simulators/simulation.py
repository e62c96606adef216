"""What the simulated CentralNode and SubarrayNode have in common (simulators; no Tango)."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from ska_oso_activity.application.command_tracker import CommandTracker
from ska_oso_activity.application.ports import Publisher
from ska_oso_activity.domain.control_model import ResultCode, TaskStatus
from ska_oso_activity.simulators import answers
from ska_oso_activity.simulators.answers import Answer, NotAllowed
from ska_oso_activity.simulators.arguments import Telescope
from ska_oso_activity.simulators.faults import HEALTHY, Defect, FaultType
from ska_oso_activity.simulators.timing import Delays, Timers

if TYPE_CHECKING:
    from ska_oso_activity.simulators.subarray import Subarray


class Order(str, Enum):
    """Which is told first at the end of a command. The real TMC guarantees neither."""

    STATE_FIRST = "state-first"
    RESULT_FIRST = "result-first"
    RANDOM = "random"


@dataclass
class Tmc:
    """The TMC of one telescope in this process.

    Attributes:
        lock: guards all of its devices; nobody who holds it waits for anything.
        subarrays: by their numbers.
    """

    telescope: Telescope
    lock: threading.RLock = field(default_factory=threading.RLock)
    subarrays: dict[int, Subarray] = field(default_factory=dict)
    on_change: Callable[[], object] = field(default=lambda: None)
    """Called, with the lock held, when subarrays come and go."""

    def join(self, subarray: Subarray) -> None:
        """Take in a subarray; it replaces one of the same number."""
        with self.lock:
            self.subarrays[subarray.number] = subarray
            self.on_change()

    def leave(self, subarray: Subarray) -> None:
        """Let a subarray go, unless it has been replaced."""
        with self.lock:
            if self.subarrays.get(subarray.number) is subarray:
                del self.subarrays[subarray.number]
                self.on_change()


@dataclass
class Outlets:
    """What a simulated device works with."""

    tracker: CommandTracker
    publisher: Publisher
    timers: Timers
    delays: Delays
    order: Order = Order.STATE_FIRST
    chance: Callable[[], float] = random.random
    die: Callable[[int], Any] = os._exit


_STATUS = {
    ResultCode.OK: TaskStatus.COMPLETED,
    ResultCode.NOT_ALLOWED: TaskStatus.REJECTED,
}


class Simulation:
    """A simulated device: its defect, and how its commands end.

    Args:
        name: of the Tango device.
    """

    def __init__(self, name: str, tmc: Tmc, outlets: Outlets) -> None:
        self.name = name
        self.defect: Defect = HEALTHY
        self.delays = outlets.delays
        self._tmc = tmc
        self._lock = tmc.lock
        self._out = outlets
        self._live: dict[str, str] = {}

    def perform(self, command: str, argument: str = "") -> Answer:
        """Take a command, and bring it to its end in the time that it takes.

        Raises:
            NotAllowed: it is refused by an exception.
        """
        raise NotImplementedError

    def perform_at_once(self, command: str, argument: str = "") -> None:
        """Take a command and end it before returning, with no result at all.

        Raises:
            NotAllowed: whatever the reason is.
        """
        raise NotImplementedError

    def leave(self) -> None:
        """Be there no longer."""
        self.abort_commands()

    def abort_commands(self) -> None:
        """Abort what is under way, and nothing else."""
        with self._lock:
            for uid, command in list(self._live.items()):
                self._finish(uid, self._aborted(command), TaskStatus.ABORTED)

    def _defect_of(self, command: str) -> Defect:
        """What is wrong with `command` now.

        Raises:
            NotAllowed: that it is refused by an exception.
        """
        defect = self.defect if self.defect.concerns(command) else HEALTHY
        if defect.fault is FaultType.NOT_ALLOWED_BEFORE_QUEUING:
            raise NotAllowed(defect.message)
        return defect

    def _publish(self, name: str, value: Any) -> None:
        self._out.publisher.publish([(name, value)])

    def _conclude(self, move: Callable[[], object], tell: Callable[[], object]) -> None:
        """Change state and tell the result, in the order that is set."""
        order = self._out.order
        result_first = order is Order.RESULT_FIRST or (
            order is Order.RANDOM and self._out.chance() < 0.5
        )
        for step in (tell, move) if result_first else (move, tell):
            step()

    def _submit(self, command: str) -> str:
        """Take in a long-running command; its id."""
        uid = self._out.tracker.submit(command, queued=command != "Abort")
        self._live[uid] = command
        return uid

    def _aborted(self, command: str) -> Answer:
        return Answer(ResultCode.FAILED, f"{command} on {self.name}: {answers.ABORTED}")

    def _finish(self, uid: str, answer: Answer, status: TaskStatus | None = None) -> None:
        """End a long-running command; one that has ended is left as it is."""
        self._live.pop(uid, None)
        code = ResultCode(answer.code)
        self._out.tracker.finish(
            uid, status or _STATUS.get(code, TaskStatus.FAILED), code, answer.text
        )
