"""ScriptExecution prepares once, starts once, always stops, and tells what becomes of scripts."""

import json
from pathlib import Path

import pytest

from ska_oso_activity.application.script_execution_service import ExecutionSettings
from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.errors import (
    EnvironmentFailed,
    NoCapacity,
    NoSpace,
    NotOnline,
    Reason,
    ScriptNotAllowed,
    ScriptNotFound,
    UnknownActivity,
    WrongState,
)
from ska_oso_activity.domain.procedure import (
    BlockContent,
    PrepareProcessCommand,
    abort_request_id,
)
from ska_oso_activity.domain.script import FileSystemScript, GitScript
from tests.fakes import InMemoryHistory, eventually
from tests.unit.application.procedure_bench import SCRIPT

GIT = GitScript("git://observe.py", "https://example.org/a.git")
BLOCK = BlockContent("sbd-1", 2, "{ \u03b1 }\r\n")
# Typed in from the Tango interface, section 3.2.
EVENT_KEYS = {
    *("epoch", "seq", "time", "procedure_id", "request_id", "state", "previous_state", "pid"),
    *("exit_code", "signal", "reason", "error"),
}
SUMMARY_KEYS = EVENT_KEYS | {
    *("result", "stacktrace", "progress", "message", "script", "subarray_id", "labels"),
    "procedure_states",
}
HAPPY = ["CREATING", "IDLE", "LOADING", "INITIALISING", "READY", "RUNNING", "COMPLETE"]


# --- The happy path


def test_a_script_that_works_passes_every_state_once(workshop):
    procedure_id = workshop.running(labels={"activity_id": 1}, subarray_id=3)
    workshop.host.end(procedure_id, result={"a": 1}, exit_code=0, message="done")

    events = workshop.events()
    assert [event["state"] for event in events] == HAPPY
    assert [event["previous_state"] for event in events] == ["UNKNOWN", *HAPPY[:-1]]
    assert [event["seq"] for event in events] == list(range(1, len(HAPPY) + 1))
    assert all(event.keys() == EVENT_KEYS for event in events)
    assert workshop.service.events_since(0) == events
    assert {event["pid"] for event in events[1:]} == {4711}
    summary = workshop.service.get_process(procedure_id)
    assert summary.keys() == SUMMARY_KEYS | {"output_tail"}
    assert (summary["state"], summary["result"], summary["progress"]) == (
        "COMPLETE",
        {"a": 1},
        100.0,
    )
    assert (summary["labels"], summary["subarray_id"]) == ({"activity_id": 1}, 3)
    assert (summary["exit_code"], summary["message"]) == (0, "done")


def test_each_transition_is_pushed_as_id_state_event(workshop):
    workshop.ended()

    names = [
        name for name, _ in workshop.publisher.of("procedureId", "procedureState", "procedureEvent")
    ]
    assert names == ["procedureId", "procedureState", "procedureEvent"] * len(HAPPY)


def test_the_host_gets_all_that_the_script_needs(workshop):
    workshop.launched(
        init_args=ProcedureInput((1,), {"a": 2}),
        scheduling_block=BLOCK,
        subarray_id=3,
        telescope="ska_mid",
        labels={"activity_id": 1},
    )

    (spec,) = workshop.host.launched
    assert (spec.procedure_id, spec.script_path, spec.python) == (1, "/scripts/observe.py", None)
    assert (spec.init, spec.subarray_id) == (ProcedureInput((1,), {"a": 2}), 3)
    assert spec.environment == {"SKA_TELESCOPE": "SKA-Mid"}
    assert spec.grace == 3.0
    assert workshop.blocks.files[spec.block_path] == BLOCK.content


def test_a_git_script_shows_its_preparation_and_its_commit(workshop):
    procedure_id = workshop.ended(script=GIT)

    assert workshop.story(procedure_id) == ["CREATING", "PREP_ENV", *HAPPY[1:]]
    assert workshop.service.get_process(procedure_id)["script"]["commit"] == "a" * 40
    assert workshop.host.launched[0].python == "/envs/a/python"
    assert workshop.publisher.json_of("scriptMessage") == [
        {"procedure_id": procedure_id, "message": "cloning"}
    ]


