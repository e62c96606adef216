"""Events arrive late, twice, not at all, or from a history that began anew."""

from ska_oso_activity.client.event_sequence import EventSequence


def event(seq, epoch="a"):
    return {"epoch": epoch, "seq": seq}


class History:
    """What EventsSince would give, page by page."""

    def __init__(self, *events, page=100):
        self.events = list(events)
        self.page = page

    def since(self, seq):
        return [e for e in self.events if e["seq"] > seq][: self.page]


def seqs(events):
    return [e["seq"] for e in events]


def test_an_event_that_follows_the_last_is_new():
    sequence = EventSequence(History().since, event(4))

    assert seqs(sequence.arrived(event(5))) == [5]


def test_the_first_event_of_an_empty_history_is_new():
    sequence = EventSequence(History().since, None)

    assert seqs(sequence.arrived(event(1))) == [1]


def test_repeated_events_are_dropped():
    sequence = EventSequence(History().since, event(4))
    sequence.arrived(event(5))

    assert sequence.arrived(event(5)) == []
    assert sequence.arrived(event(4)) == []


def test_lost_events_are_fetched_before_the_one_that_shows_the_gap():
    sequence = EventSequence(History(*map(event, range(1, 9))).since, event(4))

    assert seqs(sequence.arrived(event(8))) == [5, 6, 7, 8]


def test_an_event_beyond_what_is_kept_still_counts():
    sequence = EventSequence(History().since, event(4))

    assert seqs(sequence.arrived(event(8))) == [8]


def test_catching_up_takes_all_pages():
    sequence = EventSequence(History(*map(event, range(1, 9)), page=3).since, event(1))

    assert seqs(sequence.catch_up()) == [2, 3, 4, 5, 6, 7, 8]
    assert sequence.catch_up() == []


def test_a_history_that_began_anew_is_followed_from_there():
    sequence = EventSequence(History(event(1, "b"), event(2, "b")).since, event(40))

    assert seqs(sequence.arrived(event(2, "b"))) == [2]
    assert seqs(sequence.arrived(event(3, "b"))) == [3]
