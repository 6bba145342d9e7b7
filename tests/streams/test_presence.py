"""Presence: an open stream is a lease in the database."""

from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from eric_sse_django.counters import Counters
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub
from eric_sse_django.hub import presence as presence_module
from eric_sse_django.hub.presence import Presence
from eric_sse_django.models import OpenStream, ServerProcess, Watchers
from eric_sse_django.models.presence import LEASE_S
from eric_sse_django.streaming import Stream, Subscription
from eric_sse_django.workers import Hung
from tests.streams.presence_tools import FACTS, run


@sync_to_async
def open_streams():
    return sorted(OpenStream.objects.online().values_list("listener_id", flat=True))


@sync_to_async
def let_pass(seconds):
    for process in ServerProcess.objects.all():
        process.renewed_at -= timezone.timedelta(seconds=seconds)
        process.save()


@pytest.fixture
async def hub(transactional_db):
    yield Hub.for_running_loop()
    await Hub.close_all()


async def test_streams_are_online_while_their_process_renews(transactional_db):
    presence = Presence()
    presence.opened(7)
    await presence.flush(run, 0, FACTS)
    assert await open_streams() == [7]
    await let_pass(LEASE_S + 1)
    assert await open_streams() == []
    await presence.flush(run, 0, FACTS)
    assert await open_streams() == [7]


async def test_a_stream_that_ended_is_gone_with_the_next_write(transactional_db):
    presence = Presence()
    one, _ = presence.opened(7), presence.opened(8)
    await presence.flush(run, 0, FACTS)
    presence.ended(one)
    presence.ended(one)
    assert presence.due(0)
    await presence.flush(run, 0, FACTS)
    assert await open_streams() == [8]
    assert not presence.due(0)


async def test_a_stream_shorter_than_a_round_is_never_written(transactional_db):
    presence = Presence()
    await presence.flush(run, 0, FACTS)
    presence.ended(presence.opened(7))
    assert not presence.due(0)


async def test_a_stream_whose_write_failed_halfway_and_that_then_ended_is_gone(transactional_db):
    presence = Presence()
    await presence.flush(run, 0, FACTS)
    key = presence.opened(7)

    async def fails_at_the_end(function, *args):
        await run(function, *args)
        raise OSError

    with pytest.raises(OSError):
        await presence.flush(fails_at_the_end, 0, FACTS)
    assert await open_streams() == [7]
    presence.ended(key)
    await presence.flush(run, 0, FACTS)
    assert await open_streams() == []


async def test_presence_that_could_not_be_written_is_written_later(transactional_db):
    presence = Presence()
    presence.opened(7)

    async def fails(function, *args):
        raise OSError

    with pytest.raises(OSError):
        await presence.flush(fails, 0, FACTS)
    assert presence.due(0)
    await presence.flush(run, 0, FACTS)
    assert await open_streams() == [7]


@sync_to_async
def written():
    """Return the processes, and of which each stream is."""
    processes = sorted(ServerProcess.objects.values_list("pk", flat=True))
    return processes, sorted(OpenStream.objects.values_list("listener_id", "process_id"))


async def test_a_first_write_that_fails_midway_leaves_no_second_lease(
    transactional_db, monkeypatch
):
    """What it had written would stand under a lease that nobody renews."""
    presence = Presence()
    presence.opened(7)

    def fails(*args):
        raise OSError

    with monkeypatch.context() as patched:
        patched.setattr(presence_module, "_count", fails)
        with pytest.raises(OSError):
            await presence.flush(run, 0, FACTS)
    await presence.flush(run, 0, FACTS)
    [process], streams = await written()
    assert streams == [(7, process)]


async def test_streams_of_a_write_that_hung_are_written_again_with_the_renewed_lease(
    transactional_db, monkeypatch
):
    presence, insert = Presence(), presence_module._insert
    presence.opened(7)

    async def hangs(function, *args):
        with pytest.raises(Hung):
            await run(function, *args)
        # The statement that hung comes through after all.
        process = await sync_to_async(ServerProcess.objects.get)()
        await run(insert, process.pk, [(key, *found) for key, found in presence._open.items()])
        raise Hung

    with monkeypatch.context() as patched:
        patched.setattr(presence_module, "is_given_up", lambda: True)
        with pytest.raises(Hung):
            await presence.flush(hangs, 0, FACTS)
    await presence.flush(run, 0, FACTS)
    processes, streams = await written()
    assert streams == [(7, processes[-1])]


