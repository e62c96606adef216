"""A launch is made at once where it can be, and again where it was lost, and never twice."""

import pytest

from ska_oso_activity.application import procedure_run
from ska_oso_activity.application.execution_settings import ExecutionSettings
from ska_oso_activity.domain.errors import (
    ExecutorUnavailable,
    NoCapacity,
    NoSpace,
    Reason,
)
from ska_oso_activity.domain.procedure import BlockContent
from tests.fakes import eventually

BLOCK = BlockContent("sbd-1", 2, "{}")
NOTHING = frozenset()


# --- At once


def test_a_script_that_is_there_is_launched_before_the_answer(workshop):
    procedure_id = workshop.prepare(scheduling_block=BLOCK)

    (spec,) = workshop.host.launched
    assert spec.procedure_id == procedure_id
    assert workshop.blocks.files[spec.block_path] == "{}"
    assert workshop.history.record(procedure_id)["block_path"] == spec.block_path
    assert len(workshop.history.appended) == 1, "one record does"


def test_a_large_block_does_not_hold_up_the_answer(workshop, monkeypatch):
    monkeypatch.setattr(procedure_run, "SMALL_BLOCK", 1)
    with workshop.register.lock:  # which who works in the background needs
        procedure_id = workshop.prepare(scheduling_block=BLOCK)
        assert workshop.host.launched == []

    eventually(lambda: procedure_id in workshop.host.alive)


def test_a_host_that_has_to_be_waited_for_does_not_hold_up_the_answer(workshop):
    workshop.host.busy = True
    with workshop.register.lock:
        procedure_id = workshop.prepare()
        assert workshop.host.launched == []

    eventually(lambda: procedure_id in workshop.host.alive)


@pytest.mark.parametrize("harm", ["disk", "room"])
def test_the_blocks_file_of_what_is_refused_goes(workshops, harm):
    workshop = workshops(settings=ExecutionSettings(most=1)).begin()
    if harm == "disk":
        workshop.history.refusing = True
    else:
        workshop.running("r-0")

    with pytest.raises((NoSpace, NoCapacity)):
        workshop.prepare("r-1", scheduling_block=BLOCK)

    assert workshop.blocks.files == {}


# --- Contact is lost


def test_a_launch_that_could_not_be_sent_is_sent_when_there_is_contact(workshop):
    def cut():
        workshop.host.on_launch = lambda: None
        raise ExecutorUnavailable("the connection broke just now")

    workshop.host.on_launch = cut
    procedure_id = workshop.prepare()

    eventually(lambda: procedure_id in workshop.host.alive)
    assert len(workshop.host.launched) == 1


def test_a_launch_that_the_same_host_does_not_know_is_made_again(workshop):
    procedure_id = workshop.launched()
    workshop.start(procedure_id, force_start=True)
    workshop.host.started.clear()

    workshop.host.told.on_host_attached(NOTHING, same_host=True)
    eventually(lambda: len(workshop.host.launched) == 2)
    eventually(lambda: workshop.host.started)

    assert workshop.host.launched[0] == workshop.host.launched[1]
    workshop.host.make_ready(procedure_id)
    assert workshop.state(procedure_id) == "READY"


def test_a_launch_that_the_end_of_the_server_comes_upon_is_nobody_s_trouble(workshop, caplog):
    def end():
        workshop.host.on_launch = lambda: None
        workshop.register.close()
        workshop.host.away = True

    workshop.host.busy = True  # so that it is launched in the background
    workshop.host.on_launch = end
    procedure_id = workshop.prepare()
    eventually(lambda: workshop.host.away)
    eventually(lambda: workshop.service._run._workers._idle == 1)

    assert workshop.register.find(procedure_id).state.name == "CREATING"
    assert caplog.records == []


def test_a_launch_that_another_host_does_not_know_is_lost(workshop):
    procedure_id = workshop.launched()

    workshop.host.told.on_host_attached(NOTHING, same_host=False)

    assert workshop.state(procedure_id) == "FAILED"
    assert workshop.events()[-1]["reason"] == "EXECUTOR_LOST"
    assert len(workshop.host.launched) == 1