# --- PrepareProcess


def test_the_same_request_id_gives_the_same_procedure(workshop):
    first = workshop.running("r-1")
    command = PrepareProcessCommand("r-1", SCRIPT)
    while_running = workshop.service.prepare_process(command)
    workshop.host.end(first)
    workshop.service.set_closed("adminMode is OFFLINE")

    assert while_running == {"procedure_id": first, "state": "RUNNING"}
    assert workshop.service.prepare_process(command) == {
        "procedure_id": first,
        "state": "COMPLETE",
    }
    assert len(workshop.host.launched) == 1


def test_preparing_answers_at_once(workshop):
    workshop.door.opens.clear()

    assert workshop.service.prepare_process(PrepareProcessCommand("r", GIT)) == {
        "procedure_id": 1,
        "state": "CREATING",
    }


@pytest.mark.parametrize("error", [ScriptNotAllowed("no"), ScriptNotFound("no")])
def test_a_script_that_the_door_turns_away_creates_nothing(workshop, error):
    workshop.door.refused[SCRIPT.uri] = error
    with pytest.raises(type(error)):
        workshop.prepare()
    workshop.door.refused.clear()

    assert workshop.events() == []
    assert workshop.prepare() == 1


def test_nothing_is_prepared_while_closed(workshop):
    workshop.service.set_closed("adminMode is OFFLINE")

    with pytest.raises(NotOnline, match="adminMode is OFFLINE"):
        workshop.prepare()


def test_blocks_of_other_telescopes_are_turned_away(workshops):
    settings = ExecutionSettings(telescopes=frozenset({"ska_mid"}))
    workshop = workshops(settings=settings).begin()

    with pytest.raises(ScriptNotAllowed, match="ska_low"):
        workshop.prepare(telescope="ska_low")

    assert workshop.prepare(telescope="ska_mid") == 1


def test_there_is_room_for_so_many_scripts_and_no_more(workshops):
    workshop = workshops(settings=ExecutionSettings(most=2)).begin()
    first = workshop.running("r-1")
    workshop.running("r-2")

    with pytest.raises(NoCapacity, match="2 scripts are not finished"):
        workshop.prepare("r-3")

    workshop.host.end(first)
    assert workshop.prepare("r-3") == 3


def test_a_disk_that_takes_no_record_refuses(workshop):
    workshop.history.refusing = True
    with pytest.raises(NoSpace):
        workshop.prepare()
    workshop.history.refusing = False

    assert workshop.events() == []
    assert workshop.host.launched == []
    assert workshop.launched() == 1


def test_what_is_accepted_is_written_first(workshop):
    workshop.door.opens.clear()
    workshop.prepare(script=GIT)

    assert workshop.history.appended[0][:3] == (1, "CREATING", 1)
    assert workshop.history.record(1)["request_id"] == "r-1"


def test_the_terminal_record_is_synced_before_it_is_announced(workshop):
    workshop.ended()

    assert (1, "COMPLETE", len(HAPPY), True) in workshop.history.appended


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda w: w.door.broken.update({SCRIPT.uri: ScriptNotFound("gone")}), "SCRIPT_NOT_FOUND"),
        (
            lambda w: w.door.broken.update({SCRIPT.uri: EnvironmentFailed("no")}),
            "ENVIRONMENT_ERROR",
        ),
        (lambda w: w.door.broken.update({SCRIPT.uri: RuntimeError("oops")}), "INTERNAL_ERROR"),
        (lambda w: setattr(w.blocks, "broken", True), "ENVIRONMENT_ERROR"),
        (lambda w: setattr(w.host, "away", True), "EXECUTOR_UNAVAILABLE"),
    ],
)
def test_what_goes_wrong_before_there_is_a_process_fails_the_procedure(workshop, harm, reason):
    harm(workshop)
    procedure_id = workshop.prepare(scheduling_block=BLOCK)
    workshop.becomes(procedure_id, "FAILED")

    summary = workshop.service.get_process(procedure_id)
    assert summary["reason"] == reason
    assert summary["error"]
    assert workshop.host.alive == set()


