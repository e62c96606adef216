"""The TMC simulators as a script or an operator meets them: a server of their own, real events."""

import itertools
import json
import threading
from pathlib import Path

import pytest
import tango

from tests.device.client import Recorder
from tests.device.tmc_server import LOW, MID, TmcServer

pytestmark = pytest.mark.forked

SCHEMA = "https://schema.skao.int"
SCAN_SECONDS = 0.1
MID_ARGUMENTS = {
    "AssignResources": {
        "interface": f"{SCHEMA}/ska-tmc-assignresources/2.1",
        "subarray_id": 1,
        "dish": {"receptor_ids": ["SKA001", "SKA036"]},
        "sdp": {},
    },
    "ReleaseResources": {
        "interface": f"{SCHEMA}/ska-tmc-releaseresources/2.1",
        "subarray_id": 1,
        "release_all": True,
    },
    "Configure": {
        "interface": f"{SCHEMA}/ska-tmc-configure/4.1",
        "dish": {"receiver_band": "1"},
        "tmc": {"scan_duration": SCAN_SECONDS},
    },
    "Scan": {"interface": f"{SCHEMA}/ska-tmc-scan/2.1", "scan_id": 1},
}
LOW_ARGUMENTS = {
    "AssignResources": {
        "interface": f"{SCHEMA}/ska-low-tmc-assignresources/4.0",
        "subarray_id": 1,
        "mccs": {"subarray_beams": [{"subarray_beam_id": 1}]},
    },
    "ReleaseResources": {
        "interface": f"{SCHEMA}/ska-low-tmc-releaseresources/3.0",
        "subarray_id": 1,
        "release_all": True,
    },
    "Configure": {
        "interface": f"{SCHEMA}/ska-low-tmc-configure/4.1",
        "mccs": {},
        "tmc": {"scan_duration": SCAN_SECONDS},
    },
    "Scan": {"interface": f"{SCHEMA}/ska-low-tmc-scan/4.0", "scan_id": 1},
}
COMPLETED = '[0, "Command Completed"]'
"""SKA's tests compare this very text."""
STATES = [
    *("EMPTY", "RESOURCING", "IDLE", "CONFIGURING", "READY", "SCANNING", "ABORTING", "ABORTED"),
    *("RESETTING", "FAULT", "RESTARTING"),
]
OBSERVED = ["RESOURCING", "IDLE", "CONFIGURING", "READY", "SCANNING", "READY", "IDLE"]
OBSERVED += ["RESOURCING", "EMPTY"]
RESULT = "longRunningCommandResult"


class Tmc:
    """A CentralNode and a subarray with all that they say."""

    def __init__(self, server, central, subarray, arguments=MID_ARGUMENTS):
        self.central, self.subarray = server.device(central), server.device(subarray)
        self.arguments = arguments
        self.news = Recorder(self.subarray, "obsState", RESULT)
        self.central_news = Recorder(self.central, RESULT)

    def send(self, command, **changes):
        """Send a command to whom it is for; its answer as `(code, text)`."""
        of_central = command in {"AssignResources", "ReleaseResources"}
        device = self.central if of_central else self.subarray
        if command in self.arguments:
            argument = json.dumps({**self.arguments[command], **changes})
            (code,), (text,) = device.command_inout(command, argument)
        else:
            (code,), (text,) = device.command_inout(command)
        return int(code), text

    def result(self, uid):
        """The result of a command, waited for."""
        of_central = uid.endswith(("AssignResources", "ReleaseResources"))
        news = self.central_news if of_central else self.news

        def told():
            return next((v[1] for v in news.values(RESULT) if v[0] == uid), None)

        return news.wait(told, f"the result of {uid}")

    def wait_for(self, state):
        self.news.wait(lambda: self.states()[-1:] == [state], f"{state}, not {self.states()}")

    def states(self):
        return [STATES[value] for value in self.news.values("obsState")]

    def break_(self, **defect):
        self.subarray.SetDefective(json.dumps({"enabled": True, **defect}))


@pytest.fixture
def server():
    with TmcServer(MID) as server:
        yield server


@pytest.fixture
def tmc(server):
    return Tmc(server, "mid-tmc/central-node/0", "mid-tmc/subarray/01")


OLD = {
    "ska_mid/tm_central/central_node": "CentralNodeMid",
    "ska_mid/tm_subarray_node/1": "SubarrayNodeMid",
}


