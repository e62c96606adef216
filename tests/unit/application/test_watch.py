"""A dependency is looked at again and again, and its silence is told too."""

import threading

from ska_oso_activity.application.watch import Watch
from ska_oso_activity.domain.errors import OdaUnavailable
from tests.fakes import NEWS, FakeArchive, eventually


def watched(check):
    told = []

    def tell(trouble):
        told.append(trouble)
        NEWS.tell()

    watch = Watch(check, tell, interval=0.01, patience=0.05)
    watch.begin()
    return watch, told


def test_a_loss_is_told_and_its_end():
    archive = FakeArchive()
    watch, told = watched(archive.check)
    eventually(lambda: told)
    archive.absent = True
    eventually(lambda: told[-1] is not None)
    trouble = told[-1]
    archive.absent = False
    eventually(lambda: told[-1] is None)
    watch.close()

    assert told[0] is None
    assert trouble == "the archive does not answer"


def test_a_check_that_hangs_is_a_trouble_until_it_comes_back():
    answers = threading.Event()
    watch, told = watched(answers.wait)
    eventually(lambda: told)
    first = told[0]
    answers.set()
    eventually(lambda: told[-1] is None)
    watch.close()

    assert first == "has not answered for 0.05 s"


def test_a_defect_in_a_check_does_not_end_the_watch():
    errors = [RuntimeError("oops"), OdaUnavailable("away")]

    def check():
        if errors:
            raise errors.pop(0)

    watch, told = watched(check)
    eventually(lambda: told[-1:] == [None], timeout=0.5)
    watch.close()

    assert "away" in told