# --- StartProcess


def test_a_function_is_started_with_its_arguments(workshop):
    procedure_id = workshop.ready()
    summary = workshop.start_with(procedure_id, sbi_id="sbi-1")

    assert summary.keys() == SUMMARY_KEYS
    assert workshop.host.started == [(1, "main", ProcedureInput((), {"sbi_id": "sbi-1"}))]


def test_only_what_is_ready_can_be_started(workshop):
    procedure_id = workshop.launched()

    with pytest.raises(WrongState, match=r"CREATING.*force_start"):
        workshop.start(procedure_id)

    workshop.host.make_ready(procedure_id)
    workshop.start(procedure_id)


def test_force_start_is_left_to_the_host_at_once(workshop):
    # Which starts the script as soon as it is ready: nobody has to be asked then.
    procedure_id = workshop.launched()
    workshop.start(procedure_id, force_start=True)
    before = list(workshop.host.start_messages)
    workshop.host.make_ready(procedure_id)

    assert before == [procedure_id]
    assert workshop.host.start_messages == before
    assert [each for each, _, _ in workshop.host.started] == [procedure_id]


@pytest.mark.parametrize("force_start", [True, False])
def test_a_script_is_started_once(workshop, force_start):
    procedure_id = workshop.ready()
    workshop.start(procedure_id)

    with pytest.raises(WrongState, match="started once"):
        workshop.start(procedure_id, force_start=force_start)

    workshop.host.say(procedure_id, "READY", "RUNNING")
    with pytest.raises(WrongState, match="started once"):
        workshop.start(procedure_id)
    assert len(workshop.host.started) == 1


def test_what_has_ended_or_is_being_stopped_cannot_be_started(workshop):
    ended = workshop.ended("r-1")
    stopping = workshop.ready("r-2")
    workshop.stop(stopping)

    with pytest.raises(WrongState, match="COMPLETE"):
        workshop.start(ended)
    with pytest.raises(WrongState, match="being stopped"):
        workshop.start(stopping)


def test_what_is_not_known_is_refused_in_words(workshop):
    workshop.ended()

    for ask in (workshop.start, workshop.stop, workshop.service.get_process):
        with pytest.raises(UnknownActivity, match="no procedure has the id 9: known are 1 to 1"):
            ask(9)
    with pytest.raises(UnknownActivity):
        workshop.service.get_output(9, 0, 10)
    with pytest.raises(UnknownActivity):
        workshop.service.get_check("9")


# --- StopProcess


@pytest.mark.parametrize("reach", ["launched", "ready", "running"])
def test_a_stop_reaches_the_host_with_the_grace(workshop, reach):
    procedure_id = getattr(workshop, reach)()
    reply = workshop.stop(procedure_id)
    workshop.host.end(procedure_id, "STOPPED", reason=Reason.STOPPED_BY_REQUEST, signal=15)

    assert workshop.host.stopped == [(procedure_id, 3.0)]
    assert reply.keys() == SUMMARY_KEYS | {"abort_request_id", "abort_skipped"}
    assert (reply["abort_request_id"], reply["abort_skipped"]) == (None, "run_abort is false")
    assert workshop.state(procedure_id) == "STOPPED"
    assert workshop.events()[-1]["reason"] == "STOPPED_BY_REQUEST"
    assert workshop.events()[-1]["signal"] == 15


def test_a_stop_before_there_is_a_process_makes_none(workshop):
    workshop.door.opens.clear()
    procedure_id = workshop.prepare(script=GIT)
    workshop.becomes(procedure_id, "PREP_ENV")
    workshop.stop(procedure_id)
    workshop.becomes(procedure_id, "STOPPED")

    assert workshop.host.launched == []
    assert workshop.story(procedure_id) == ["CREATING", "PREP_ENV", "STOPPED"]
    assert workshop.events()[-1]["reason"] == "STOPPED_BY_REQUEST"