@pytest.mark.parametrize(
    ("devices", "arguments"),
    [(MID, MID_ARGUMENTS), (LOW, LOW_ARGUMENTS), (OLD, MID_ARGUMENTS)],
    ids=["Mid", "Low", "old names"],
)
def test_an_observation_goes_through_the_states_that_ska_counts(devices, arguments):
    with TmcServer(devices) as server:
        tmc = Tmc(server, *list(devices)[:2], arguments)
        archived = Recorder(tmc.subarray, "obsState", kind=tango.EventType.ARCHIVE_EVENT)

        answers = [tmc.send("AssignResources")]
        results = [tmc.result(answers[-1][1])]
        tmc.wait_for("IDLE")
        for command, state in (("Configure", "READY"), ("Scan", "SCANNING")):
            answers.append(tmc.send(command))
            results.append(tmc.result(answers[-1][1]))
            assert state in tmc.states()
        tmc.wait_for("READY")
        for command, state in (("End", "IDLE"), ("ReleaseResources", "EMPTY")):
            answers.append(tmc.send(command))
            results.append(tmc.result(answers[-1][1]))
            tmc.wait_for(state)
        archived.wait(
            lambda: len(archived.values("obsState")) == len(OBSERVED), "the archive events"
        )

        assert [code for code, _ in answers] == [2] * 5
        assert results == [COMPLETED] * 5
        assert tmc.states() == OBSERVED
        assert [STATES[value] for value in archived.values("obsState")] == OBSERVED


def test_clients_of_both_lrc_protocols_are_told(tmc):
    with Recorder(tmc.central, "_lrcEvent", "longRunningCommandStatus") as recorder:
        _, uid = tmc.send("AssignResources")
        tmc.result(uid)

        def ended():
            events = [json.loads(v[1]) for v in recorder.values("_lrcEvent") if v[0] == uid]
            return next((each for each in events if "result" in each), None)

        told = recorder.wait(ended, "the result by _lrcEvent")
        statuses = recorder.values("longRunningCommandStatus")[-1]

    assert told == {"status": 5, "result": [0, "Command Completed"]}
    assert (uid, "COMPLETED") in set(itertools.pairwise(statuses))
    assert list(tmc.central.lrcProtocolVersions) == [1, 2]
    assert json.loads(tmc.central.lrcFinished[-1])["uid"] == uid


def test_refusals_change_nothing(tmc):
    rejected = tmc.send("AssignResources", interface="x")
    with pytest.raises(tango.DevFailed) as wrong_state:
        tmc.send("Configure")

    assert rejected[0] == 5
    assert "ska-tmc-assignresources" in rejected[1]
    assert wrong_state.value.args[0].reason == "API_CommandNotAllowed"
    assert "obsState is EMPTY, and it would be allowed in IDLE" in wrong_state.value.args[0].desc
    assert tmc.states() == []


def test_a_wrong_state_may_be_answered_instead_of_raised():
    with TmcServer(MID, {"WrongStateRaises": False}) as server:
        tmc = Tmc(server, "mid-tmc/central-node/0", "mid-tmc/subarray/01")

        assert tmc.send("Configure")[0] == 5


@pytest.mark.parametrize(
    ("order", "last"),
    [("result-first", [RESULT, "obsState"]), ("state-first", ["obsState", RESULT])],
)
def test_state_and_result_come_in_the_order_that_is_set(order, last):
    with TmcServer(MID, {"EventOrder": order}) as server:
        tmc = Tmc(server, "mid-tmc/central-node/0", "mid-tmc/subarray/01")
        tmc.subarray.SetDirectObsState(2)

        tmc.result(tmc.send("Configure")[1])
        tmc.wait_for("READY")

        assert [event.attribute for event in tmc.news.news()][-2:] == last


# --- Faults ----------------------------------------------------------------------------------


def test_fault_0_is_none(tmc):
    tmc.break_(fault_type=0)

    assert tmc.result(tmc.send("AssignResources")[1]) == COMPLETED


def test_fault_1_is_a_dev_failed(tmc):
    tmc.break_(fault_type=1, error_message="not now")

    with pytest.raises(tango.DevFailed) as refused:
        tmc.subarray.AssignResources(json.dumps(MID_ARGUMENTS["AssignResources"]))

    assert refused.value.args[0].desc == "not now"


def test_fault_2_fails_at_once(tmc):
    tmc.break_(fault_type=2, error_message="no", target_obsstates=[1, 0])

    (code,), (text,) = tmc.subarray.AssignResources(json.dumps(MID_ARGUMENTS["AssignResources"]))
    tmc.wait_for("EMPTY")

    assert (code, text) == (3, "no")
    assert tmc.states() == ["RESOURCING", "EMPTY"]