async def test_a_thread_that_was_given_up_counts_no_watchers_that_are_gone(
    transactional_db, monkeypatch
):
    presence, insert = Presence(), presence_module._insert
    presence.watched(3, 5)
    await presence.flush(run, 0, FACTS)
    presence.watched(3, 1)

    def comes_back_late(*args):
        monkeypatch.setattr(presence_module, "is_given_up", lambda: True)
        return insert(*args)

    monkeypatch.setattr(presence_module, "_insert", comes_back_late)
    with pytest.raises(Hung):
        await presence.flush(run, 0, FACTS)
    found = await sync_to_async(Watchers.objects.get)()
    assert found.streams == 5


async def test_a_process_that_died_is_forgotten_with_its_streams(transactional_db):
    dead, alive = Presence(), Presence()
    dead.opened(7)
    await dead.flush(run, 0, FACTS)
    await let_pass(2 * LEASE_S + 1)
    await alive.flush(run, 0, FACTS)
    assert await sync_to_async(OpenStream.objects.count)() == 0
    assert await sync_to_async(ServerProcess.objects.count)() == 1


async def test_a_process_that_was_taken_for_dead_is_recorded_again_with_its_streams(
    transactional_db,
):
    presence = Presence()
    presence.opened(7)
    await presence.flush(run, 0, FACTS)
    await sync_to_async(ServerProcess.objects.all().delete)()
    presence.opened(8)
    await presence.flush(run, 0, FACTS)
    assert await open_streams() == [7, 8]


async def test_a_hub_writes_its_streams_and_gives_its_lease_back(hub):
    channel = await DatabaseChannel.acreate("orders")
    listener = await channel.aadd_listener()
    async with (
        Stream(hub, [Subscription(channel.row, listener.row)]),
        Stream(hub, [Subscription(channel.row)]),
    ):
        await hub.records.write()
        assert await open_streams() == [listener.row.pk]
        process = await sync_to_async(ServerProcess.objects.get)()
        assert process.streams == 2
    await hub.close()
    assert await sync_to_async(ServerProcess.objects.count)() == 0


def test_delays_are_percentiles_of_the_latest():
    counters = Counters()
    assert counters.delay_ms(0.5, 0.99) == [0.0, 0.0]
    for number in range(101):
        counters.delivers(number / 1_000)
    assert counters.delay_ms(0.5, 0.99) == [50.0, 99.0]


@sync_to_async
def watchers():
    rows = Watchers.objects.online().order_by("channel", "process")
    return list(rows.values_list("channel_id", "streams"))


async def test_streams_that_watch_are_counted_in_one_row_for_all_of_them(hub):
    orders, bills = [(await DatabaseChannel.acreate(name)).row for name in ("orders", "bills")]
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(Stream(hub, [Subscription(orders)]))
        await stack.enter_async_context(Stream(hub, [Subscription(orders), Subscription(bills)]))
        await hub.records.write()
        assert await watchers() == [(orders.pk, 4), (bills.pk, 1)]
        process = await sync_to_async(ServerProcess.objects.get)()
        assert (process.streams, process.parts) == (4, 5)
    await hub.records.write()
    assert await watchers() == []


async def test_watchers_of_a_process_that_was_taken_for_dead_are_written_again(transactional_db):
    presence = Presence()
    presence.watched(7, 2)
    await presence.flush(run, 0, FACTS)
    await sync_to_async(ServerProcess.objects.all().delete)()
    assert await watchers() == []
    await presence.flush(run, 0, FACTS)
    assert await watchers() == [(7, 2)]


async def test_watchers_whose_process_is_unknown_are_removed(transactional_db):
    await sync_to_async(Watchers.objects.create)(process_id=77, channel_id=7, streams=1)
    await Presence().flush(run, 0, FACTS)
    assert await sync_to_async(Watchers.objects.count)() == 0


async def test_a_process_records_when_it_was_started_not_its_hub(hub):
    await hub.records.write()
    process = await sync_to_async(ServerProcess.objects.get)()
    await Hub.close_all()
    await Hub.for_running_loop().records.write()
    second = await sync_to_async(ServerProcess.objects.exclude(pk=process.pk).get)()
    assert second.started_at == process.started_at < process.renewed_at < second.renewed_at