def test_a_stop_that_comes_during_the_launch_is_made_after_it(workshop):
    workshop.host.on_launch = lambda: workshop.stop(1)
    procedure_id = workshop.launched()
    eventually(lambda: workshop.host.stopped)

    workshop.host.end(procedure_id, "STOPPED", reason=Reason.STOPPED_BY_REQUEST)
    assert workshop.state(procedure_id) == "STOPPED"


def test_a_script_that_finishes_first_is_reported_as_it_finished(workshop):
    procedure_id = workshop.running(subarray_id=3)
    workshop.stop(procedure_id, run_abort=True)
    workshop.host.end(procedure_id, "COMPLETE", result=1)
    reply = workshop.stop(procedure_id, run_abort=True)

    assert workshop.state(procedure_id) == "COMPLETE"
    assert "had ended" in reply["abort_skipped"]
    assert len(workshop.events()) == len(HAPPY)


def test_the_abort_script_is_a_procedure_of_its_own(workshop):
    procedure_id = workshop.running(subarray_id=3, telescope="ska_mid", labels={"activity_id": 7})
    reply = workshop.stop(procedure_id, run_abort=True)
    before = len(workshop.host.launched)
    workshop.host.end(procedure_id, "STOPPED", reason=Reason.STOPPED_BY_REQUEST)
    eventually(lambda: 2 in workshop.host.alive)
    workshop.host.make_ready(2)

    # Not before the script is gone.
    assert before == 1
    assert reply["abort_request_id"] == abort_request_id("r-1")
    assert reply["abort_skipped"] is None
    assert {event["request_id"] for event in workshop.events(2)} == {abort_request_id("r-1")}
    spec = workshop.host.launched[1]
    assert (spec.script_path, spec.subarray_id, spec.block_path) == ("/scripts/abort.py", 3, None)
    assert spec.environment == {"SKA_TELESCOPE": "SKA-Mid"}
    assert spec.labels == {"activity_id": 7, "abort_of": 1}
    assert workshop.host.started[-1] == (2, "main", ProcedureInput((), {"reason": "stopped"}))
    workshop.host.say(2, "RUNNING")
    workshop.host.end(2)
    assert workshop.story(2) == HAPPY


def test_no_abort_script_is_run_where_there_is_nothing_to_abort(workshops):
    with_script = workshops().begin()
    without = workshops(settings=ExecutionSettings()).begin()

    early = with_script.launched("r-1", subarray_id=3)
    homeless = with_script.running("r-2")
    unable = without.running("r-1", subarray_id=3)
    replies = [
        with_script.stop(early, run_abort=True),
        with_script.stop(homeless, run_abort=True),
        without.stop(unable, run_abort=True),
    ]
    for workshop, procedure_id in ((with_script, early), (with_script, homeless), (without, 1)):
        workshop.host.end(procedure_id, "STOPPED", reason=Reason.STOPPED_BY_REQUEST)

    assert [reply["abort_skipped"].split()[0:3] for reply in replies] == [
        ["the", "script", "was"],
        ["the", "script", "is"],
        ["no", "abort", "script"],
    ]
    assert len(with_script.host.launched) == 2
    assert len(without.host.launched) == 1


def test_abort_stops_everything_and_says_when_it_is_done(workshop):
    ids = [workshop.running("r-1", subarray_id=3), workshop.launched("r-2")]
    abort = workshop.service.abort()
    for procedure_id in ids:
        assert workshop.tracker.status(abort) == "IN_PROGRESS"
        workshop.host.end(procedure_id, "STOPPED", reason=Reason.STOPPED_BY_REQUEST)

    assert workshop.tracker.status(abort) == "COMPLETED"
    assert len(workshop.host.launched) == 2
    assert workshop.tracker.status(workshop.service.abort()) == "COMPLETED"
    assert workshop.service.abort(tracked=False) == ""


def test_a_stop_that_is_repeated_after_the_end_still_names_the_abort_script(workshop):
    # The first reply may have been lost: the caller must not think that none is run.
    procedure_id = workshop.running(subarray_id=3)
    workshop.stop(procedure_id, run_abort=True)
    workshop.host.end(procedure_id, "STOPPED", reason=Reason.STOPPED_BY_REQUEST)
    reply = workshop.stop(procedure_id, run_abort=True)

    assert reply["abort_request_id"] == abort_request_id("r-1")
    assert reply["abort_skipped"] is None


