"""A device and an executor without Tango, whose events may be lost."""

from __future__ import annotations

import json
from typing import Any

from ska_oso_activity.client.devices import Output
from ska_oso_activity.client.errors import DeviceAway


class FakeSubscription:
    """Delivers the attribute's last value when it is made or renewed, as Tango does."""

    def __init__(self, device, attribute, deliver, disturbed):
        self.device, self.attribute, self.deliver = device, attribute, deliver
        self.disturbed = disturbed
        self.renewals = 0
        self.closed = False
        self._first()

    def renew(self):
        self.renewals += 1
        self._first()

    def close(self):
        self.closed = True

    def _first(self):
        self.deliver(self.device.values.get(self.attribute, ""))


class FakeTango:
    """The attributes of a device."""

    def __init__(self, name):
        self.name = name
        self.values = {}
        self.subscriptions = []
        self.away = False

    def read(self, attribute):
        return self.values.get(attribute, "")

    def subscribe(self, attribute, deliver, disturbed=lambda: None):
        if self.away:
            raise DeviceAway(f"{self.name} does not answer")
        self.subscriptions.append(FakeSubscription(self, attribute, deliver, disturbed))
        return self.subscriptions[-1]

    def push(self, attribute, value, *, lost=False):
        self.values[attribute] = value
        for subscription in self.subscriptions:
            if subscription.attribute == attribute and not lost:
                subscription.deliver(value)


class FakeExecutor:
    """Holds the output of one procedure."""

    def __init__(self):
        self.device = FakeTango("executor")
        self.lines = []
        self.server = "2026-11-24T22:00:00.000000Z"
        self.record = {"request_id": "execution", "labels": {"activity_id": 12}}

    def write(self, *texts, lost=False, time=""):
        first = len(self.lines)
        self.lines += [
            {"n": n, "stream": "stdout", "time": time, "text": text}
            for n, text in enumerate(texts, first)
        ]
        told = {"procedure_id": 7, "offset": first, "lines": self.lines[first:]}
        self.device.push("scriptOutput", json.dumps(told), lost=lost)

    def started_at(self):
        return self.server

    def running_since(self, procedure_id):
        return None

    def process(self, procedure_id):
        assert procedure_id == 7
        if self.device.away:
            raise DeviceAway("executor does not answer")
        return self.record

    def output(self, procedure_id, offset, limit=1000):
        assert procedure_id == 7
        if self.device.away:
            raise DeviceAway("executor does not answer")
        lines = self.lines[offset : offset + limit]
        return Output(lines, offset + len(lines))


class FakeActivityDevice:
    """Holds one activity, 12, and its events."""

    def __init__(self):
        self.device = FakeTango("device")
        self.running_in = FakeExecutor()
        self.server = "2026-11-24T22:00:00.000000Z"
        self.events = []
        self.summary: dict[str, Any] = {
            "activity_id": 12,
            "state": "NONE",
            "activity_states": [],
            "executor": None,
            "procedure_id": None,
            "progress": 0.0,
            "message": "",
            "output_tail": [],
        }

    def become(self, *states, lost=False, message=""):
        for state in states:
            seq = len(self.events) + 1
            time = f"2026-11-24T22:10:{seq:02}.000000Z"
            event = {
                "epoch": "e",
                "seq": seq,
                "time": time,
                "activity_id": 12,
                "state": state,
                "previous_state": self.summary["state"],
                "executor": self.summary["executor"],
                "procedure_id": self.summary["procedure_id"],
                "reason": None,
                "message": message,
            }
            self.events.append(event)
            self.summary["state"] = state
            self.summary["activity_states"].append([state, time])
            self.device.push("activityEvent", json.dumps(event), lost=lost)

    def assign(self):
        self.summary.update(executor="executor", procedure_id=7)

    # What clients call.

    def started_at(self):
        self._answer()
        return self.server

    def last_event(self):
        return self.events[-1] if self.events else None

    def activity(self, key):
        self._answer()
        return json.loads(json.dumps(self.summary))

    def executor(self, name):
        assert name == "executor"
        return self.running_in

    def events_since(self, seq):
        self._answer()
        return [event for event in self.events if event["seq"] > seq]

    def _answer(self):
        if self.device.away:
            raise DeviceAway("device does not answer")
