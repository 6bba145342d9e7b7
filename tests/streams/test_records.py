"""How often a hub writes what its streams do."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from eric_sse_django.counters import Counters
from eric_sse_django.hub import records
from eric_sse_django.hub.records import CURSORS_PER_S, MAX_WRITE_REST_S, Records
from eric_sse_django.log import Known
from eric_sse_django.models.presence import LEASE_S


@pytest.fixture
def clock(monkeypatch):
    """Return a clock whose `now` is what the records take for the time."""
    clock = SimpleNamespace(now=1_000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(records, "time", clock)
    return clock


async def nothing(function, *args):
    """Return what a call of the database thread returns that found nothing."""
    return ()


def records_of(run):
    return Records(run, Counters(), lambda: Known(0), lambda changes: None)


async def written(cursors):
    """Return records that have just written so many cursors, and have another to write."""
    found = records_of(nothing)
    for listener in range(cursors):
        found.cursors.reached(listener, 5)
    await found.write()
    found.cursors.reached(1, 6)
    return found


async def test_a_second_later_the_cursors_of_few_streams_are_written_again(clock):
    found = await written(CURSORS_PER_S)
    assert found.due(clock.now + 1)


async def test_cursors_of_many_streams_are_written_at_the_rate(clock):
    found = await written(3 * CURSORS_PER_S)
    assert not found.due(clock.now + 2.9)
    assert found.due(clock.now + 3)


async def test_a_rest_ends_in_time_for_the_lease(clock):
    found = await written(int(2 * MAX_WRITE_REST_S * CURSORS_PER_S))
    assert found.due(clock.now + MAX_WRITE_REST_S)
    assert MAX_WRITE_REST_S < LEASE_S / 3


async def test_records_that_cannot_be_written_are_logged_once_and_wait(clock, caplog):
    found = await written(1)

    async def fail(function, *args):
        raise OSError

    found._run = fail
    for _ in range(3):
        clock.now += 10
        await found.write()
    assert found.cursors.waiting == 1
    assert caplog.text.count("writing cursors and presence failed") == 1

    found._run = nothing
    await found.write()
    assert "writing cursors and presence works again" in caplog.text


# When the cursor of a stream that stays open is written -------------------------------------


@pytest.fixture
def writing(clock, settings):
    """Return records that write rarely, and a list of what they write."""
    settings.ERIC_SSE = {"CURSOR_WRITE_S": 30.0, "CURSOR_WRITE_MESSAGES": 10}
    written = []

    async def run(function, *args):
        if function is records.write:
            written.append({each.listener: each.position for each in args[0]})
        return ()

    return records_of(run), written


async def test_a_cursor_is_written_after_its_seconds_and_not_before(writing, clock):
    found, written = writing
    began = clock.now
    found.cursors.reached(1, 5)
    clock.now = began + 20
    found.cursors.reached(1, 6)
    found.cursors.reached(2, 6)
    await found.write()
    assert written == []
    assert found.cursors.unwritten(1) == 6
    clock.now = began + 29  # the next round would be at 30, or later
    assert found.cursors.is_due(clock.now)
    await found.write()
    assert written == [{1: 6}]
    assert not found.cursors.is_due(clock.now)
    assert [each.listener for each in found.cursors.pending()] == [2]


async def test_a_cursor_is_written_after_its_messages(writing):
    found, written = writing
    for position in range(9):
        found.cursors.reached(1, position, 0, 1)
    found.cursors.reached(2, 9, 0, 0)
    await found.write()
    assert written == []
    found.cursors.reached(1, 10, 0, 1)
    await found.write()
    found.cursors.reached(1, 11, 0, 1)  # counted again from 0
    await found.write()
    assert written == [{1: 10}]


async def test_the_cursor_of_a_stream_that_ends_is_written_at_once(writing, clock):
    found, written = writing
    stream = Mock(reason="gone", subscriptions=[Mock(listener=1, channel=1)])
    found.opened(stream)
    await found.write()
    found.cursors.reached(1, 5)
    found.cursors.reached(2, 5)
    found.ended(stream)
    assert found.due(clock.now)
    await found.write()
    assert written == [{1: 5}]


async def test_a_shutdown_writes_all(writing):
    found, written = writing
    found.cursors.reached(1, 5)
    assert [call[1] for call in found.final_calls()[:1]] == [[(1, 5, 0)]]
    await found.close()
    assert written == [{1: 5}]


async def test_a_cursor_that_others_have_locked_is_due_in_the_next_round(writing, clock):
    found, _ = writing
    found.cursors.reached(1, 5)

    async def run(function, *args):
        return args[0] if function is records.write else ()

    clock.now += 29
    found._run = run
    await found.write()
    assert found.cursors.due(clock.now) == [1]


async def test_cursors_of_another_history_are_not_due(writing, clock):
    found, _ = writing
    found.cursors.reached(1, 5, 0, 10)
    found.forget()
    assert not found.cursors.is_due(clock.now + 100)
    assert found.cursors.due(clock.now + 100) == []