def test_an_abort_script_that_cannot_be_recorded_is_not_forgotten(workshop):
    procedure_id = workshop.running(subarray_id=3)
    workshop.stop(procedure_id, run_abort=True)
    workshop.history.refusing = True
    workshop.host.end(procedure_id, "STOPPED", reason=Reason.STOPPED_BY_REQUEST)
    workshop.history.refusing = False

    eventually(lambda: workshop.story(procedure_id)[-1] == "STOPPED")
    eventually(lambda: workshop.events(2), timeout=0.3)


# --- Ends


@pytest.mark.parametrize("before", ["launched", "ready", "running"])
@pytest.mark.parametrize("reason", [Reason.SCRIPT_ERROR, Reason.SCRIPT_DIED])
def test_a_script_that_fails_says_how(workshop, before, reason):
    procedure_id = getattr(workshop, before)()
    workshop.host.end(
        procedure_id, "FAILED", reason=reason, error="no", stacktrace="Trace", exit_code=1
    )

    summary = workshop.service.get_process(procedure_id)
    assert (summary["state"], summary["reason"], summary["error"]) == ("FAILED", reason, "no")
    assert (summary["stacktrace"], summary["exit_code"]) == ("Trace", 1)


def test_news_of_a_procedure_that_is_over_changes_nothing(workshop):
    procedure_id = workshop.ended()
    workshop.host.say(procedure_id, "READY", "RUNNING")
    workshop.host.end(procedure_id, "FAILED", reason=Reason.SCRIPT_DIED)
    workshop.host.say(99, "READY")

    assert workshop.story(procedure_id) == HAPPY


def test_an_end_counts_even_if_news_of_the_way_to_it_was_lost(workshop):
    procedure_id = workshop.launched()
    workshop.host.end(procedure_id, "COMPLETE")

    assert workshop.state(procedure_id) == "COMPLETE"


def test_reports_are_told_and_kept(workshop):
    procedure_id = workshop.running()
    workshop.host.told.on_progress(procedure_id, 40.0, "going")
    workshop.host.told.on_message(procedure_id, "well")

    assert workshop.publisher.json_of("scriptProgress") == [
        {"procedure_id": procedure_id, "progress": 40.0, "message": "going"}
    ]
    assert workshop.publisher.json_of("scriptMessage")[-1]["message"] == "well"
    summary = workshop.service.get_process(procedure_id)
    assert (summary["progress"], summary["message"]) == (40.0, "well")


def test_output_is_told_once_and_can_be_read_again(workshop):
    procedure_id = workshop.running()
    workshop.host.print(procedure_id, "a", "b")
    workshop.host.print(procedure_id, "c")
    workshop.host.told.on_output(procedure_id, 3)

    told = workshop.publisher.json_of("scriptOutput")
    assert [[line["text"] for line in each["lines"]] for each in told] == [["a", "b"], ["c"]]
    assert [each["offset"] for each in told] == [0, 2]
    read = workshop.service.get_output(procedure_id, 1, 1)
    assert [line["text"] for line in read["lines"]] == ["b"]
    assert (read["next_offset"], read["dropped"]) == (2, 0)


def test_much_output_is_told_in_pieces_without_a_gap(workshop):
    procedure_id = workshop.running()
    workshop.host.print(procedure_id, *(str(n) for n in range(450)))

    told = workshop.publisher.json_of("scriptOutput")
    assert [line["text"] for each in told for line in each["lines"]] == [str(n) for n in range(450)]
    assert max(len(each["lines"]) for each in told) <= 200


def test_the_tail_of_the_output_stays_with_the_record(workshop):
    procedure_id = workshop.running()
    workshop.host.print(procedure_id, *(str(n) for n in range(60)))
    workshop.host.end(procedure_id)
    workshop.host.lines.clear()

    tail = workshop.service.get_process(procedure_id)["output_tail"]
    assert [line["text"] for line in tail] == [str(n) for n in range(10, 60)]


