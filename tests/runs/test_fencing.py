"""One producer at a time writes, and nothing twice."""

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from eric_sse_django import runs
from eric_sse_django.runs import fence, writer
from eric_sse_django.runs.models import Run
from tests.database.tools import atomic, threads
from tests.runs.tools import fresh, late, text_of, types_of


def test_a_worker_that_wakes_up_after_another_took_over_writes_nothing(database):
    run = runs.start()
    frozen = runs.produce(run)
    old = frozen.__enter__()
    old.write("one ")
    old.flush()
    with runs.produce(runs.take_over(runs.get(run.id))) as out:
        assert out.index == 1
        out.write("two ")
        out.flush()
        old.write("twice ")
        with pytest.raises(runs.RunTaken):
            old.flush()
        with pytest.raises(runs.RunTaken):
            old.write("twice ")
        out.write("three")
    with pytest.raises(runs.RunTaken):
        frozen.__exit__(None, None, None)
    assert text_of(run) == "one two three"
    assert (fresh(run).status, fresh(run).epoch) == ("finished", 3)


def test_of_two_workers_at_once_one_has_the_run(database):
    run, start, taken = runs.start(), threading.Barrier(4), []

    def work(number):
        mine = runs.get(run.id)
        start.wait()
        try:
            with runs.produce(mine) as out:
                for _ in range(20):
                    out.write(f"{number}")
                start.wait()
        except runs.RunTaken:
            taken.append(number)
            start.wait()

    with threads() as started:
        for number in range(4):
            started.start(work, number)
    assert len(taken) == 3
    assert set(text_of(run)) == {*"0123"} - {str(number) for number in taken}
    assert fresh(run).next_index == 20


def test_a_clock_that_is_set_back_ends_no_lease(database, monkeypatch):
    run = runs.start()
    real = timezone.now
    with runs.produce(run) as out:
        monkeypatch.setattr(timezone, "now", lambda: real() - timedelta(hours=1))
        out.write("one ")
        out.flush()
        assert runs.reap() == 0
        monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(hours=1))
        assert runs.reap() == 0
        out.write("two")
    assert text_of(run) == "one two"


def test_a_lease_from_before_the_databases_clock_was_set_back_ends_all_the_same(
    database, settings
):
    settings.ERIC_SSE = {"RUNS_LEASE_S": 2.0}
    run = runs.start()
    Run.objects.filter(pk=run.pk).update(status="running", lease_until=9_000_000_000_000)
    assert runs.reap() == 0
    left = fresh(run).lease_until
    assert left < 9_000_000_000_000
    late(run)
    assert runs.reap() == 1


@pytest.mark.parametrize("times", [1, 3])
def test_a_flush_whose_commit_was_not_acknowledged_is_written_once(database, monkeypatch, times):
    original, failed = fence.write, []

    def write(flushes):
        answers = original(flushes)
        if len(failed) < times:
            failed.append(len(flushes))
            raise OperationalError("the connection is lost after the commit")
        return answers

    monkeypatch.setattr(fence, "write", write)
    run = runs.start()
    with runs.produce(run) as out:
        out.write("one ")
        out.send({"two": 2})
        out.progress(1, 2)
        out.write("three")
    assert len(failed) == times
    assert [each.index for each in runs.read(run)] == [0, 1, 2]
    assert fresh(run).next_index == 3
    assert types_of(run).count("run-finished") == 1


def test_a_flush_that_failed_is_repeated(database, monkeypatch):
    original, failed = fence.write, []

    def write(flushes):
        if not failed:
            failed.append(True)
            raise OperationalError("the database is unavailable")
        return original(flushes)

    monkeypatch.setattr(fence, "write", write)
    run = runs.start()
    with runs.produce(run) as out:
        for word in ("one ", "two ", "three"):
            out.write(word)
    assert text_of(run) == "one two three"


def test_a_transaction_that_has_locked_a_run_stops_no_other_run(database):
    if database == "default":
        pytest.skip("SQLite has one transaction at a time that writes")
    held, free = runs.start(), runs.start()
    locked, done = threading.Event(), threading.Event()

    def stop_slowly():
        with atomic():
            runs.stop(held)
            locked.set()
            done.wait(10)

    with threads() as started, runs.produce(free) as out, runs.produce(held) as other:
        started.start(stop_slowly)
        locked.wait(10)
        other.write("later ")
        out.write("now")
        out.flush(5)
        assert text_of(free) == "now"
        assert text_of(held) == ""
        done.set()
        other.flush(5)
    assert text_of(held) == "later "
    assert fresh(held).status == "finished"


def test_a_child_process_cannot_write_to_its_parents_run(database, monkeypatch):
    run = runs.start()
    with runs.produce(run) as out:
        monkeypatch.setattr("eric_sse_django.runs.writer.forks", -1)  # as in a child
        with pytest.raises(runs.RunTaken):
            out.write("from the child")
        monkeypatch.undo()
        out.write("from the parent")
    assert text_of(run) == "from the parent"


def test_a_thread_that_hangs_is_replaced_and_nothing_is_written_twice(database, monkeypatch):
    original, hang, first = fence.write, threading.Event(), []

    def write(flushes):
        if not first:
            first.append(True)
            hang.wait(20)
        return original(flushes)

    monkeypatch.setattr(writer, "STUCK_S", 0.2)
    monkeypatch.setattr(fence, "write", write)
    run = runs.start()
    try:
        with runs.produce(run) as out:
            out.write("one ")
            out.write("two")
    finally:
        hang.set()
    assert text_of(run) == "one two"
    assert fresh(run).next_index == 2
