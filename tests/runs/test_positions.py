"""A flush gets its positions in its own transaction; order and segments are as without that."""

from contextlib import suppress
from datetime import datetime, timezone

import pytest
from django.db import OperationalError

from eric_sse_django import log, notifier, runs
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.log import dialect as dialects
from eric_sse_django.log import inserting
from eric_sse_django.log.history import make_head
from eric_sse_django.log.protocol import SEGMENT_BYTES
from eric_sse_django.models import LogHead
from eric_sse_django.runs import ends, fence, leasing
from eric_sse_django.runs.models import Run
from eric_sse_django.runs.output import Output
from eric_sse_django.shortcuts import publish
from tests.database.tools import PATIENCE_S, atomic, entries, threads
from tests.databases import on
from tests.runs.tools import text_of

both = on("sqlite", "postgres")
FIELDS = (*dialects.ENTRY_FIELDS[:8], "stamp", "expires_at", "created_at")


@pytest.fixture(autouse=True)
def sequenced_by_the_test(monkeypatch, database):
    """Leave what has no position to the test, and place nothing that is published alone."""
    make_head(database)
    monkeypatch.setattr(inserting, "APART_S", float("inf"))
    monkeypatch.setattr(notifier.Notifier, "start", lambda self: None)
    monkeypatch.setattr(notifier.Notifier, "_plan", lambda self: None)
    monkeypatch.setattr(notifier, "settle", lambda: None)


@pytest.fixture
def orders(database):
    return DatabaseChannel.create("orders")


def outputs(count):
    """Return the outputs of new runs, which have a producer."""
    return [Output(leasing.take(runs.start())) for _ in range(count)]


def flush(*found, text="x"):
    """Write a text, and progress, to each of these by one flush; return what became of it."""
    for output in found:
        output.add(text, True)
        output.set_progress({"done": 1, "total": 2, "text": ""})
    answers = fence.write([output.take() for output in found])
    for output, answer in zip(found, answers, strict=True):
        output.answered(answer)
    return [answer.verdict.name for answer in answers]


@both
def test_a_segment_has_what_a_look_finds(passed_on):
    found = outputs(3)
    known = log.follow()
    assert flush(*found) == ["NOW"] * 3
    [segment] = passed_on
    look = log.look(known, None, 10)
    assert log.is_next(segment, known)
    assert segment.known == look.head
    assert segment.channels == {found[0].held.channel}
    assert len(look.entries) == 6
    assert any(entry.expires_at for entry in look.entries)
    for given, read in zip(segment.entries, look.entries, strict=True):
        values = [[getattr(one, name) for name in FIELDS] for one in (given, read)]
        values = [[*some[:-2], some[-2] and round(some[-2], 3), some[-1]] for some in values]
        assert values[0] == values[1]
    assert log.sequence() == 0


@both
def test_a_flush_of_which_a_part_is_refused_moves_the_head_by_the_others(passed_on):
    found = outputs(3)
    runs.take_over(runs.get(found[1].held.run_id))
    known = log.follow()
    assert flush(*found) == ["NOW", "TAKEN", "NOW"]
    [segment] = passed_on
    assert [entry.listener for entry in segment.entries] == [found[at].run for at in (0, 0, 2, 2)]
    assert segment.known == log.follow()
    assert segment.known.position == known.position + 4


@both
def test_a_flush_that_is_refused_moves_nothing(passed_on):
    [output] = outputs(1)
    runs.take_over(runs.get(output.held.run_id))
    known = log.follow()
    assert flush(output) == ["TAKEN"]
    assert log.follow() == known
    assert passed_on == []