# --- CheckProcess


def test_a_check_answers_at_once_and_its_findings_come_later(workshop):
    workshop.inspect.findings = [{"code": "SCRIPT_LOAD_ERROR", "message": "no main"}]
    command = PrepareProcessCommand("r", SCRIPT, main_args=ProcedureInput((1,)))
    check_id = workshop.service.check_process(command)["check_id"]
    eventually(lambda: workshop.publisher.of("processCheck"))

    outcome = {"check_id": check_id, "valid": False, "findings": workshop.inspect.findings}
    assert workshop.publisher.json_of("processCheck") == [outcome]
    assert workshop.service.get_check(f" {check_id}\n") == outcome
    assert workshop.inspect.asked == [
        {"path": Path("/scripts/observe.py"), "init": ProcedureInput(), "main": command.main_args}
    ]
    assert workshop.events() == []
    assert workshop.host.launched == []


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda w: None, None),
        (
            lambda w: w.door.refused.update({SCRIPT.uri: ScriptNotAllowed("no")}),
            "SCRIPT_NOT_ALLOWED",
        ),
        (lambda w: w.door.broken.update({SCRIPT.uri: ScriptNotFound("no")}), "SCRIPT_NOT_FOUND"),
        (lambda w: w.door.broken.update({SCRIPT.uri: RuntimeError("no")}), "INTERNAL_ERROR"),
    ],
)
def test_a_check_finds_what_prepare_would(workshop, harm, code):
    harm(workshop)
    check_id = workshop.service.check_process(PrepareProcessCommand("r", SCRIPT))["check_id"]
    eventually(lambda: workshop.publisher.of("processCheck"))

    outcome = workshop.service.get_check(check_id)
    assert outcome["valid"] == (code is None)
    assert [finding["code"] for finding in outcome["findings"]] == ([code] if code else [])


# --- The host


def test_scripts_of_a_host_that_is_gone_are_lost(workshop):
    procedure_id = workshop.running()
    workshop.host.told.on_host_lost()

    assert workshop.state(procedure_id) == "FAILED"
    assert workshop.events()[-1]["reason"] == "EXECUTOR_LOST"
    assert "RUNNING" in workshop.events()[-1]["error"]


def test_what_is_still_being_made_ready_outlives_a_host(workshop):
    workshop.door.opens.clear()
    procedure_id = workshop.prepare(script=GIT)
    workshop.becomes(procedure_id, "PREP_ENV")
    workshop.host.told.on_host_lost()
    workshop.door.opens.set()

    eventually(lambda: procedure_id in workshop.host.alive)


def test_a_host_that_is_lost_before_it_took_a_script_leaves_nothing_undecided(workshop):
    # The old host is found dead while the launch waits for the new one.
    def lose_it():
        workshop.host.on_launch = lambda: None
        workshop.host.told.on_host_lost()

    workshop.host.on_launch = lose_it
    procedure_id = workshop.launched()
    workshop.host.make_ready(procedure_id)
    eventually(lambda: workshop.state(procedure_id) == "READY" or workshop.host.stopped)

    # Either it goes on, or it is FAILED and what was launched is stopped.
    assert (workshop.state(procedure_id) == "READY") != bool(workshop.host.stopped)


def test_a_script_that_began_on_a_host_that_was_lost_is_not_run_again(workshop):
    # All this while the launch has not returned yet.
    def live_and_die():
        workshop.host.on_launched = lambda: None
        workshop.start(1, force_start=True)
        workshop.host.make_ready(1)
        workshop.host.say(1, "RUNNING")
        workshop.host.alive.clear()
        workshop.host.told.on_host_lost()

    workshop.host.on_launched = live_and_die
    procedure_id = workshop.prepare()
    workshop.becomes(procedure_id, "FAILED", timeout=0.5)

    assert len(workshop.host.launched) == 1
    assert workshop.events()[-1]["reason"] == "EXECUTOR_LOST"


