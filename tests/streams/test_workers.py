"""Threads for calls that may hang: a deadline for each, another thread for one that hangs."""

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections import Counter

import pytest
from django.db import DatabaseError, OperationalError, connections

from eric_sse_django import workers as workers_module
from eric_sse_django.workers import FIRST, NEXT, Hung, Workers

PATIENCE_S = 5.0
LATER = 1_000.0


class Hang:
    """Hangs when it is called, until it is released."""

    def __init__(self):
        self.begun = threading.Event()
        self.released = threading.Event()

    def __call__(self, result=None):
        self.begun.set()
        assert self.released.wait(30)
        return result


@pytest.fixture
def hang():
    hang = Hang()
    yield hang
    hang.released.set()


@pytest.fixture
def replaced():
    return Counter()


@pytest.fixture
def make(hang, replaced):
    made = []

    def make(**options):
        made.append(Workers("test", lambda: 10.0, replaced, **options))
        return made[-1]

    yield make
    hang.released.set()
    for workers in made:
        workers.close()
        workers.join(PATIENCE_S)
        assert workers.ended.done()


def begin(workers, hang):
    job = workers.submit(NEXT, hang)
    assert hang.begun.wait(PATIENCE_S)
    hang.begun.clear()
    return job


def test_a_call_that_hangs_fails_and_another_thread_continues(make, hang, replaced, caplog):
    workers = make()
    hung = begin(workers, hang)
    waiting = workers.submit(NEXT, threading.get_ident)
    workers.check(time.monotonic())
    assert not hung.done()  # within its deadline
    workers.check(time.monotonic() + LATER)
    with pytest.raises(Hung):
        hung.result(PATIENCE_S)
    assert waiting.result(PATIENCE_S)
    assert replaced == {"test": 1}
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "in __call__" in record.getMessage()  # where it hangs
    assert workers.trouble().startswith("test: calls have hung for ")


def test_a_thread_that_hung_closes_its_connections_and_that_is_logged(make, hang, caplog):
    workers, closed = make(), threading.Event()

    def open_and_hang():
        connections["default"].close = closed.set
        hang()

    workers.submit(NEXT, open_and_hang)
    assert hang.begun.wait(PATIENCE_S)
    workers.check(time.monotonic() + LATER)
    hang.released.set()
    assert closed.wait(PATIENCE_S)
    until = time.monotonic() + PATIENCE_S
    while "no call hangs any more" not in caplog.text:
        workers.submit(NEXT, int).result(PATIENCE_S)
        assert time.monotonic() < until
    assert workers.trouble() is None


def test_an_outage_is_logged_once(make, hang, caplog):
    workers = make(max_threads=2)
    for _ in range(2):
        begin(workers, hang)
        workers.check(time.monotonic() + LATER)
    hang.released.set()
    while workers.trouble() is not None:
        workers.submit(NEXT, int).result(PATIENCE_S)
    hang.released.clear()
    begin(workers, hang)
    workers.check(time.monotonic() + LATER + workers_module.LOG_AGAIN_S / 2)
    assert [each.levelno for each in caplog.records].count(logging.ERROR) == 1


def test_when_too_many_calls_hang_others_are_refused_except_one_now_and_then(
    make, hang, monkeypatch
):
    workers = make(max_hung=2)
    for _ in range(2):
        assert not workers.refuses()
        begin(workers, hang)
        waiting = workers.submit(NEXT, int)
        workers.check(time.monotonic() + LATER)
        if not workers.refuses():
            assert waiting.result(PATIENCE_S) == 0
    assert workers.refuses()
    with pytest.raises(Hung):
        waiting.result(PATIENCE_S)  # what waited waits no more
    monkeypatch.setattr(workers, "_one_more_at", float("inf"))
    with pytest.raises(DatabaseError):
        workers.submit(NEXT, int)
    monkeypatch.setattr(workers, "_one_more_at", 0.0)
    assert workers.submit(NEXT, int).result(PATIENCE_S) == 0


def test_a_call_that_returned_makes_room(make, hang):
    workers = make(max_hung=1)
    begin(workers, hang)
    workers.check(time.monotonic() + LATER)
    assert workers.refuses()
    hang.released.set()
    until = time.monotonic() + PATIENCE_S
    while workers.refuses():
        assert time.monotonic() < until
    assert workers.submit(NEXT, int).result(PATIENCE_S) == 0


