"""An executor that answers and delivers no events is followed all the same, by asking."""

import json
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import tango

from ska_oso_activity.adapters import tango_executor
from ska_oso_activity.adapters.tango_executor import TangoExecutor
from tests.fakes import eventually

NAME = "mid-oso/script-execution/01"


def failure(kind: type[tango.DevFailed], reason: str, desc: str) -> tango.DevFailed:
    error = tango.DevError()
    error.reason, error.desc, error.origin = reason, desc, "here"
    return kind(error)


class Executor:
    """What TangoExecutor sees of a server, and the proxy to it."""

    def __init__(self) -> None:
        self.mute = True
        self.away = False
        self.busy = False
        self.events: list[dict[str, Any]] = []
        self.values = {"serverStartedAt": "t1", "procedureEvent": "", "freeSlots": 5}
        self.values |= {"scriptProgress": "", "scriptMessage": "", "processCheck": ""}
        self.values |= {"healthState": 0, "Status": "The device is in ON state."}
        self.tries = 0
        self.callbacks: dict[str, Any] = {}

    def happen(self, state: str) -> None:
        event = {"epoch": "e", "seq": len(self.events) + 1, "procedure_id": 7, "state": state}
        self.events.append(event)
        self.values["procedureEvent"] = json.dumps(event)

    def set_timeout_millis(self, _: int) -> None:
        pass

    def read_attributes(self, names: tuple[str, ...]) -> list[SimpleNamespace]:
        self._answer()
        if self.busy:
            raise failure(tango.CommunicationFailed, "API_DeviceTimedOut", "TRANSIENT_CallTimedout")
        return [SimpleNamespace(value=self.values[name]) for name in names]

    def read_attribute(self, name: str) -> SimpleNamespace:
        return self.read_attributes((name,))[0]

    def command_inout(self, name: str, seq: int) -> str:
        self._answer()
        assert name == "EventsSince"
        return json.dumps([event for event in self.events if event["seq"] > seq])

    def subscribe_event(self, name: str, _: object, callback: Any) -> int:
        self._answer()
        self.tries += name == "procedureEvent"
        if self.mute and name != "procedureEvent":  # some may still succeed
            raise failure(tango.DevFailed, "API_ZmqFailed", "Invalid argument")
        self.callbacks[name] = callback
        return len(self.callbacks)

    def unsubscribe_event(self, _: int) -> None:
        self.callbacks.clear()

    def _answer(self) -> None:
        if self.away:
            raise failure(tango.ConnectionFailed, "API_CantConnectToDevice", "gone")


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.follower: TangoExecutor | None = None

    def __getattr__(self, name: str) -> Any:
        return lambda _, *news: self.told.append((name.removeprefix("on_"), *news))

    def states(self) -> list[str]:
        return [news[1]["state"] for news in self.told if news[0] == "procedure_event"]


@pytest.fixture
def followed(monkeypatch):
    monkeypatch.setattr(tango_executor, "RESUBSCRIBE_PAUSE", 0.3)
    executor, listener = Executor(), Listener()
    follower = TangoExecutor(NAME, listener, proxy_of=lambda _: executor)
    listener.follower = follower
    follower.begin()
    yield executor, listener
    follower.close()
    for thread in threading.enumerate():
        if NAME in thread.name:
            thread.join(2)


def test_contact_is_made_and_what_happens_is_learnt_by_asking(followed, caplog):
    executor, listener = followed
    eventually(lambda: ("executor_back",) in listener.told)
    for state in ("CREATING", "IDLE", "READY"):
        executor.happen(state)
    executor.values |= {"scriptProgress": '{"procedure_id": 7}', "freeSlots": 4}
    eventually(lambda: ("executor_room", 4) in listener.told)
    eventually(lambda: executor.tries > 2)

    assert listener.states() == ["CREATING", "IDLE", "READY"]
    assert listener.told.count(("script_progress", {"procedure_id": 7})) == 1
    assert ("executor_lost",) not in listener.told
    logged = [*caplog.get_records("setup"), *caplog.records]
    said = [each.message for each in logged if "takes no subscription" in each.message]
    assert len(said) == 1
    assert "Invalid argument" in said[0]


def test_events_are_listened_to_as_soon_as_they_can_be(followed):
    executor, listener = followed
    eventually(lambda: ("executor_back",) in listener.told)
    executor.mute = False
    eventually(lambda: len(executor.callbacks) == 6)
    executor.happen("CREATING")
    value = SimpleNamespace(value=executor.values["procedureEvent"])
    executor.callbacks["procedureEvent"](SimpleNamespace(err=False, attr_value=value))
    eventually(lambda: listener.states() == ["CREATING"])
    tries = executor.tries

    assert tries >= 2
    assert listener.told.count(("executor_back",)) == 1


def test_one_that_answers_commands_is_there_though_a_heartbeat_waits_too_long(
    followed, monkeypatch
):
    executor, listener = followed
    eventually(lambda: ("executor_back",) in listener.told)
    follower = listener.follower
    executor.busy = True
    began = time.monotonic()
    while time.monotonic() < began + 2 * tango_executor.SILENCE:
        follower.events_since(0)
    assert ("executor_lost",) not in listener.told

    eventually(lambda: ("executor_lost",) in listener.told, 4)
    executor.busy = False
    eventually(lambda: listener.told.count(("executor_back",)) == 2, 4)


@pytest.mark.parametrize("mute", [True, False])
def test_how_well_it_is_is_told_with_the_reason(followed, mute):
    executor, listener = followed
    eventually(lambda: ("executor_back",) in listener.told)
    executor.mute = mute
    if not mute:
        eventually(lambda: len(executor.callbacks) == 6)
    executor.values["Status"] = "The device is in ON state.\nscript host: gone\ndisk: full"
    executor.values["healthState"] = 2
    if not mute:
        value = SimpleNamespace(value=2)
        executor.callbacks["healthState"](SimpleNamespace(err=False, attr_value=value))

    told = ("executor_health", "FAILED", "script host: gone; disk: full")
    eventually(lambda: told in listener.told)
    assert listener.told.count(told) == 1


def test_one_that_is_gone_is_away_whether_or_not_it_took_subscriptions(followed):
    executor, listener = followed
    eventually(lambda: ("executor_back",) in listener.told)
    executor.away = True

    eventually(lambda: ("executor_lost",) in listener.told, 4)


def test_what_is_unfinished_is_known_though_its_events_are_gone_or_the_view_is_full():
    executor = Executor()
    executor.happen("RUNNING")
    executor.happen("COMPLETE")
    for number in range(8, 128):
        executor.events.append({"procedure_id": number, "state": "RUNNING", "seq": number})
    summaries = [{"procedure_id": 3, "state": "READY"}, {"procedure_id": 4, "state": "FAILED"}]
    executor.values["procedures"] = [json.dumps(each) for each in summaries]
    follower = TangoExecutor(NAME, Listener(), proxy_of=lambda _: executor)

    assert sorted(follower.unfinished()) == [3, *range(8, 128)]
