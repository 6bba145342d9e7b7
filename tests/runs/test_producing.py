"""Starting, producing, ending and reading a run."""

import sqlite3
from contextlib import closing, contextmanager

import pytest
from django.db import OperationalError, connections

from eric_sse_django import runs
from eric_sse_django.exception import InvalidIdentifier, InvalidMessageFormat
from eric_sse_django.runs import fence, writer
from eric_sse_django.runs.producer import MAX_WAITING
from tests import databases
from tests.runs.tools import fresh, text_of, types_of


def test_what_is_written_is_read(database):
    run = runs.start(kind="answer")
    with runs.produce(run) as out:
        for word in ("one ", "two ", "three"):
            out.write(word)
        out.send({"tool": "search"})
        out.result = {"tokens": 3}
    assert [(each.index, each.value) for each in runs.read(run)] == [
        (0, "one "),
        (1, "two "),
        (2, "three"),
        (3, {"tool": "search"}),
    ]
    assert [each.index for each in runs.read(run, after=2)] == [2, 3]
    assert (run.status, run.result, run.next_index) == ("finished", {"tokens": 3}, 4)
    assert types_of(run)[-1] == "run-finished"


def test_a_key_twice_is_one_run_and_of_its_owner(database, ana):
    first = runs.start(owner=ana, key="answer-1")
    assert runs.start(owner=ana, key="answer-1") == first
    assert runs.start(owner=ana, key="answer-2") != first
    with pytest.raises(InvalidIdentifier):
        runs.start(key="answer-1")


def test_a_title_of_any_length_is_a_title(database):
    """It is mostly the question that a user has written."""
    assert runs.start(title="q" * 256).title == "q" * 254 + "…"
    assert runs.start(title="a\0\ud800").title == "a\ufffd\ufffd"


def test_an_exception_fails_the_run_and_is_raised(database):
    run = runs.start()

    def produce():
        with runs.produce(run) as out:
            out.write("half")
            return 1 / 0

    with pytest.raises(ZeroDivisionError):
        produce()
    assert (run.status, run.error) == ("failed", "ZeroDivisionError: division by zero")
    assert (text_of(run), types_of(run)[-1]) == ("half", "run-failed")


def test_a_run_has_one_producer(database):
    run = runs.start()
    with runs.produce(run) as out:
        out.write("a")
        with pytest.raises(runs.RunTaken), runs.produce(runs.get(run.id)):
            pass
    with pytest.raises(runs.RunEnded), runs.produce(run):
        pass


def test_a_stop_before_the_start_ends_the_run(database):
    run = runs.start()
    assert runs.stop(run)
    assert not runs.stop(run)
    with pytest.raises(runs.RunStopped), runs.produce(run):
        pass
    assert (fresh(run).status, types_of(run)) == ("stopped", ["run-stopped"])


def test_a_stop_during_the_run_ends_it_at_a_later_write(database):
    run = runs.start()
    with runs.produce(run) as out:
        out.write("a")
        runs.stop(run)
        while True:
            out.flush()
            out.write("b")
    assert run.status == "stopped"
    assert types_of(run)[-1] == "run-stopped"


async def test_a_coroutine_produces(database, hub_closes):
    run = await runs.astart()
    async with runs.aproduce(run) as out:
        out.write("a")
        await out.flush()
        out.write("b")
    assert [each.value for each in await runs.aread(run)] == ["a", "b"]
    assert run.status == "finished"


@databases.sqlite_only
async def test_a_coroutine_whose_output_cannot_be_written_gets_an_error(database, hub_closes):
    run = await runs.astart()
    async with runs.aproduce(run) as out:
        with locked(database), pytest.raises(BufferError, match="drain"):
            out.write("x" * 2 * MAX_WAITING)
        await out.flush()
        out.write("and more")
    assert (run.status, run.next_index) == ("finished", out.index)


@contextmanager
def locked(alias):
    """Hold the lock of SQLite's file."""
    other = sqlite3.connect(connections[alias].settings_dict["NAME"], isolation_level=None)
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        yield
        other.rollback()


def test_in_a_transaction_all_of_it_is_kept_or_nothing(database):
    from tests.database.tools import atomic

    with atomic():
        run = runs.start()
        with runs.produce(run) as out:
            out.write("a")
            out.write("b")
        assert run.status == "finished"
    assert text_of(run) == "ab"


def test_a_result_that_is_not_json_fails_the_run(database):
    run = runs.start()

    def work():
        with runs.produce(run) as out:
            out.write("a")
            out.result = object()

    with pytest.raises(InvalidMessageFormat):
        work()
    assert (run.status, text_of(run)) == ("failed", "a")


def test_nothing_is_written_after_the_block(database):
    run = runs.start()
    with runs.produce(run) as out:
        out.write("a")
    with pytest.raises(runs.RunEnded):
        out.write("b")
    assert text_of(run) == "a"


def test_an_error_is_raised_also_if_the_end_cannot_be_written(database, settings, monkeypatch):
    settings.ERIC_SSE = {"RUNS_LEASE_S": 2.0}
    run = runs.start()

    def fail(flushes):
        raise OperationalError("the database is unavailable")

    def work():
        with runs.produce(run) as out:
            monkeypatch.setattr(fence, "write", fail)
            out.write("a")
            return 1 / 0

    with pytest.raises(ZeroDivisionError):
        work()
    monkeypatch.undo()
    writer.current().flush(10)
    assert (fresh(run).status, text_of(run)) == ("failed", "a")
