"""One stream: where it starts, how it falls back and catches up, and how it ends."""

import asyncio
import json
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.utils import timezone

from eric_sse_django import wire
from eric_sse_django.database import operations
from eric_sse_django.entry import CLOSE, RESET, STOP
from eric_sse_django.hub import End, Hub
from eric_sse_django.models import Listener
from eric_sse_django.streaming import reader as reader_module
from tests.databases import on
from tests.streams.reading import Reader

# For tests of what a stream does with rows that the log has not.
with_rows = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True, params=[True, False], ids=["at once", "by a task"])
def writes_at_once(request, monkeypatch):
    """What is live is written out of the hub's call, or by the stream's own task."""
    monkeypatch.setattr(Reader, "writes_at_once", request.param)


# Where it starts -------------------------------------------------------------------


@on("memory", "sqlite")
async def test_a_listener_gets_waiting_messages_and_then_new_ones(database, site):
    listener = await site.listener()
    await site.publish(1, 2)
    reader = await site.read(listener)
    assert await reader.count(2) == ["1", "2"]
    await site.publish(3)
    assert await reader.count(3) == ["1", "2", "3"]
    assert reader.ids == sorted(set(reader.ids))


async def test_it_opens_with_retry_and_its_position_before_any_message(site):
    listener = await site.listener()
    reader = await site.read(listener)
    await reader.until(lambda: reader.chunks)
    assert reader.chunks[0].startswith(b"retry: ")
    assert reader.chunks[0].endswith(b"id: %d\n: ok heartbeat=15\n\n" % listener.start)
    assert 3_000 <= reader.reader.retry_ms <= 4_500


async def test_a_last_event_id_is_used_before_the_stored_cursor(site):
    listener = await site.listener()
    await site.publish(1, 2, 3)
    first = await site.read(listener)
    await first.count(3)
    again = await site.read(listener, last_event_id=first.ids[0])
    assert await again.count(2) == ["2", "3"]
    await site.publish(4)
    await again.count(3)
    served = await site.read(listener)
    await site.publish(5)
    assert (await served.count(1))[0] == "5"


@pytest.mark.parametrize("before", [-1, 0, -(2**63)])
async def test_an_id_from_before_the_listener_is_clamped_to_its_start(site, before):
    await site.publish("not for it")
    await site.at_head()
    listener = await site.listener()
    await site.publish(1)
    reader = await site.read(listener, last_event_id=before)
    assert await reader.count(1) == ["1"]


def above(head, distance):
    """Return a position that was not given: 2**63 is above all of them."""
    return head + distance if distance < 2**63 else distance


@on("memory", "sqlite")
@pytest.mark.parametrize("distance", [10_000, 2**63])
async def test_an_id_that_was_never_given_gets_a_reset_and_all_messages(database, site, distance):
    listener = await site.listener()
    await site.publish(1)
    head = await site.at_head()
    reader = await site.read(listener, last_event_id=above(head, distance))
    await site.publish(2)
    await reader.count(3)
    assert [event.type for event in reader.events] == [RESET, "n", "n"]
    assert reader.data[1:] == ["1", "2"]
    assert reader.ids[0] == listener.cursor
    # With the ids that it has now, it gets no other reset.
    again = await site.read(listener, last_event_id=reader.ids[0])
    assert await again.count(2) == ["1", "2"]


@pytest.mark.parametrize("distance", [10_000, 2**63])
async def test_a_watcher_with_an_id_that_was_never_given_gets_a_reset_and_begins_now(
    site, distance
):
    await site.publish(1)
    head = await site.at_head()
    reader = await site.read(last_event_id=above(head, distance))
    await site.publish(2)
    await reader.count(2)
    assert [event.type for event in reader.events] == [RESET, "n"]
    assert json.loads(reader.data[0]) == {"after": head, "floor": head}
    assert reader.ids[0] == head


async def test_a_hub_that_is_behind_its_client_looks_before_the_stream_begins(site):
    listener = await site.listener()
    before = await site.at_head()
    site.publish_without_wake(1, 2)
    reader = await site.read(listener, last_event_id=before + 1)
    assert await reader.count(1) == ["2"]


async def test_a_watcher_joins_at_now_or_at_its_id(site):
    await site.publish(1, 2)
    head = await site.at_head()
    now = await site.read()
    back = await site.read(last_event_id=head - 1)
    await site.publish(3)
    assert await now.count(1) == ["3"]
    assert await back.count(2) == ["2", "3"]


async def test_a_watcher_gets_broadcasts_only(site):
    listener = await site.listener()
    watcher = await site.read()
    await site.dispatch(listener, "secret")
    await site.publish("all")
    assert await watcher.count(1) == ['"all"']