def test_a_stop_that_the_host_did_not_get_is_sent_when_it_is_back(workshop):
    procedure_id = workshop.running()
    workshop.host.away = True
    workshop.stop(procedure_id)
    workshop.host.away = False
    workshop.host.told.on_host_attached(frozenset({procedure_id}), same_host=True)

    assert workshop.host.stopped == [(procedure_id, 3.0)]


def test_a_start_that_the_host_did_not_get_is_sent_when_it_is_back(workshop):
    procedure_id = workshop.ready()
    workshop.host.away = True
    workshop.start(procedure_id)
    workshop.host.away = False
    workshop.host.told.on_host_attached(frozenset({procedure_id}), same_host=True)

    assert [each for each, _, _ in workshop.host.started] == [procedure_id]


# --- Restarts


@pytest.mark.parametrize("state", ["launched", "ready", "running"])
def test_a_procedure_that_the_host_still_runs_is_picked_up(workshops, workshop, state):
    procedure_id = getattr(workshop, state)()
    again = workshops(workshop.restarted()).begin(known=frozenset({procedure_id}))
    before = again.state(procedure_id)
    if state == "launched":
        again.host.make_ready(procedure_id)
    if state != "running":
        again.start(procedure_id)
        again.host.say(procedure_id, "RUNNING")
    again.host.end(procedure_id, result=1)

    expected = {"launched": "CREATING", "ready": "READY", "running": "RUNNING"}
    assert before == expected[state]
    assert len(again.host.launched) == 1
    assert len(again.host.started) == 1
    events = again.service.events_since(0)
    assert [event["state"] for event in events] == HAPPY
    assert [event["seq"] for event in events] == list(range(1, len(HAPPY) + 1))
    with pytest.raises(WrongState):
        again.start(procedure_id)


def test_a_procedure_that_no_host_runs_any_more_is_lost(workshops, workshop):
    procedure_id = workshop.running()
    again = workshops(workshop.restarted()).begin(known=frozenset())

    assert again.state(procedure_id) == "FAILED"
    assert again.events()[-1]["reason"] == "EXECUTOR_LOST"
    assert again.prepare("r-1") == procedure_id
    assert again.prepare("r-2") == procedure_id + 1


def test_a_procedure_that_never_reached_the_host_was_never_started(workshops, workshop):
    # Killed between the record of the request and the message to the host.
    class Killed(BaseException):
        pass

    def kill():
        raise Killed

    workshop.host.on_launch = kill
    with pytest.raises(Killed):
        workshop.prepare()
    again = workshops(workshop.restarted()).begin(same_host=True)

    assert again.state(1) == "FAILED"
    assert again.events()[-1]["reason"] == "EXECUTOR_UNAVAILABLE"
    assert "never started" in again.events()[-1]["error"]
    assert again.host.launched == []


@pytest.mark.parametrize("trace", ["state", "output", "another host"])
def test_a_procedure_that_may_have_reached_a_host_is_lost(workshops, workshop, trace):
    procedure_id = workshop.launched()
    if trace == "state":
        workshop.host.say(procedure_id, "IDLE")
    elif trace == "output":
        workshop.host.print(procedure_id, "here")
    again = workshops(workshop.restarted()).begin(same_host=trace != "another host")

    assert again.events()[-1]["reason"] == "EXECUTOR_LOST"


def test_a_stop_that_a_restart_came_upon_is_sent_again(workshops, workshop):
    procedure_id = workshop.running(subarray_id=3)
    workshop.stop(procedure_id, run_abort=True)
    again = workshops(workshop.restarted()).begin(known=frozenset({procedure_id}))
    again.host.end(procedure_id, "STOPPED", reason=Reason.STOPPED_BY_REQUEST)
    eventually(lambda: 2 in again.host.alive)

    assert again.host.stopped == [(procedure_id, 3.0)] * 2
    assert again.state(procedure_id) == "STOPPED"


def test_a_forced_start_that_a_restart_came_upon_is_made_when_it_is_ready(workshops, workshop):
    procedure_id = workshop.launched()
    workshop.start(procedure_id, force_start=True)
    again = workshops(workshop.restarted()).begin(known=frozenset({procedure_id}))
    again.host.make_ready(procedure_id)

    assert [each for each, _, _ in again.host.started] == [procedure_id]