@pytest.mark.parametrize(("fault", "state"), [(3, "EMPTY"), (5, "RESOURCING")])
def test_faults_3_and_5_fail_late(tmc, fault, state):
    tmc.break_(fault_type=fault, error_message="broken")

    _, uid = tmc.send("AssignResources")

    text = "Exception occurred on the following devices: mid-tmc/subarray/01: broken"
    assert json.loads(tmc.result(uid)) == [3, text]
    tmc.wait_for(state)


def test_fault_4_is_stuck_until_the_time_out_of_the_central_node(tmc):
    tmc.break_(fault_type=4)
    tmc.central.commandTimeOut = 1

    _, uid = tmc.send("AssignResources")
    code, text = json.loads(tmc.result(uid))
    tmc.send("Abort")
    tmc.wait_for("ABORTED")
    tmc.send("Restart")
    tmc.wait_for("EMPTY")

    assert code == 3
    assert text.endswith("Timeout has occurred, command failed")
    assert tmc.states() == ["RESOURCING", "ABORTING", "ABORTED", "RESTARTING", "EMPTY"]


def test_fault_6_is_rejected_after_queuing(tmc):
    tmc.subarray.SetDirectObsState(2)
    tmc.break_(fault_type=6, error_message="not after all")

    code, uid = tmc.send("Configure")

    assert code == 2
    assert json.loads(tmc.result(uid)) == [6, "not after all"]
    assert tmc.subarray.CheckLongRunningCommandStatus(uid) == "REJECTED"
    assert tmc.subarray.obsState == 2


def test_it_can_hang_past_the_patience_of_a_client_and_comes_back(tmc, server):
    tmc.break_(hang=2.0)
    impatient = server.device("mid-tmc/subarray/01")
    impatient.set_timeout_millis(300)

    with pytest.raises(tango.DevFailed) as late:
        impatient.AssignResources(json.dumps(MID_ARGUMENTS["AssignResources"]))
    tmc.wait_for("IDLE")

    assert late.value.args[-1].reason == "API_DeviceTimedOut"


def test_it_can_die_at_a_state(tmc, server):
    tmc.break_(die_at="IDLE")

    tmc.send("AssignResources")

    assert server.process.wait(30) == 1


# --- The silent kind -------------------------------------------------------------------------


def test_the_silent_kind_returns_nothing_when_all_is_done():
    devices = {name: f"Silent{of}" for name, of in MID.items()}
    with TmcServer(devices) as server:
        central = server.device("mid-tmc/central-node/0")
        subarray = server.device("mid-tmc/subarray/01")
        story = []
        for device, command in (
            *((central, "AssignResources"), (subarray, "Configure"), (subarray, "Scan")),
            *((subarray, "End"), (central, "ReleaseResources")),
        ):
            words = [json.dumps(MID_ARGUMENTS[command])] if command in MID_ARGUMENTS else []
            returned = device.command_inout(command, *words)
            story.append((returned, STATES[subarray.obsState]))

        assert story == [(None, s) for s in ("IDLE", "READY", "READY", "IDLE", "EMPTY")]
        with pytest.raises(tango.DevFailed, match="obsState is EMPTY"):
            subarray.Scan("{}")


# --- The rest --------------------------------------------------------------------------------


def test_no_reply_and_no_result_is_lost():
    with TmcServer(MID, {"DefaultDelay": 0, "EventOrder": "random"}) as server:
        accepted, failures = [], []
        rounds = 20

        def keep_busy(number):
            try:
                name = f"mid-tmc/subarray/0{number}"
                tmc = Tmc(server, "mid-tmc/central-node/0", name)
                for command in ("AssignResources", "ReleaseResources") * rounds:
                    code, uid = tmc.send(command, subarray_id=number)
                    accepted.append(code)
                    assert tmc.result(uid) == COMPLETED
                    tmc.wait_for("IDLE" if command == "AssignResources" else "EMPTY")
                assert len(tmc.states()) == 4 * rounds
            except BaseException as error:
                failures.append(error)
                raise

        # Only the main thread raises; what the others meet is looked at here.
        threads = [threading.Thread(target=keep_busy, args=(number,)) for number in (1, 2)]
        threading.excepthook = lambda _: None
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert failures == []
        assert accepted == [2] * 4 * rounds


def test_after_init_all_is_as_in_the_beginning_and_works(tmc):
    tmc.subarray.SetDelayInfo('{"AssignResources": 1000}')
    _, uid = tmc.send("AssignResources")
    tmc.wait_for("RESOURCING")
    tmc.break_(fault_type=1)

    tmc.subarray.Init()
    code, text = json.loads(tmc.result(uid))
    tmc.wait_for("EMPTY")
    again = tmc.result(tmc.send("AssignResources")[1])

    assert code == 3
    assert "Command has been aborted" in text
    assert again == COMPLETED