@both
def test_large_flushes_are_a_chain_of_segments(passed_on):
    found = outputs(5)
    known = log.follow()
    flush(*found, text="x" * (SEGMENT_BYTES // 3))
    assert len(passed_on) > 1
    for segment in passed_on:
        assert log.is_next(segment, known)
        assert sum(entry.size for entry in segment.entries) <= SEGMENT_BYTES
        known = segment.known
    assert known == log.follow()


@both
def test_a_message_over_the_bound_of_a_segment_is_read_from_the_log(passed_on, settings):
    [output] = outputs(1)
    flush(output, text="\u00e9" * 8_192)
    assert [segment.entries is None for segment in passed_on] == [True, False]
    assert text_of(runs.get(output.held.run_id)) == "\u00e9" * 8_192


@both
def test_flushes_and_what_the_sequencer_places_are_one_chain(orders, passed_on):
    [output] = outputs(1)
    known = log.follow()
    for _ in range(3):
        flush(output)
        publish("orders", "n", 1)
        log.sequence(passed_on.append)
    assert len(passed_on) == 6
    for segment in passed_on:
        assert log.is_next(segment, known)
        known = segment.known


@both
def test_after_a_message_that_waits_a_flush_waits_too(orders, passed_on):
    [output] = outputs(1)
    publish("orders", "n", 1)
    assert flush(output) == ["NOW"]
    assert passed_on == []
    assert log.sequence() == 3
    assert [entry.type for entry in entries()] == ["n", "run-chunk", "run-progress"]


@on("postgres")
def test_a_head_that_is_locked_delays_no_flush(database, passed_on):
    [output] = outputs(1)
    with threads() as running, atomic():
        LogHead.objects.select_for_update().get()
        assert running.start(flush, output).result(PATIENCE_S) == ["NOW"]
        assert passed_on == []
    assert log.sequence() == 2
    assert text_of(runs.get(output.held.run_id)) == "x"


@both
def test_without_a_head_a_flush_waits_and_the_sequencer_makes_one(passed_on):
    [output] = outputs(1)
    LogHead.objects.all().delete()
    assert flush(output) == ["NOW"]
    assert passed_on == []
    assert log.sequence() == 2


@both
def test_in_a_transaction_of_the_caller_a_flush_gets_no_positions(passed_on):
    [output] = outputs(1)
    before = log.follow()
    with atomic():
        assert flush(output) == ["NOW"]
        assert log.pending().count() == 2
    assert log.follow() == before
    assert passed_on == []


@on("postgres")
def test_a_conflict_of_a_stricter_isolation_level_fails_no_flush(passed_on, monkeypatch):
    [output] = outputs(1)
    original = fence._write_placed

    def conflict(dialect, flushes, places):
        if not places:
            return original(dialect, flushes, places)
        cause = Exception("could not serialize access")
        cause.sqlstate = "40001"
        raise OperationalError("could not serialize access") from cause

    monkeypatch.setattr(fence, "_write_placed", conflict)
    assert flush(output) == ["NOW"]
    assert passed_on == []
    assert log.sequence() == 2


@on("mariadb")
def test_on_mariadb_a_flush_waits_for_the_sequencer(passed_on):
    [output] = outputs(1)
    assert flush(output) == ["NOW"]
    assert passed_on == []
    assert log.sequence() == 2


# How many statements ------------------------------------------------------------------


@on("postgres")
def test_a_flush_and_an_end_are_one_statement_each(database, django_assert_num_queries, passed_on):
    [output] = outputs(1)
    with django_assert_num_queries(1, using=database):
        flush(output)
    with django_assert_num_queries(1, using=database):
        output.set_end(*ends.finished({"tokens": 1, "quote": '\\"{,}'}))
        flush(output)
    run = Run.objects.get(pk=output.run)
    assert run.status == "finished"
    assert run.result == {"tokens": 1, "quote": '\\"{,}'}
    assert run.ended_at is not None
    assert [entry.type for segment in passed_on for entry in segment.entries][-1] == "run-finished"
    assert log.sequence() == 0


@both
def test_a_lease_is_taken_by_one_statement(database, django_assert_num_queries):
    run = runs.start(title="A title", meta={"a": [1]})
    with django_assert_num_queries(1, using=database):
        leasing.take(run)
    found = Run.objects.get(pk=run.pk)
    for field in Run._meta.concrete_fields:
        assert getattr(run, field.attname) == getattr(found, field.attname), field.name


# What the producer's object has afterwards --------------------------------------------


class NotQuiteWritten(Exception):
    pass


@pytest.mark.parametrize("end", ["finished", "failed", "stopped", "lost"])
def test_a_producers_object_has_the_columns_of_its_row(database, end):
    run = runs.start()
    with suppress(NotQuiteWritten, KeyboardInterrupt), runs.produce(run) as out:
        out.write("x")
        out.progress(1, 2, "half")
        out.result = {"at": datetime(2026, 11, 28, tzinfo=timezone.utc)}
        if end == "failed":
            raise NotQuiteWritten
        if end == "stopped":
            runs.stop(run)
            out.wait_for_stop(PATIENCE_S)
        if end == "lost":
            raise KeyboardInterrupt
    found = Run.objects.get(pk=run.pk)
    assert found.status == end
    for field in Run._meta.concrete_fields:
        if field.name != "lease_until":
            assert getattr(run, field.attname) == getattr(found, field.attname), field.name
