"""Waiting is ended by others, now or before it began; nothing of it is kept."""

import gc
import queue
import threading
import weakref

import pytest

from ska_oso_activity.client import Interrupted, Interruption
from ska_oso_activity.client.interruption import Inbox


def test_news_come_in_order_and_an_empty_inbox_says_so():
    inbox = Inbox[int]()
    inbox.put(1)
    inbox.put(2)

    assert [inbox.get(1), inbox.get(1)] == [1, 2]
    assert inbox.empty()
    with pytest.raises(queue.Empty):
        inbox.get(0.01)


def test_one_that_waits_is_woken():
    interruption = Interruption()
    inbox = Inbox[int](interruption)
    waiting = threading.Event()

    def interrupt():
        waiting.wait(10)
        interruption.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    waiting.set()

    with pytest.raises(Interrupted):
        inbox.get(60)
    thread.join()


def test_one_that_comes_later_does_not_wait():
    interruption = Interruption()
    interruption.interrupt()
    inbox = Inbox[int](interruption)
    inbox.put(1)

    with pytest.raises(Interrupted):
        inbox.get(60)
    with pytest.raises(Interrupted):
        interruption.pause(60)


def test_an_inbox_that_is_dropped_is_not_kept():
    interruption = Interruption()
    inbox = Inbox[int](interruption)
    gone = weakref.ref(inbox._queue)

    del inbox
    gc.collect()

    assert gone() is None
