from ska_oso_activity.cli.stack.backoff import Backoff


def test_delays_double_to_ten_seconds():
    backoff = Backoff()

    delays = [backoff.after(0.1) for _ in range(8)]

    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_delays_begin_anew_after_half_a_minute_of_good_health():
    backoff = Backoff()
    for _ in range(5):
        backoff.after(29.9)

    assert backoff.after(30.0) == 0.2
    assert backoff.after(0.0) == 0.4