async def test_two_streams_of_one_listener_each_get_everything(site):
    listener = await site.listener()
    one, two = await site.read(listener), await site.read(listener)
    await site.dispatch(listener, 1)
    await site.publish(2)
    assert await one.count(2) == await two.count(2) == ["1", "2"]


@on("memory", "sqlite")
async def test_messages_of_other_listeners_and_channels_are_not_delivered(database, site):
    ana = await site.owner("ana")
    mine, other = await site.listener(ana), await site.listener()
    reader = await site.read(mine)
    await site.dispatch(other, "other's")
    await site.dispatch_to_owner(ana, "ana's")
    await (await site.another("elsewhere")).publish("elsewhere")
    await site.publish("all")
    assert await reader.count(2) == ['"ana\'s"', '"all"']


# Backlog and live ----------------------------------------------------------------------


@on("memory", "sqlite", "postgres")
async def test_a_long_backlog_is_delivered_in_order_without_a_gap(database, settings, site):
    settings.ERIC_SSE = {"STREAM_BUFFER_BYTES": 2_000, "RING_MESSAGES": 5}
    listener = await site.listener()
    await site.publish(*range(500))
    await site.at_head()
    reader = await site.read(listener)
    await site.publish(*range(500, 550))
    assert await reader.count(550) == [str(number) for number in range(550)]
    assert max(len(chunk) for chunk in reader.chunks) < 40 * 2_000


async def test_a_full_buffer_falls_back_to_the_log_and_nothing_is_lost(site, settings):
    settings.ERIC_SSE = {"STREAM_BUFFER_MESSAGES": 10, "RING_MESSAGES": 3}
    listener = await site.listener()
    reader = await site.read(listener)
    await reader.until(lambda: reader.chunks)
    reader.open.clear()
    await site.publish("first")
    await reader.count(1)
    for number in range(100):
        await site.publish(number)
        await site.at_head()
    assert reader.stream.reader.behind
    assert not reader.stream.reader._buffer
    reader.open.set()
    await reader.count(101)
    assert reader.data[1:] == [str(number) for number in range(100)]
    assert reader.ids == sorted(set(reader.ids))


async def test_all_that_waits_is_written_at_once(site):
    listener = await site.listener()
    reader = await site.read(listener)
    await reader.until(lambda: reader.chunks)
    reader.open.clear()
    await site.publish(0)
    await reader.count(1)
    for number in (1, 2, 3):
        await site.publish(number)
        await site.at_head()
    writes = len(reader.chunks)
    reader.open.set()
    await reader.count(4)
    assert len(reader.chunks) == writes + 1


async def test_a_client_that_reconnects_soon_is_served_from_the_ring_buffer(site, monkeypatch):
    listener = await site.listener()
    first = await site.read(listener)
    await site.at_head()  # a look that began before the stream would begin the buffer later
    await site.publish(1, 2, 3)
    await first.count(3)
    monkeypatch.setattr(site.log, "read", None)  # would fail
    again = await site.read(listener, last_event_id=first.ids[0])
    assert await again.count(2) == ["2", "3"]


@on("memory", "sqlite")
async def test_a_listener_gets_one_reset_for_what_retention_removed(database, site):
    listener = await site.listener()
    await site.publish_old(1, 2)
    await site.publish(3)
    await site.at_head()
    await site.hub.close()
    assert await site.trim() == 2
    reader = await site.read(listener)
    await site.publish(4)
    await reader.count(3)
    assert [event.type for event in reader.events] == ["eric-reset", "n", "n"]
    assert reader.data[1:] == ["3", "4"]
    assert reader.ids == sorted(set(reader.ids))
    again = await site.read(listener, last_event_id=reader.ids[0])
    assert await again.count(2) == ["3", "4"]


@on("memory", "sqlite")
async def test_streams_of_a_hub_that_missed_something_read_the_log(database, site):
    listener = await site.listener()
    reader = await site.read(listener)
    await site.publish(1)
    await reader.count(1)
    await site.lose_sight()
    await site.publish(2)
    assert await reader.count(2) == ["1", "2"]


async def test_a_backlog_is_delivered_though_the_database_fails_meanwhile(
    site, settings, monkeypatch
):
    settings.ERIC_SSE = {"RING_MESSAGES": 0}
    listener = await site.listener()
    await site.publish(1, 2)
    await site.at_head()
    read, failures = site.log.read, [OperationalError("gone"), OperationalError("still")]

    def failing(*args):
        if failures:
            raise failures.pop()
        return read(*args)

    monkeypatch.setattr(site.log, "read", failing)
    reader = await site.read(listener)
    assert await reader.count(2) == ["1", "2"]
    assert failures == []


