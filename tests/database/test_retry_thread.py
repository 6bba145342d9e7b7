"""The thread that repeats database work until it succeeds."""

import logging
import time

import pytest

from eric_sse_django import retry_thread
from eric_sse_django.outage import Outage
from eric_sse_django.retry_thread import RetryThread

PATIENCE_S = 10


@pytest.fixture
def make():
    """Return a function that builds a retry thread, which is closed after the test."""
    made = []

    def build(run, **options):
        found = RetryThread(
            "test", run, lambda: Outage(logging.getLogger(__name__), "the work"), **options
        )
        made.append(found)
        return found

    yield build
    for each in made:
        each.close()


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_larger_number_of_a_repeated_key_counts(make):
    runs = []

    def fail_first(items):
        runs.append(items)
        if len(runs) == 1:
            thread.add({"a": 1.0, "b": 3.0})
            raise OSError("unavailable")

    thread = make(fail_first)
    thread.add({"a": 2.0})
    until(lambda: thread.waiting() == 0)
    assert runs == [{"a": 2.0}, {"a": 2.0, "b": 3.0}]
    assert not thread.is_failing()


def test_an_item_that_fails_for_too_long_is_given_up_and_logged(make, caplog):
    def fail(items):
        raise OSError("unavailable")

    thread = make(fail, give_up_s=0.0, otherwise="do it by hand")
    thread.add({"a": 1.0})
    until(lambda: thread.waiting() == 0)
    assert thread.is_failing()
    assert "gave up the work: do it by hand" in caplog.text


def test_of_too_many_items_the_oldest_are_dropped_and_logged(make, monkeypatch, caplog):
    monkeypatch.setattr(retry_thread, "MAX_PENDING", 2)
    runs = []
    thread = make(runs.append)
    thread.add(dict.fromkeys("abcde", 1.0))
    until(lambda: thread.waiting() == 0)
    assert runs == [{"d": 1.0, "e": 1.0}]
    assert "the work: 3 items were dropped, too many wait" in caplog.text


def test_closing_ends_the_thread_while_it_waits(make):
    def fail(items):
        raise OSError("unavailable")

    thread = make(fail)
    thread.add({"a": 1.0})
    until(thread.is_failing)
    thread.close()
    assert thread.waiting() == 0
