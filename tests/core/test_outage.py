import logging

import pytest

from eric_sse_django.outage import (
    FIRST_DELAY_S,
    MAX_DELAY_S,
    MAX_OUTAGE_DELAY_S,
    Backoff,
    Outage,
)

logger = logging.getLogger(__name__)


@pytest.fixture
def outage():
    return Outage(logger, "reading the log")


def fail(outage, times):
    for _ in range(times):
        try:
            raise ConnectionError("refused")
        except ConnectionError:
            outage.failed()


def test_an_outage_is_logged_once_with_its_cause(outage, caplog):
    fail(outage, 10)
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith("reading the log failed")
    assert record.exc_info[0] is ConnectionError


def test_its_end_is_logged_once_with_the_number_of_failures(outage, caplog):
    fail(outage, 3)
    caplog.clear()
    outage.over()
    outage.over()
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == "reading the log works again after 3 failures"


def test_a_success_without_outage_is_not_logged(outage, caplog):
    outage.over()
    assert caplog.records == []


def test_the_next_outage_is_logged_again(outage, caplog):
    fail(outage, 1)
    outage.over()
    caplog.clear()
    fail(outage, 2)
    assert len(caplog.records) == 1


def test_trouble_states_what_fails_and_since_when_until_it_works(outage, monkeypatch):
    assert outage.trouble is None
    monkeypatch.setattr("eric_sse_django.outage.time.monotonic", lambda: 100.0)
    fail(outage, 1)
    monkeypatch.setattr("eric_sse_django.outage.time.monotonic", lambda: 107.0)
    fail(outage, 1)
    assert outage.trouble == "reading the log has failed for 7 s"
    outage.over()
    assert outage.trouble is None


def test_delays_grow_up_to_a_bound_and_start_again_after_a_success(outage):
    first = outage.failed()
    delays = [outage.failed() for _ in range(20)]
    assert first < delays[-1] <= MAX_OUTAGE_DELAY_S
    outage.over()
    assert outage.failed() < MAX_OUTAGE_DELAY_S / 4


def test_delays_double_up_to_a_bound_and_are_spread_below_it():
    backoff = Backoff()
    bound_s = FIRST_DELAY_S
    for _ in range(100):
        assert bound_s / 2 <= backoff.next_delay_s() <= bound_s
        bound_s = min(2 * bound_s, MAX_DELAY_S)
    assert bound_s == MAX_DELAY_S


def test_a_success_resets_the_delays():
    backoff = Backoff()
    for _ in range(10):
        backoff.next_delay_s()
    backoff.reset()
    assert backoff.next_delay_s() <= FIRST_DELAY_S


def test_streams_that_failed_together_do_not_retry_together():
    assert len({Backoff().next_delay_s() for _ in range(20)}) > 1
