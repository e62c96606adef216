"""Abort commands are followed to the end of what they stop, and there are not too many of them."""

import json

import pytest

from ska_oso_activity.application.aborts import MAX_ABORTS, Aborts
from ska_oso_activity.application.command_tracker import CommandTracker
from ska_oso_activity.domain.errors import NoCapacity, Reason
from tests.fakes import RecordingPublisher


class Life:
    """One life of the server, on the notes of those before."""

    def __init__(self, notes: dict[str, str], tracker: CommandTracker | None = None) -> None:
        self.notes = notes
        self.tracker = tracker or CommandTracker(RecordingPublisher())
        self.aborts = Aborts(self.tracker, notes.get, notes.__setitem__)

    def abort(self, *targets: int) -> str:
        command_id = self.aborts.begin(targets)
        self.aborts.follow(command_id)
        return command_id


@pytest.fixture
def life() -> Life:
    return Life({})


def noted(life: Life) -> dict[str, list[int]]:
    found: dict[str, list[int]] = json.loads(life.notes["aborts"])
    return found


def test_an_abort_ends_with_the_last_that_it_stops(life):
    abort = life.abort(1, 2)
    statuses = [life.tracker.status(abort)]
    for number in (1, 2):
        life.aborts.ended(number)
        statuses.append(life.tracker.status(abort))

    assert statuses == ["IN_PROGRESS", "IN_PROGRESS", "COMPLETED"]
    assert noted(life) == {}


def test_one_whose_targets_are_gone_as_soon_as_they_are_stopped_writes_nothing(life):
    nothing = life.abort()
    command_id = life.aborts.begin([1])
    life.aborts.ended(1)
    life.aborts.follow(command_id)

    assert [life.tracker.status(each) for each in (nothing, command_id)] == ["COMPLETED"] * 2
    assert life.tracker.awaiting == {}


@pytest.mark.parametrize("initialised", [True, False])
@pytest.mark.parametrize(("left", "status"), [([2], "IN_PROGRESS"), ([], "COMPLETED")])
def test_one_that_a_restart_comes_upon_goes_on(life, initialised, left, status):
    abort = life.abort(1, 2)
    again = Life(life.notes, life.tracker if initialised else None)
    again.aborts.resume(left)

    assert again.tracker.status(abort) == status
    assert noted(again) == ({abort: [2]} if left else {})
    again.aborts.ended(2)
    assert again.tracker.status(abort) == "COMPLETED"


@pytest.mark.parametrize("text", ["{", "[]", '{"1_2_Abort": ["x"]}', '{"1_2_Abort": 3}'])
def test_a_note_that_cannot_be_read_does_no_harm(text):
    life = Life({"aborts": text})
    life.aborts.resume([1])

    assert life.tracker.awaiting == {}


def test_aborts_of_the_same_are_limited_in_number(life):
    aborts = [life.abort(1, 2) for _ in range(MAX_ABORTS)]
    with pytest.raises(NoCapacity, match="being stopped already") as refusal:
        life.abort(2)

    assert aborts[-1] in str(refusal.value)
    assert refusal.value.reason is Reason.NO_CAPACITY
    for number in (1, 2):
        life.aborts.ended(number)
    assert {life.tracker.status(each) for each in aborts} == {"COMPLETED"}
    assert life.tracker.status(life.abort()) == "COMPLETED"


def test_what_no_abort_waits_for_can_be_aborted_all_the_same(life):
    for _ in range(MAX_ABORTS):
        life.abort(1, 2)
    abort = life.abort(2, 3)

    assert life.tracker.awaiting[abort] == {2, 3}
    with pytest.raises(NoCapacity):
        life.abort(3)


def test_one_with_nothing_to_stop_is_done_however_many_wait(life):
    for _ in range(MAX_ABORTS):
        life.abort(1)

    assert life.tracker.status(life.abort()) == "COMPLETED"


# --- In the services


def test_aborts_of_activities_are_limited_and_stop_everything(bench):
    bench.executor.stops = False
    bench.running()
    for _ in range(MAX_ABORTS):
        bench.service.abort()
    with pytest.raises(NoCapacity):
        bench.service.abort()
    commands, targets = bench.service.abort(tracked=False)

    assert (commands, targets) == ("", [1])
    assert len(bench.tracker.awaiting) == MAX_ABORTS


@pytest.mark.parametrize("initialised", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_an_abort_of_scripts_that_a_restart_comes_upon_ends(workshops, initialised, known):
    workshop = workshops().begin()
    procedure_id = workshop.running()
    abort = workshop.service.abort()
    again = workshops(workshop.restarted(workshop.tracker if initialised else None))
    again.begin(frozenset({procedure_id} if known else ()), same_host=True)
    if known:
        assert again.tracker.status(abort) == "IN_PROGRESS"
        again.host.end(procedure_id, "STOPPED", reason=Reason.STOPPED_BY_REQUEST)

    assert again.tracker.status(abort) == "COMPLETED"