async def test_a_stream_can_end_while_the_database_hangs(site, settings, monkeypatch):
    settings.ERIC_SSE = {"RING_MESSAGES": 0}
    listener = await site.listener()
    await site.publish(1)
    await site.at_head()
    ended = threading.Event()
    monkeypatch.setattr(site.log, "read", lambda *args: ended.wait(30) and [])
    reader = await site.read(listener)
    await reader.until(lambda: reader.chunks)
    site.hub.drain()
    assert await reader.ended() == "draining"
    assert not ended.is_set()  # the read has not returned
    ended.set()


# Silence, age, slowness -------------------------------------------------------------------


async def test_a_silent_stream_gets_heartbeats(site, settings, fast_ticks):
    settings.ERIC_SSE = {"HEARTBEAT_S": 0.02}
    reader = await site.read(await site.listener())
    await reader.until(lambda: reader.chunks.count(wire.HEARTBEAT) >= 2)
    assert reader.events == []
    await site.publish(1)
    await reader.count(1)


async def test_a_heartbeat_wakes_no_task_where_it_is_written_at_once(site, settings, fast_ticks):
    settings.ERIC_SSE = {"HEARTBEAT_S": 0.02}
    beats, begun = asyncio.Queue(), asyncio.Event()

    async def write(chunk, more):
        assert not (begun.is_set() and more)
        begun.set()

    def write_at_once(chunk):
        beats.put_nowait(chunk)
        return True

    async with site.stream() as stream:
        serving = asyncio.ensure_future(
            stream.serve(write, site.channel.encode, lambda: write_at_once)
        )
        for _ in range(3):
            assert await asyncio.wait_for(beats.get(), 5) == wire.HEARTBEAT
        stream.end(End.CLOSED)
        await serving


async def test_a_heartbeat_moves_the_id_of_a_client_below_the_ring_buffer(
    site, settings, fast_ticks
):
    settings.ERIC_SSE = {"HEARTBEAT_S": 0.02, "RING_MESSAGES": 2}
    mine, other = await site.listener(), await site.listener()
    reader = await site.read(mine)
    for number in range(4):
        await site.dispatch(other, number)
    await site.at_head()
    floor = site.hub.follower.feeds.of([site.channel.row.pk], 0).ring_buffer.floor
    await reader.until(lambda: int(reader.reader.last_event_id or 0) >= floor > 0)
    assert reader.events == []
    await reader.until(lambda: reader.stream.subscriptions[0].stored >= floor)


async def test_a_stream_ends_at_its_age_with_a_retry(site, settings, fast_ticks):
    settings.ERIC_SSE = {"MAX_STREAM_AGE_S": 0.02}
    reader = await site.read(await site.listener())
    assert await reader.ended() == "age"
    assert reader.complete
    assert 300 <= reader.reader.retry_ms <= 3_000


async def test_a_stream_ends_when_its_access_does(site, fast_ticks):
    reader = await site.read(await site.listener(), ends_at=time.monotonic() + 0.02)
    assert await reader.ended() == "age"


async def test_a_write_that_does_not_return_is_cut_off(site, settings, fast_ticks):
    settings.ERIC_SSE = {"SEND_TIMEOUT_S": 0.03}
    reader = await site.read(await site.listener())
    await reader.until(lambda: reader.chunks)
    reader.open.clear()
    await site.publish(1)
    assert await reader.ended() == "send timeout"
    assert reader.stream.was_cut
    assert not reader.complete
    assert site.hub.streams == set()


@pytest.mark.parametrize("reason", [End.AGE, End.DRAINING])
async def test_a_last_write_that_hangs_is_cut_off(site, settings, fast_ticks, monkeypatch, reason):
    monkeypatch.setattr("eric_sse_django.streaming.clock.LAST_WRITE_S", 0.03)
    reader = await site.read(await site.listener())
    await reader.until(lambda: reader.chunks)
    reader.open.clear()
    reader.stream.end(reason)
    assert await reader.ended() == reason
    assert reader.stream.was_cut


async def test_a_cancel_by_other_code_is_raised(site):
    reader = await site.read(await site.listener())
    await reader.until(lambda: reader.chunks)
    reader.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader.task
    assert site.hub.streams == set()


# Its end -----------------------------------------------------------------------------------


