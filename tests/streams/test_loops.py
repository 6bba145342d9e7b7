"""Several event loops in one process: each has its hub, and all get everything."""

import asyncio
import threading

import pytest

from eric_sse_django import wakes
from eric_sse_django.cancelling import cancel
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub, all_hubs, running_hubs
from eric_sse_django.message import Message
from eric_sse_django.wakes import receiver
from tests.databases import on, sqlite_only
from tests.streams.reading import Site
from tests.wakes import listen

PATIENCE_S = 10.0


class Loop:
    """An event loop on a separate thread. A context manager."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def run(self, coroutine):
        """Return what a coroutine gives, run on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_S)


@pytest.fixture
def loops():
    with Loop() as first, Loop() as second:
        yield first, second
        for each in (first, second):
            each.run(Hub.close_all())


@pytest.fixture
def channel(database):
    return DatabaseChannel.create("orders")


def listener_of(channel):
    listener = channel.add_listener()
    listener.start()
    return listener.row


@on("sqlite", "postgres")
def test_streams_on_two_loops_get_the_same_in_one_order(channel, loops):
    sites = [Site(channel) for _ in loops]
    readers = [
        loop.run(site.read(listener_of(channel))) for loop, site in zip(loops, sites, strict=True)
    ]
    assert len(all_hubs()) == 2
    for number in range(20):
        if number % 3 == 2:
            channel.broadcast(Message("n", number))  # from a thread without a loop
        else:
            loops[number % 3].run(sites[0].publish(number))
    for loop, reader in zip(loops, readers, strict=True):
        assert loop.run(reader.count(20)) == list(map(str, range(20)))
    assert readers[0].ids == readers[1].ids
    for loop, site in zip(loops, sites, strict=True):
        loop.run(site.close())


@sqlite_only
def test_a_loop_that_ends_takes_nothing_from_the_other(channel, loops):
    staying = Site(channel)
    reader = loops[0].run(staying.read(listener_of(channel)))
    with Loop() as brief:
        site = Site(channel)
        brief.run(site.read(listener_of(channel)))
        hub = brief.run(hub_of(site))
        brief.run(site._stack.aclose())  # it closes with its hub, as a script's loop may
    assert hub in all_hubs()
    assert hub not in running_hubs()
    channel.broadcast(Message("n", 1))
    assert loops[0].run(reader.count(1)) == ["1"]
    hub.abandon()
    channel.broadcast(Message("n", 2))
    assert loops[0].run(reader.count(2)) == ["1", "2"]
    loops[0].run(staying.close())


async def hub_of(site):
    return site.hub


async def others_end():
    assert not await cancel(asyncio.all_tasks() - {asyncio.current_task()})


@pytest.mark.parametrize("kind", ["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"])
def test_each_loop_receives_the_wakes_of_the_layer(
    settings, redis_server, loops, kind, monkeypatch
):
    monkeypatch.setattr(receiver, "is_own", lambda message: False)  # as another process's
    hosts = {"hosts": [("127.0.0.1", redis_server.port)]}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"channels_redis.{kind}", "CONFIG": hosts}}
    heard = [threading.Semaphore(0) for _ in loops]
    listening = [
        asyncio.run_coroutine_threadsafe(
            listen(ear.release),
            loop.loop,
        )
        for loop, ear in zip(loops, heard, strict=True)
    ]
    assert all(ear.acquire(timeout=PATIENCE_S) for ear in heard)  # each is in the group
    sender = wakes.WakeSender()
    for _ in range(3):
        sender.wake()
        assert all(ear.acquire(timeout=PATIENCE_S) for ear in heard)
    sender.close()
    for task, loop in zip(listening, loops, strict=True):
        task.cancel()
        loop.run(others_end())
