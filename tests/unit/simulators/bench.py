"""A simulated TMC without Tango, whose time passes when a test says so."""

import heapq
import itertools
import json
from functools import partial

from ska_oso_activity.application.command_tracker import CommandTracker
from ska_oso_activity.simulators.arguments import Telescope
from ska_oso_activity.simulators.central_node import CentralNode
from ska_oso_activity.simulators.faults import read_defect
from ska_oso_activity.simulators.simulation import Order, Outlets, Tmc
from ska_oso_activity.simulators.subarray import Subarray
from ska_oso_activity.simulators.timing import Delays
from tests.fakes import RecordingPublisher

SCHEMA = "https://schema.skao.int"
ASSIGN = {
    "interface": f"{SCHEMA}/ska-tmc-assignresources/2.1",
    "subarray_id": 1,
    "dish": {"receptor_ids": ["SKA001", "SKA036"]},
    "sdp": {},
}
RELEASE = {
    "interface": f"{SCHEMA}/ska-tmc-releaseresources/2.1",
    "subarray_id": 1,
    "release_all": True,
}
CONFIGURE = {
    "interface": f"{SCHEMA}/ska-tmc-configure/4.0",
    "dish": {"receiver_band": "1"},
    "tmc": {"scan_duration": 10.0},
}
SCAN = {"interface": f"{SCHEMA}/ska-tmc-scan/2.1", "scan_id": 7}
ARGUMENTS = {
    "AssignResources": json.dumps(ASSIGN),
    "ReleaseResources": json.dumps(RELEASE),
    "Configure": json.dumps(CONFIGURE),
    "Scan": json.dumps(SCAN),
}


class ManualTimers:
    """Timers that ring when `advance` has brought time on."""

    def __init__(self):
        self.now = 0.0
        self._waiting = []
        self._numbers = itertools.count()

    def after(self, seconds, call):
        entry = [self.now + seconds, next(self._numbers), call]
        heapq.heappush(self._waiting, entry)

        def cancel():
            entry[2] = None

        return cancel

    def advance(self, seconds):
        """Let time pass, ringing what is due in order."""
        end = self.now + seconds
        while self._waiting and self._waiting[0][0] <= end:
            due, _, call = heapq.heappop(self._waiting)
            self.now = max(self.now, due)
            if call is not None:
                call()
        self.now = end

    @property
    def waiting(self):
        return [entry for entry in self._waiting if entry[2] is not None]


class Died(BaseException):
    """The process would have ended here."""


class Bench:
    """A CentralNode and a subarray of Mid; each records what it publishes, and so does `story`."""

    def __init__(self, order=Order.STATE_FIRST, telescope=Telescope.MID, chance=None, **options):
        self.timers = ManualTimers()
        self.story = []
        self.delays = Delays(default=1.0)
        tmc = Tmc(telescope)
        make = partial(self._outlets, order, chance)
        self.publisher, outlets = make("subarray")
        self.subarray = Subarray("mid-tmc/subarray/01", 1, tmc, outlets, **options)
        self.central_publisher, outlets = make("central")
        self.central = CentralNode("mid-tmc/central-node/0", tmc, outlets)

    def _outlets(self, order, chance, of):
        publisher = RecordingPublisher()
        publish = publisher.publish

        def recorded(pushes, *, event=None):
            pushes = list(pushes)
            self.story += [(of, name, value) for name, value in pushes]
            publish(pushes, event=event)

        publisher.publish = recorded
        outlets = Outlets(
            CommandTracker(publisher), publisher, self.timers, self.delays, order, die=self._die
        )
        if chance is not None:
            outlets.chance = chance
        return publisher, outlets

    @staticmethod
    def _die(code):
        raise Died

    def bring_to(self, state):
        """Have the subarray be in a state, with nothing under way."""
        self.subarray.set_obs_state(state)
        self.publisher.pushes.clear()
        self.story.clear()

    def send(self, command, argument=None):
        """A command to the subarray, with an argument that TMC takes unless told otherwise."""
        if argument is None:
            argument = ARGUMENTS.get(command, "")
        return self.subarray.perform(command, argument)

    def states(self):
        """The states that were told, by name."""
        return [value.name for name, value in self.publisher.pushes if name == "obsState"]

    def result(self, uid, of="subarray"):
        """The result that was told of a command; None: there is none yet."""
        for who, name, value in self.story:
            if (who, name) == (of, "longRunningCommandResult") and value[0] == uid:
                return json.loads(value[1])
        return None

    def break_(self, **defect):
        self.subarray.defect = read_defect(json.dumps({"enabled": True, **defect}))