def test_no_more_threads_are_started_than_needed_or_allowed(make, hang):
    workers = make(max_threads=2)
    names = {workers.submit(NEXT, threading.get_ident).result(PATIENCE_S) for _ in range(20)}
    assert len(names) <= 2
    begin(workers, hang)
    begin(workers, hang)
    third = workers.submit(NEXT, int)
    assert len(workers._working) == 2
    assert not third.done()
    hang.released.set()
    assert third.result(PATIENCE_S) == 0


def test_threads_that_have_nothing_to_do_end(make):
    workers = make(idle_s=0.01)
    ended = threading.Event()

    def work():
        connections["default"].close = ended.set

    workers.submit(NEXT, work).result(PATIENCE_S)
    assert ended.wait(PATIENCE_S)
    until = time.monotonic() + PATIENCE_S
    while workers._working:
        assert time.monotonic() < until
    assert workers.submit(NEXT, int).result(PATIENCE_S) == 0


def test_a_call_that_is_submitted_as_a_thread_ends_is_made(make):
    workers = make(idle_s=0.001)
    for _ in range(300):
        assert workers.submit(NEXT, int).result(PATIENCE_S) == 0
        time.sleep(0.0008)


def test_the_result_of_what_was_given_up_is_dropped(make, hang):
    workers = make()

    async def late():
        """Nobody awaits it: no warning of that."""

    def hang_then():
        hang()
        return late()

    job = workers.submit(NEXT, hang_then)
    assert hang.begun.wait(PATIENCE_S)
    workers.check(time.monotonic() + LATER)
    hang.released.set()
    with pytest.raises(Hung):
        job.result(PATIENCE_S)


def test_a_call_that_fails_as_it_is_given_up_is_logged_once(make, hang):
    workers = make()

    def hang_then_fail():
        hang()
        raise OperationalError

    job = workers.submit(FIRST, hang_then_fail)
    assert hang.begun.wait(PATIENCE_S)
    workers.check(time.monotonic() + LATER)
    hang.released.set()
    with pytest.raises(Hung):
        job.result(PATIENCE_S)


async def test_cancelling_the_wait_for_the_end_does_not_prevent_it(make, hang):
    workers = make()
    begin(workers, hang)
    workers.close()
    waiting = asyncio.wrap_future(workers.ended)
    waiting.cancel()
    hang.released.set()
    workers.join(PATIENCE_S)
    assert workers.ended.done()


def test_closing_what_never_worked_is_done_at_once(make):
    workers = make()
    workers.close()
    assert workers.ended.done()
    with pytest.raises(RuntimeError):
        workers.submit(NEXT, int)


@pytest.mark.parametrize(
    "error",
    [
        StopIteration,
        asyncio.CancelledError,
        concurrent.futures.CancelledError,
        SystemExit,
        KeyboardInterrupt,
    ],
)
async def test_exceptions_with_a_meaning_to_a_loop_are_raised_as_another_error(make, error):
    """On Python 3.10 and 3.12.1 a StopIteration left its future open forever."""

    def raises():
        raise error

    job = asyncio.wrap_future(make().submit(NEXT, raises))
    with pytest.raises(RuntimeError, match=error.__name__):
        await asyncio.wait_for(job, PATIENCE_S)


def no_more_threads(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers_module._Worker, "start", start)


def test_where_no_thread_can_be_started_the_others_do_the_work(make, hang, monkeypatch):
    workers = make(max_threads=2)
    begin(workers, hang)
    with monkeypatch.context() as patched:
        no_more_threads(patched)
        waiting = workers.submit(NEXT, int)
    hang.released.set()
    assert waiting.result(PATIENCE_S) == 0


def test_where_no_thread_can_be_started_what_waits_fails(make, hang, monkeypatch):
    workers = make()
    begin(workers, hang)
    waiting = workers.submit(NEXT, int)
    with monkeypatch.context() as patched:
        no_more_threads(patched)
        workers.check(time.monotonic() + LATER)
        with pytest.raises(Hung):
            waiting.result(PATIENCE_S)
        with pytest.raises(Hung):
            workers.submit(NEXT, int)
    assert workers.submit(NEXT, int).result(PATIENCE_S) == 0
