"""The clients of one activity: they send, repeat what was not answered, start and stop."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

import tango

from faults import plan
from faults.contact import Json, Seen
from faults.course import Course
from faults.trial import Trial

COMMAND_TIMEOUT_MS = 3000
AGAIN = 0.05
"""Seconds between two tries."""


class Client:
    """Does what is planned for one activity; there is a second client where two are planned."""

    def __init__(self, course: Course, activity: Seen, trial: Trial) -> None:
        self._course = course
        self._activity = activity
        self._trial = trial

    def act(self) -> None:
        """Send the request, start what was prepared, stop what is to be stopped."""
        planned = self._trial.planned
        time.sleep(max(0.0, self._course.book.begun + planned.after - time.monotonic()))
        request: Json = {
            "sbd_id": self._trial.sbd_id,
            "activity_name": "observe",
            "request_id": str(uuid.uuid4()),
            "subarray_id": planned.lane,
            "prepare_only": planned.start_after is not None,
        }
        self._course.reach(self._trial, "requested")
        self._trial.sent = time.monotonic()
        self._at_once(2 if planned.twice else 1, lambda: self._send(request))
        if self._trial.refused or not self._trial.command_ids:
            return
        self._trial.accepted = time.monotonic()
        others = []
        if planned.start_after is not None:
            others.append(self._course.thread(self._start, planned.start_after))
        if planned.stop is not None:
            others.append(self._course.thread(self._stop, planned.stop))
        for thread in others:
            thread.start()
        for thread in others:
            thread.join()

    def _at_once(self, clients: int, do: Callable[[], None]) -> None:
        threads = [self._course.thread(do) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, request: Json) -> None:
        answer = self._insist("RunActivity", request)
        if answer is None:
            return
        code, text = answer
        (self._trial.command_ids if code == 2 else self._trial.refusals).append(text)

    def _start(self, after: float) -> None:
        """Start what was prepared; while its state is UNKNOWN that is refused, and asked again."""
        if not self._course.wait_for(self._trial, "ready"):
            return
        time.sleep(after)
        activity_id = self._activity_id()
        deadline = time.monotonic() + self._course.patience
        while activity_id is not None and time.monotonic() < deadline:
            answer = self._insist("StartActivity", {"activity_id": activity_id})
            if answer is None or answer[0] == 2 or "stopping" in self._trial.reached:
                return
            if self._course.book.wait(
                lambda: self._course.is_over(self._trial) or "running" in self._trial.reached, 0.2
            ):
                return

    def _stop(self, stop: plan.Stop) -> None:
        if not self._course.wait_for(self._trial, stop.when.state):
            return
        time.sleep(stop.when.delay)
        activity_id = self._activity_id()
        if activity_id is None:
            return
        request = {"activity_id": activity_id, "run_abort": stop.run_abort}

        def send() -> None:
            answer = self._insist("StopActivity", request)
            if answer is not None:
                (self._trial.stops if answer[0] == 2 else []).append(time.monotonic())
                self._trial.stop_answers.append(answer[1])

        self._at_once(2 if stop.twice else 1, send)

    def _activity_id(self) -> int | None:
        """From an event, else from the device, as long as that takes."""

        def known() -> int | None:
            told = self._told()
            return told[0] if told else None

        found = self._course.book.wait(known, 0.1)
        deadline = time.monotonic() + self._course.patience
        while found is None and time.monotonic() < deadline:
            with suppress(tango.DevFailed):
                proxy = tango.DeviceProxy(self._activity.name)
                text = proxy.command_inout("GetActivity", self._trial.command_ids[0])
                return int(json.loads(text)["activity_id"])
            found = self._course.book.wait(known, AGAIN)
        return found

    def _told(self) -> list[int]:
        events = [each.event for each in self._activity.events()]
        return [each["activity_id"] for each in events if each["sbd_id"] == self._trial.sbd_id]

    def _insist(self, command: str, argument: Json) -> tuple[int, str] | None:
        """Send a command until it is answered; None if it never is."""
        deadline = time.monotonic() + self._course.patience
        text = json.dumps(argument)
        self._course.book.write(self._trial.name, f"sends {command}")
        said = ""
        while time.monotonic() < deadline:
            try:
                proxy = tango.DeviceProxy(self._activity.name)
                proxy.set_timeout_millis(COMMAND_TIMEOUT_MS)
                (code,), (answer,) = proxy.command_inout(command, text)
            except tango.DevFailed as failed:
                error = str(failed.args[0].desc).splitlines()[0]
                if error != said:
                    self._course.book.write(self._trial.name, f"{command} is not answered: {error}")
                said = error
                time.sleep(AGAIN)
                continue
            self._course.book.write(self._trial.name, f"{command} is answered: [{code}, {answer}]")
            return int(code), str(answer)
        self._course.book.write(self._trial.name, f"{command} was never answered")
        return None
