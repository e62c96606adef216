"""The ladders, with a clock of the test's own."""

from __future__ import annotations

from signal import SIGCONT, SIGINT, SIGKILL, SIGTERM

import pytest

from ska_oso_activity.script_host.loop import Timer
from ska_oso_activity.script_host.stopping import AFTER_MAIN, STOP, Ladder


class FakeLoop:
    """A loop whose time passes when it is told to."""

    def __init__(self):
        self.now = 0.0
        self.timers: list[Timer] = []

    def call_later(self, delay, callback):
        self.timers.append(Timer(self.now + delay, callback))
        return self.timers[-1]

    def pass_until(self, now):
        for timer in sorted(self.timers, key=lambda timer: timer.when):
            if timer.when <= now and timer.callback:
                self.now = timer.when
                callback, timer.callback = timer.callback, None
                callback()
        self.now = now


@pytest.fixture
def loop():
    return FakeLoop()


def climb(loop, rungs, grace):
    sent = []
    ladder = Ladder(loop, "it", rungs, grace, lambda number: sent.append((loop.now, number)))
    return ladder, sent


def test_a_script_is_asked_then_terminated_then_killed(loop):
    _, sent = climb(loop, STOP, 3.0)

    loop.pass_until(100.0)

    assert [(when, number) for when, number in sent if number != SIGCONT] == [
        (0.0, SIGINT),
        (2.0, SIGTERM),
        (3.0, SIGKILL),
    ]


def test_every_rung_wakes_a_script_that_is_suspended(loop):
    _, sent = climb(loop, STOP, 3.0)

    loop.pass_until(100.0)

    assert [number for _, number in sent][1::2] == [SIGCONT] * 3


def test_without_a_grace_it_is_killed_at_once(loop):
    _, sent = climb(loop, STOP, 0.0)

    assert (0.0, SIGKILL) in sent


def test_what_goes_on_after_main_has_the_whole_grace(loop):
    _, sent = climb(loop, AFTER_MAIN, 3.0)

    loop.pass_until(2.9)
    assert sent == []
    loop.pass_until(100.0)

    assert [(when, number) for when, number in sent if number != SIGCONT] == [
        (3.0, SIGTERM),
        (3.5, SIGKILL),
    ]


def test_a_script_that_is_gone_is_left_alone(loop):
    ladder, sent = climb(loop, STOP, 3.0)
    del sent[:]

    ladder.cancel()
    loop.pass_until(100.0)

    assert sent == []