@with_rows
async def test_stopping_a_listener_ends_its_streams_after_what_was_published_before(site):
    listener = await site.channel.aadd_listener()
    await listener.astart()
    one, two = await site.read(listener.row), await site.read(listener.row)
    await site.publish(1)
    await listener.astop()
    await site.publish(2)
    for reader in (one, two):
        assert await reader.ended() == "stopped"
        assert reader.data == ["1"]
        assert reader.complete
    await listener.astart()
    again = await site.channel.aget_listener(listener.id)  # with its cursor as it is now
    later = await site.read(again.row)
    assert await later.count(1) == ["2"]


async def test_a_stop_in_the_backlog_ends_the_stream_there(site, monkeypatch):
    listener = await site.listener()
    reader = await site.read(listener)
    await reader.until(lambda: reader.chunks)
    reader.open.clear()
    await site.publish(0)
    await reader.count(1)
    reader.stream.fall_back()  # as a full buffer does: from here on it reads
    monkeypatch.setattr(type(reader.stream), "push", lambda stream, batch, alone: None)
    await site.publish(1)
    await site.control(listener, STOP)
    await site.publish(2)
    await site.at_head()
    reader.open.set()
    assert await reader.ended() == "stopped"
    assert reader.data == ["0", "1"]


@with_rows
async def test_a_stop_between_lookup_and_attach_ends_the_stream(site):
    listener = await site.channel.aadd_listener()
    await listener.astart()
    row = await Listener.objects.aget(pk=listener.row.pk)
    await listener.astop()
    await site.at_head()
    async with site.stream(row) as stream:
        assert stream.reason == "stopped"


async def test_no_query_is_made_if_the_hub_read_nothing_since_the_lookup(site, monkeypatch):
    listener = await site.listener()
    position = await site.at_head()
    monkeypatch.setattr("eric_sse_django.streaming.stream._all_run", None)  # would fail
    reader = await site.read(listener, as_of=position)
    await site.control(listener, STOP)
    assert await reader.ended() == "stopped"


@with_rows
async def test_a_removed_listeners_stream_ends(site):
    listener = await site.listener()
    reader = await site.read(listener)
    await site.channel.aremove_listener(listener.name)
    assert await reader.ended() == "stopped"


@on("memory", "sqlite")
async def test_a_disconnected_client_is_asked_to_reconnect(database, site):
    listener = await site.listener()
    reader = await site.read(listener)
    await site.control(listener, CLOSE)
    assert await reader.ended() == "disconnected"
    assert reader.complete
    again = await site.read(listener)
    await site.publish(1)
    assert await again.count(1) == ["1"]


@with_rows
async def test_a_replay_sends_messages_again_with_their_ids_and_then_new_ones(site):
    listener = await site.listener()
    reader = await site.read(listener)
    since = timezone.now()
    await site.publish(1, 2)
    await reader.count(2)
    await sync_to_async(operations.replay)([listener], since)
    await site.publish(3)
    assert await reader.count(5) == ["1", "2", "1", "2", "3"]
    assert reader.ids[:2] == reader.ids[2:4]
    again = await site.read(listener, last_event_id=reader.ids[1])
    assert await again.count(1) == ["3"]


async def test_draining_ends_each_stream_with_another_retry(site, settings):
    settings.ERIC_SSE = {"DRAIN_S": 5}
    listener = await site.listener()
    readers = [await site.read(listener) for _ in range(20)]
    site.hub.drain()
    for reader in readers:
        assert await reader.ended() == "draining"
        assert reader.complete
        assert 1_000 <= reader.reader.retry_ms <= 6_000
    assert len({reader.reader.retry_ms for reader in readers}) > 10
    late = await site.read(listener)
    assert await late.ended() == "draining"
    assert 1_000 <= late.reader.retry_ms <= 6_000


@with_rows
async def test_closing_the_hub_ends_its_streams_and_writes_their_cursors(site):
    listener = await site.listener()
    reader = await site.read(listener)
    await site.publish(1)
    await reader.count(1)
    await asyncio.sleep(0)
    await site.hub.close()
    assert await reader.ended() == "hub closed"
    await listener.arefresh_from_db()
    assert listener.cursor == reader.ids[0]
    assert listener.last_seen is not None


async def test_a_stream_that_is_attached_to_a_closed_hub_ends(site):
    stream = site.stream(await site.listener())
    await site.hub.ready()
    await site.hub.close()
    async with stream:
        assert stream.reason == "hub closed"


@with_rows
async def test_the_cursor_is_written_soon_after_a_stream_ends(site):
    listener = await site.listener()
    reader = await site.read(listener)
    await site.publish(1)
    await reader.count(1)
    await asyncio.sleep(0)
    reader.stream.end(End.CLIENT_LEFT)
    await reader.ended()
    began = time.monotonic()
    while (await Listener.objects.aget(pk=listener.pk)).cursor != reader.ids[0]:
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.005)


