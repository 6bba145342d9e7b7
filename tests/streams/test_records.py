"""How often a hub writes what its streams do."""

from types import SimpleNamespace

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