def test_a_start_that_was_recorded_and_not_sent_is_sent_after_the_restart(workshops, workshop):
    # Killed between the record and the message; the host starts a script once, however often asked.
    procedure_id = workshop.ready()
    workshop.start(procedure_id)
    workshop.host.started.clear()
    again = workshops(workshop.restarted()).begin(known=frozenset({procedure_id}))

    assert [each for each, _, _ in again.host.started] == [procedure_id]


def test_a_stop_that_a_restart_came_upon_before_the_launch_ends_it_stopped(workshops, workshop):
    workshop.door.opens.clear()
    procedure_id = workshop.prepare(script=GIT)
    workshop.becomes(procedure_id, "PREP_ENV")
    history = workshop.history
    with workshop.register.lock:
        workshop.stop(procedure_id)
        again = workshops(workshop.restarted())
    again.begin(known=frozenset())

    assert history.record(procedure_id)["stop_requested"]
    assert again.state(procedure_id) == "STOPPED"


def test_the_attributes_take_the_last_recorded_values(workshops, workshop):
    workshop.ended()
    again = workshops(workshop.restarted()).begin()

    names = ("procedureId", "procedureState", "procedureEvent", "procedures")
    assert [again.publisher.values[name] for name in names] == [
        workshop.publisher.values[name] for name in names
    ]
    assert again.service.get_process(1) == workshop.service.get_process(1)


# --- The record's end


def test_with_the_record_go_the_blocks_file_and_the_output(workshops):
    workshop = workshops(history=InMemoryHistory(keep=2)).begin()
    for n in range(4):
        workshop.ended(f"r-{n}", scheduling_block=BLOCK)

    kept = [json.loads(text)["procedure_id"] for text in workshop.publisher.values["procedures"]]
    assert workshop.host.forgotten == [1, 2]
    assert sorted(workshop.blocks.files) == ["/sbs/sbd-1-2-3.json", "/sbs/sbd-1-2-4.json"]
    assert workshop.prepare("r-9") == 5
    with pytest.raises(UnknownActivity):
        workshop.service.get_process(1)
    assert set(kept) <= {2, 3, 4}


def test_with_the_record_goes_the_file_of_a_life_before(workshops):
    workshop = workshops(history=InMemoryHistory(keep=1)).begin()
    workshop.ended("r-1", scheduling_block=BLOCK)
    again = workshops(workshop.restarted()).begin()
    again.ended("r-2", scheduling_block=BLOCK)

    assert list(again.blocks.files) == ["/sbs/sbd-1-2-2.json"]


def test_the_file_of_a_script_that_was_never_launched_goes_too(workshops):
    workshop = workshops(history=InMemoryHistory(keep=1)).begin()
    workshop.host.away = True
    workshop.prepare("r-1", scheduling_block=BLOCK)
    workshop.becomes(1, "FAILED")
    workshop.host.away = False
    workshop.ended("r-2")

    assert workshop.blocks.files == {}


def test_a_view_shows_100_procedures(workshop):
    for n in range(105):
        workshop.ended(f"r-{n}")

    shown = [json.loads(text) for text in workshop.publisher.values["procedures"]]
    assert [each["procedure_id"] for each in shown] == list(range(6, 106))
    assert not {"result", "stacktrace"} & shown[0].keys()


def test_while_the_disk_refuses_ends_wait_and_then_are_told(workshop):
    procedure_id = workshop.running()
    workshop.history.refusing = True
    workshop.host.end(procedure_id)
    told = workshop.story(procedure_id)
    workshop.history.refusing = False
    eventually(lambda: workshop.story(procedure_id) == HAPPY)

    assert told == HAPPY[:-1]
    assert "cannot be written" in workshop.health[0]
    eventually(lambda: workshop.health[-1] is None)


def test_another_script_is_another_file(workshop):
    workshop.launched(script=FileSystemScript("file:///scripts/other.py"))

    assert workshop.door.located == [FileSystemScript("file:///scripts/other.py")]