async def test_a_message_that_could_not_be_encoded_is_delivered_by_the_next_stream(site):
    listener = await site.listener()
    await site.publish(1)
    await site.at_head()

    async def write(chunk, more):
        pass

    def encode(entry):
        raise ZeroDivisionError

    async with site.stream(listener) as stream:
        await stream.serve(write, encode)
    assert stream.reason == "error"
    again = await site.read(listener)
    assert await again.count(1) == ["1"]


@pytest.mark.parametrize("what", ["a message", "a heartbeat"])
async def test_a_write_at_once_that_fails_ends_its_stream_and_no_other(
    site, what, settings, fast_ticks
):
    listener, other = await site.listener(), await site.listener()
    beside = await site.read(other)
    begun = asyncio.Event()

    async def write(chunk, more):
        begun.set()

    def write_at_once(chunk):
        raise ConnectionResetError

    if what == "a heartbeat":
        settings.ERIC_SSE = {"HEARTBEAT_S": 0.02}
    async with site.stream(listener) as stream:
        serving = asyncio.ensure_future(
            stream.serve(write, site.channel.encode, lambda: write_at_once)
        )
        await begun.wait()
        await site.hub.follower.look()  # what comes during one that had begun is read by the task
        if what == "a message":
            await site.publish(1)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(serving, 5)
    if what == "a heartbeat":
        await site.publish(1)
    assert await beside.count(1) == ["1"]
    again = await site.read(listener)
    assert await again.count(1) == ["1"]


async def test_a_write_at_once_is_tried_once_where_it_never_succeeds(site):
    tried, written = [], asyncio.Queue()

    async def write(chunk, more):
        written.put_nowait(chunk)

    async with site.stream() as stream:
        serving = asyncio.ensure_future(
            stream.serve(write, site.channel.encode, lambda: tried.append)
        )
        await asyncio.wait_for(written.get(), 5)
        for number in (1, 2, 3):
            await site.publish(number)
            assert b"data: %d\n" % number in await asyncio.wait_for(written.get(), 5)
        stream.end(End.CLOSED)
        await serving
    assert len(tried) == 1


async def test_the_hubs_timer_does_not_end_the_wait_for_an_entry(site, settings, fast_ticks):
    settings.ERIC_SSE = {"HEARTBEAT_S": 0.02}
    listener = await site.listener()
    async with site.stream(listener) as stream:
        entries = stream.entries()
        coming = asyncio.ensure_future(entries.__anext__())
        await asyncio.sleep(0.05)
        assert stream.reason is None
        await site.publish(1)
        assert (await asyncio.wait_for(coming, 1)).payload == "1"
        await entries.aclose()


async def test_a_loop_has_one_hub_until_that_closes(transactional_db):
    hub = Hub.for_running_loop()
    assert Hub.for_running_loop() is hub
    await hub.ready()
    await Hub.close_all()
    other = Hub.for_running_loop()
    assert other is not hub
    await other.ready()
    await Hub.close_all()


async def test_an_idle_hub_stops_by_itself(site, monkeypatch, fast_ticks):
    monkeypatch.setattr("eric_sse_django.hub.hub.LINGER_S", 0.02)
    hub = site.hub
    await hub.ready()
    for _ in range(500):
        if hub._closed and not hub._tasks:
            break
        await asyncio.sleep(0.005)
    assert hub._closed
    assert site.hub is not hub


async def test_the_wait_for_a_hub_behind_its_client_is_bounded(site, monkeypatch):
    monkeypatch.setattr(reader_module, "LOOK_TIMEOUT_S", 0.02)
    listener = await site.listener()
    await site.at_head()

    async def look():
        await asyncio.Event().wait()

    monkeypatch.setattr(site.hub.follower, "look", look)
    reader = await site.read(listener, last_event_id=2**62)
    await reader.until(lambda: reader.chunks)


@pytest.mark.parametrize("turns", range(5))
async def test_a_cancel_ends_a_stream_at_each_point_of_its_beginning(site, turns):
    """Before Python 3.12 asyncio.wait_for() swallows one in the turn of the result."""
    await site.hub.ready()
    looked = asyncio.get_running_loop().create_future()

    async def look():
        await looked

    site.hub.follower.look = look
    opening = asyncio.ensure_future(site.stream(last_event_id=2**62).open())
    await asyncio.sleep(0.01)
    looked.set_result(None)
    for _ in range(turns):
        await asyncio.sleep(0)
    is_open = opening.done()
    opening.cancel()
    await asyncio.wait({opening}, timeout=5)
    assert opening.cancelled() or is_open