@pytest.mark.parametrize("states", [["IDLE"], ["IDLE", "LOADING"], ["IDLE", "LOADING", "READY"]])
def test_what_has_begun_is_never_launched_again(workshop, states):
    procedure_id = workshop.launched()
    workshop.host.say(procedure_id, *states)

    workshop.host.told.on_host_attached(NOTHING, same_host=True)

    assert workshop.state(procedure_id) == "FAILED"
    assert workshop.events()[-1]["reason"] == "EXECUTOR_LOST"
    assert len(workshop.host.launched) == 1


def test_a_launch_that_the_host_knows_is_not_made_again(workshop):
    procedure_id = workshop.launched()

    for _ in range(2):
        workshop.host.told.on_host_attached(frozenset({procedure_id}), same_host=True)
    workshop.host.make_ready(procedure_id)

    assert len(workshop.host.launched) == 1
    assert workshop.state(procedure_id) == "READY"


def test_a_launch_that_was_lost_and_is_to_be_stopped_is_not_made_again(workshop):
    procedure_id = workshop.launched()
    workshop.host.away = True
    workshop.stop(procedure_id)
    workshop.host.away = False

    workshop.host.told.on_host_attached(NOTHING, same_host=True)
    workshop.becomes(procedure_id, "STOPPED")

    assert len(workshop.host.launched) == 1


# --- A disk that takes no records


def test_all_scripts_are_stopped_whatever_the_disk_does(workshop):
    ids = [workshop.running(f"r-{n}", subarray_id=n + 1) for n in range(3)]
    # One ends, and the abort script that follows is not on the disk yet.
    workshop.stop(ids[0], run_abort=True)
    workshop.history.refusing = True
    workshop.host.end(ids[0], "STOPPED", reason=Reason.STOPPED_BY_REQUEST)
    eventually(lambda: 4 in workshop.host.alive)
    workshop.host.stopped.clear()

    abort = workshop.service.abort()
    stopped = [procedure_id for procedure_id, _ in workshop.host.stopped]
    for procedure_id in stopped:
        workshop.host.end(procedure_id, "STOPPED", reason=Reason.STOPPED_BY_REQUEST)

    assert stopped == [ids[1], ids[2], 4]
    assert workshop.tracker.status(abort) == "COMPLETED"


def test_an_abort_does_not_wait_for_what_has_ended_and_could_not_be_recorded(workshop):
    procedure_id = workshop.running()
    workshop.history.refusing = True
    workshop.host.end(procedure_id)

    abort = workshop.service.abort()

    assert workshop.tracker.status(abort) == "COMPLETED"


def test_a_procedure_that_could_not_be_recorded_yet_can_be_stopped(workshop):
    first = workshop.running(subarray_id=1)
    workshop.stop(first, run_abort=True)
    workshop.history.refusing = True
    workshop.host.end(first, "STOPPED", reason=Reason.STOPPED_BY_REQUEST)
    eventually(lambda: 2 in workshop.host.alive)

    answer = workshop.stop(2)

    assert answer["procedure_id"] == 2
    assert (2, 3.0) in workshop.host.stopped


def test_a_stop_comes_before_its_record(workshop):
    procedure_id = workshop.running()
    order = []
    workshop.host.stop = lambda *_: order.append("stop")
    append = workshop.history.append
    workshop.history.append = lambda *a, **how: (order.append("record"), append(*a, **how))

    workshop.stop(procedure_id)

    assert order == ["stop", "record"]


def test_an_end_that_is_told_twice_while_the_disk_refuses_is_one_end(workshop):
    procedure_id = workshop.running()
    workshop.history.refusing = True
    workshop.host.end(procedure_id, result=1)
    workshop.host.end(procedure_id, "FAILED", reason=Reason.SCRIPT_DIED)
    workshop.host.told.on_host_lost()
    workshop.history.refusing = False
    workshop.becomes(procedure_id, "COMPLETE")

    assert [each["state"] for each in workshop.events()].count("COMPLETE") == 1
    assert "FAILED" not in workshop.story(procedure_id)
