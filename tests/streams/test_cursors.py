"""Cursors on their way to the database: batched, never lowered, never waiting for others."""

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connections, transaction
from django.test.utils import CaptureQueriesContext

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import records
from eric_sse_django.hub.records import Cursors, Reached
from eric_sse_django.hub.records import write as write_known
from eric_sse_django.log import Known
from eric_sse_django.models import Listener
from tests.databases import on, rolled_back


def write(pairs, known=None):
    """Write (key, position) pairs, or with the count of replays; return such pairs."""
    left = write_known([Reached(*pair) for pair in pairs], known or Known(0))
    return [each[:2] for each in left]


def add(count):
    channel = DatabaseChannel.create()
    return [channel.add_listener().row.pk for _ in range(count)]


def stored(*keys):
    rows = dict(Listener.objects.values_list("pk", "cursor"))
    return [rows[key] for key in keys]


@rolled_back
def test_each_distinct_position_is_one_update(database):
    a, b, c, d = add(4)
    with CaptureQueriesContext(connections[database]) as queries:
        assert write([(a, 5), (b, 9), (c, 5), (d, 0)]) == []
    updates = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    assert len(updates) == 3
    assert stored(a, b, c, d) == [5, 9, 5, 0]
    assert Listener.objects.filter(last_seen=None).count() == 0


@rolled_back
def test_a_cursor_is_never_lowered(database):
    (a,) = add(1)
    write([(a, 9)])
    write([(a, 5)])
    assert stored(a) == [9]


@on("postgres", "mariadb")
def test_a_listener_that_a_request_has_locked_is_written_the_next_time(database):
    a, b = add(2)
    left = []
    with transaction.atomic(using=database):
        Listener.objects.select_for_update().get(pk=a)
        thread = threading.Thread(target=lambda: left.extend(write_and_close([(a, 5), (b, 5)])))
        thread.start()
        thread.join(5)
        assert left == [(a, 5)]
    assert stored(a, b) == [0, 5]
    assert write([(a, 5), (999_999, 5)]) == []
    assert stored(a) == [5]


def write_and_close(positions):
    try:
        return write(positions)
    finally:
        connections.close_all()


async def test_positions_collect_until_they_are_written():
    written = []

    async def run(function, pairs, known):
        written.append([each[:2] for each in pairs])
        return []

    collected = Cursors()
    assert not collected.dirty
    for listener, position in [(1, 5), (2, 7), (1, 3), (1, 6)]:
        collected.reached(listener, position)
    assert collected.dirty
    assert collected.unwritten(1) == 6
    await collected.flush(run)
    assert written == [[(1, 6), (2, 7)]]
    assert not collected.dirty
    # A listener that was looked up before that write begins its stream after it.
    assert collected.unwritten(1) == 6
    collected._written_at -= records.LOOKUP_S + 1
    assert collected.unwritten(1) == 0


async def test_a_position_after_a_replay_replaces_a_higher_one_from_before():
    cursors = Cursors()
    cursors.reached(1, 9, replays=0)
    cursors.reached(1, 4, replays=1)
    cursors.reached(1, 10, replays=0)  # of a stream that has not read of the replay yet
    assert cursors.pending() == [Reached(1, 4, 1)]
    assert (cursors.unwritten(1, replays=0), cursors.unwritten(1, replays=1)) == (0, 4)


async def test_positions_that_could_not_be_written_are_kept(monkeypatch):
    monkeypatch.setattr(records, "WRITE_BATCH", 1)
    collected = Cursors()
    collected.reached(1, 5)
    collected.reached(2, 6)
    collected.reached(3, 7)

    async def run(function, pairs, known):
        if pairs == [(2, 6, 0)]:
            collected.reached(2, 8)
            raise OperationalError("gone")
        return pairs if pairs == [(1, 5, 0)] else []  # locked by somebody

    with pytest.raises(OperationalError):
        await collected.flush(run)
    assert collected.pending() == [(1, 5, 0), (3, 7, 0), (2, 8, 0)]


async def test_a_cancelled_write_is_kept_and_known_meanwhile():
    collected = Cursors()
    collected.reached(1, 5)
    began = asyncio.Event()

    async def run(*_):
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(collected.flush(run))
    await began.wait()
    assert collected.unwritten(1) == 5
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert collected.pending() == [(1, 5, 0)]


@on("sqlite")
async def test_a_stream_of_many_listeners_is_written_in_few_statements(database):
    keys = await sync_to_async(add)(20)
    collected = Cursors()
    for key in keys:
        collected.reached(key, 3)
    runs = []

    async def run(function, pairs, known):
        runs.append(len(pairs))
        return await sync_to_async(function)(pairs, known)

    await collected.flush(run)
    assert runs == [20]
    assert set(await sync_to_async(stored)(*keys)) == {3}


# When they are written --------------------------------------------------------------------------


async def cursor_of(site, listener):
    await site.refresh(listener)
    return listener.cursor


@on("sqlite")
async def test_the_cursor_of_an_open_stream_waits_and_that_of_an_ended_one_does_not(
    database, site, settings
):
    settings.ERIC_SSE = {"CURSOR_WRITE_S": 600.0}
    listener = await site.listener()
    reader = await site.read(listener)
    await site.publish(1)
    await reader.count(1)
    await site.hub.records.write()
    assert await cursor_of(site, listener) == listener.start
    # Another stream of this process begins after it all the same.
    again = await site.read(listener)
    await site.publish(2)
    assert await again.count(1) == ["2"]
    await reader.__aexit__()
    while await cursor_of(site, listener) == listener.start:
        await asyncio.sleep(0.01)
    assert listener.cursor >= reader.ids[0]


@on("sqlite")
async def test_an_acknowledgement_is_written_at_once(database, site, settings):
    settings.ERIC_SSE = {"CURSOR_WRITE_S": 600.0}
    listener = await site.listener()
    listener.acknowledgement = Listener.Acknowledgement.CLIENT.value
    await site.save(listener)
    reader = await site.read(listener)
    await site.publish(1)
    await reader.count(1)
    await site.read(listener, reader.ids[0])
    await site.hub.records.write()
    assert await cursor_of(site, listener) == reader.ids[0]


@on("sqlite")
async def test_a_hub_that_closes_writes_all_cursors(database, site, settings):
    settings.ERIC_SSE = {"CURSOR_WRITE_S": 600.0}
    listener = await site.listener()
    reader = await site.read(listener)
    await site.publish(1)
    await reader.count(1)
    await site.hub.close()
    assert await cursor_of(site, listener) == reader.ids[0]


@on("sqlite")
async def test_messages_are_counted_for_each_listener(database, site, settings):
    settings.ERIC_SSE = {"CURSOR_WRITE_S": 600.0, "CURSOR_WRITE_MESSAGES": 3}
    busy, quiet = await site.listener(), await site.listener()
    readers = [await site.read(listener) for listener in (busy, quiet)]
    await site.dispatch(busy, 1, 2, 3)
    await site.publish(4)
    for reader in readers:
        await reader.until(lambda reader=reader: reader.data[-1:] == ["4"])
    await site.hub.records.write()
    assert await cursor_of(site, busy) == readers[0].ids[-1]
    assert await cursor_of(site, quiet) == quiet.start