def test_the_central_node_can_be_told_to_abort_its_commands(tmc):
    tmc.central.SetDelayInfo('{"TelescopeOn": 1000}')
    (_,), (pending,) = tmc.central.TelescopeOn()

    (code,), (abort,) = tmc.central.Abort()
    results = tmc.central_news.wait(
        lambda: len(tmc.central_news.values(RESULT)) == 2 and dict(tmc.central_news.values(RESULT)),
        "both results",
    )

    assert code == 1
    assert json.loads(results[pending])[0] == 3
    assert json.loads(results[abort]) == [0, "Abort completed OK"]


def test_inits_leave_no_threads_behind(tmc, server):
    def threads():
        return len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))

    for device in (tmc.central, tmc.subarray):
        device.SetDelayInfo('{"default": 1000}')
    before = threads()
    uids = []
    for _ in range(10):
        uids += [tmc.central.TelescopeOn()[1][0], tmc.send("AssignResources")[1]]
        tmc.wait_for("RESOURCING")
        for device in (tmc.subarray, tmc.central):
            device.Init()
            device.SetDelayInfo('{"default": 1000}')
        tmc.wait_for("EMPTY")

    results = dict(
        tmc.central_news.wait(
            lambda: (
                len(tmc.central_news.values(RESULT)) == len(uids)
                and tmc.central_news.values(RESULT)
            ),
            "a result of each command",
        )
    )
    assert set(results) == set(uids)
    # Without an end each Init would leave three; a thread or two are Tango's business.
    tmc.news.wait(lambda: threads() <= before + 5, "the end of all timers")


def test_a_property_that_makes_no_sense_is_told():
    with TmcServer(MID, {"EventOrder": "backwards"}) as server:
        subarray = server.device("mid-tmc/subarray/01")

        with pytest.raises(tango.DevFailed, match="possible are state-first, result-first"):
            subarray.End()

        assert subarray.healthState == 2
        assert "property EventOrder is 'backwards'" in subarray.status()


def test_calls_are_remembered_and_forgotten(tmc):
    _, uid = tmc.send("AssignResources")
    tmc.result(uid)
    tmc.send("Configure")

    history = json.loads(tmc.subarray.History)
    calls = tmc.subarray.commandCallInfo
    tmc.subarray.ClearHistory()

    assert history == [{"command": "Configure", "args": json.dumps(MID_ARGUMENTS["Configure"])}]
    assert [tuple(call) for call in calls] == [("Configure", history[0]["args"])]
    assert json.loads(tmc.subarray.History) == []
    assert [each["command"] for each in json.loads(tmc.central.History)] == ["AssignResources"]


def test_health_is_as_told_and_nonsense_is_refused(tmc):
    with Recorder(tmc.central, "telescopeHealthState", "healthState") as recorder:
        tmc.central.SetDirectHealthState(1)
        recorder.wait(lambda: recorder.values("telescopeHealthState") == [1], "DEGRADED")

    assert recorder.values("healthState") == [1]
    for device, command, argument in (
        *((tmc.central, "SetDirectHealthState", 9), (tmc.subarray, "SetDirectObsState", 11)),
        *((tmc.subarray, "SetDefective", "{"), (tmc.subarray, "SetDelayInfo", "[]")),
    ):
        with pytest.raises(tango.DevFailed) as refused:
            device.command_inout(command, argument)
        assert refused.value.args[0].reason == "TMC_BadArgument"
    with pytest.raises(tango.DevFailed, match="commandTimeOut cannot be 0"):
        tmc.central.commandTimeOut = 0


def test_the_telescope_is_switched_and_says_what_is_there(tmc):
    with Recorder(tmc.central, "telescopeState") as recorder:
        (_,), (uid,) = tmc.central.TelescopeOn()
        recorder.wait(lambda: recorder.values("telescopeState"), "the telescope's state")
    (_,), (loaded,) = tmc.central.LoadDishCfg("{}")

    for each in (uid, loaded):
        tmc.central_news.wait(
            lambda uid=each: (uid, COMPLETED) in map(tuple, tmc.central_news.values(RESULT)), each
        )
    available = json.loads(tmc.central.telescopeAvailability)["tmc_subarrays"]
    assert recorder.values("telescopeState") == [tango.DevState.ON]
    assert available == {"mid-tmc/subarray/01": True, "mid-tmc/subarray/02": True}
    assert tmc.central.tmOpState == tango.DevState.ON
    assert tmc.subarray.isSubarrayAvailable
