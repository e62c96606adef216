"""Threads for work: a task is never stranded."""

import threading

from ska_oso_activity.application.workers import Workers
from tests.fakes import NEWS, eventually


def test_a_task_is_done_though_the_system_gives_no_more_threads(monkeypatch):
    workers = Workers("test", most=4)
    held = threading.Event()
    workers.submit(held.wait)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done = []
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        workers.submit(lambda: (done.append(1), NEWS.tell()))
    assert done == []
    held.set()

    eventually(lambda: done == [1])
    workers.close()
