"""What may break, breaks: the server, the wakes, the database, Redis. No message is lost."""

import asyncio
import time
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.client import StreamClient
from tests.databases import on
from tests.event_source import EventSourceClient
from tests.live import site

SWALLOWING = {"BACKEND": "tests.live.layers.SwallowingLayer"}


@pytest.fixture
def redis_port(request, database):
    """Return the port of Redis where the database is a server, None beside SQLite."""
    if database == "default":
        return None
    return request.getfixturevalue("redis_server").port


def assert_all_came(records, count):
    """Assert that 0, 1, … came in order; again only under the id they had before."""
    numbers = {}
    for record in records:
        number, id = int(record.event.data), int(record.event.last_event_id)
        assert numbers.setdefault(id, number) == number
    assert [numbers[id] for id in sorted(numbers)] == list(range(count))
    assert list(numbers) == sorted(numbers)


@on("sqlite", "postgres")
async def test_a_server_killed_during_500_messages_loses_none(database, serve, redis_port):
    channel = await DatabaseChannel.acreate("orders")
    settings = {"RETRY_MS": 100, "RING_MESSAGES": 50}
    kind = "daphne" if database == "default" else "uvicorn"
    process = serve(kind, database=database, redis_port=redis_port, settings=settings)
    paths = [await site.new_listener(channel) for _ in range(3)]
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(EventSourceClient(process.url + path))
            for path in (*paths, paths[0])
        ]
        publishing = await site.publisher(process, channel, 500, 0.005)
        await clients[0].wait_for(100)
        process.kill()
        assert publishing.returncode is None
        await asyncio.sleep(0.5)
        process.start()
        await publishing.wait()
        for client in clients:
            await client.wait_for(500)
            assert len(client.statuses) > 1
            assert_all_came(client.records, 500)


@on("sqlite", "postgres")
async def test_with_every_wake_dropped_messages_are_delivered_by_polling(database, serve):
    channel = await DatabaseChannel.acreate("orders")
    settings = {"POLL_INTERVAL_S": 0.5, "SQLITE_LOOK_INTERVAL_S": 60}
    process = serve("uvicorn", database=database, layer=SWALLOWING, settings=settings)
    path = await site.new_listener(channel)
    async with EventSourceClient(process.url + path) as client:
        await site.until(lambda: client.statuses)
        publishing = await site.publisher(process, channel, 20, 0.1)
        await publishing.wait()
        ended_at = time.monotonic()
        await client.wait_for(20)
        assert client.records[-1].at - ended_at < 1
        assert_all_came(client.records, 20)
        # By polls: they came in few groups.
        arrivals = [record.at for record in client.records]
        groups = sum(later - at > 0.1 for at, later in pairwise(arrivals))
        assert groups < 10


@on("postgres")
async def test_streams_stay_open_during_an_outage_of_the_database(
    database, serve, database_servers
):
    channel = await DatabaseChannel.acreate("orders")
    process = serve("uvicorn", database=database, settings={"RETRY_MS": 100})
    paths = [await site.new_listener(channel) for _ in range(2)]
    async with await StreamClient.open(process.url + paths[0]) as client:
        await channel.abroadcast(Message("number", 0))
        assert (await client.event()).data == "0"
        await sync_to_async(connections.close_all)()
        await asyncio.to_thread(database_servers["postgres"].stop)
        async with EventSourceClient(process.url + paths[1]) as late:
            await site.until(lambda: "reading the log failed" in process.log.read_text())
            await site.until(lambda: late.statuses, 10)
            await asyncio.to_thread(database_servers["postgres"].start)
            await channel.abroadcast(Message("number", 1))
            # The next attempt is in 5 s at most, and a new stream waits 5 s for it.
            assert (await client.event(10)).data == "1"
            await late.wait_for(2, 15)
            # No client got a 503, which would have ended an EventSource.
            assert set(late.statuses) == {200}
        assert len(client.reader.ignored) == 0
    log = process.log.read_text()
    assert log.count("reading the log failed") == log.count("reading the log works again") == 1


@on("postgres")
@pytest.mark.parametrize(
    ("layer", "failing"),
    [
        ("core.RedisChannelLayer", ["sending wakes to", "receiving wakes of"]),
        # Its receive() only waits; the layer itself logs that, and connects again.
        ("pubsub.RedisPubSubChannelLayer", ["sending wakes to"]),
    ],
)
async def test_streams_stay_open_during_an_outage_of_redis(
    database, serve, redis_server, layer, failing
):
    channel = await DatabaseChannel.acreate("orders")
    settings = {"POLL_INTERVAL_S": 0.5}
    hosts = {"hosts": [("127.0.0.1", redis_server.port)]}
    layer = {"BACKEND": f"channels_redis.{layer}", "CONFIG": hosts}
    process = serve("daphne", database=database, layer=layer, settings=settings)
    path = await site.new_listener(channel)
    async with EventSourceClient(process.url + path) as client:
        await site.until(lambda: client.statuses)
        await asyncio.to_thread(redis_server.stop)
        await site.get(f"{process.url}/publish/orders/0")
        await (await site.publisher(process, channel, 3, 0.1, first=1)).wait()
        await client.wait_for(4)
        await asyncio.to_thread(redis_server.start)
        # Both directions again: what the server sends, and what it receives.
        await site.get(f"{process.url}/publish/orders/4")
        works = [f"{doing} other processes works again" for doing in failing]
        await site.until(lambda: all(map(process.log.read_text().count, works)), 20)
        await client.wait_for(5)  # the log line and the delivery come in any order
        assert_all_came(client.records, 5)
        assert len(client.statuses) == 1
    log = process.log.read_text()
    for doing in failing:
        assert log.count(f"{doing} other processes failed") == 1
