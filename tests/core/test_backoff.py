from eric_sse_django.backoff import FIRST_DELAY_S, LAST_DELAY_S, Backoff


def test_delays_double_up_to_a_bound_and_are_spread_below_it():
    backoff = Backoff()
    bound_s = FIRST_DELAY_S
    for _ in range(100):
        assert bound_s / 2 <= backoff.next_delay_s() <= bound_s
        bound_s = min(2 * bound_s, LAST_DELAY_S)
    assert bound_s == LAST_DELAY_S


def test_a_success_starts_the_delays_anew():
    backoff = Backoff()
    for _ in range(10):
        backoff.next_delay_s()
    backoff.reset()
    assert backoff.next_delay_s() <= FIRST_DELAY_S


def test_streams_that_failed_together_do_not_try_again_together():
    assert len({Backoff().next_delay_s() for _ in range(20)}) > 1
