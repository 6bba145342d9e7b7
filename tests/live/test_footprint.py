"""What streams cost a process while they are idle, and what they leave behind: nothing."""

import asyncio
import time
from contextlib import AsyncExitStack

import psutil
import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from eric_sse_django.database import DatabaseChannel
from tests.client import StreamClient
from tests.databases import postgres_only, sqlite_only
from tests.live import site

STREAMS = 500


async def open_all(stack, url, count=STREAMS):
    """Return clients whose streams have begun."""
    clients = []
    for _ in range(0, count, 50):
        some = await asyncio.gather(*(StreamClient.open(url) for _ in range(50)))
        clients += [await stack.enter_async_context(client) for client in some]
    for client in clients:
        await client.until_body_has(b"ok")
    return clients


def connections_of(database, application):
    with connections[database].cursor() as cursor:
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        cursor.execute(count, [application])
        return cursor.fetchone()[0]


def cpu_of(process):
    return sum(psutil.Process(process.pid).cpu_times()[:2])


@postgres_only
async def test_500_idle_streams_take_two_connections_of_their_hub_and_one_poll(database, serve):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    environment = {"PGAPPNAME": "served"}
    process = serve("uvicorn", database=database, environment=environment, fresh=True)
    async with AsyncExitStack() as stack:
        await open_all(stack, process.url + path)
        await asyncio.sleep(2)  # cursors and presence are written
        assert await sync_to_async(connections_of)(database, "served") <= 3  # and the notifier's
        before, began, cpu_s = await site.counters(process), time.monotonic(), cpu_of(process)
        await asyncio.sleep(5)
        seconds, cpu_s = time.monotonic() - began, cpu_of(process) - cpu_s
        after = await site.counters(process)
        # A look at the head each POLL_INTERVAL_S of 0.5 s (0.4 at random), and one renewal of
        # the hub's lease of at most four queries.
        assert after["queries"] - before["queries"] <= seconds / 0.4 + 1 + 4
        assert cpu_s / seconds < 0.02
        assert await sync_to_async(connections_of)(database, "served") <= 3  # and the notifier's


@sqlite_only
@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
async def test_500_connects_and_disconnects_leak_nothing(database, serve, server):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve(server, fresh=True)

    async def rounds():
        for number in (1, 2):
            async with AsyncExitStack() as stack:
                await open_all(stack, process.url + path)
            closed = STREAMS * number
            await site.until(lambda: process.log.read_text().count("stream closed") == closed)  # noqa: B023
            await asyncio.sleep(1.5)  # Daphne reaps its applications once a second
            yield await site.counters(process)

    first, second = [counters async for counters in rounds()]
    # One task may be at work when it is asked: a write, a look.
    assert second["tasks"] <= first["tasks"] + 1
    assert second["threads"] <= first["threads"] + 2  # a trim's, a thread of the pool for sessions
    assert second["files"] <= first["files"] + 3  # SQLite's, of such a thread
    assert second["memory"] < 1.1 * first["memory"]


@sqlite_only
@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
async def test_an_idle_stream_takes_little_memory(database, serve, server):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve(server, fresh=True)
    async with AsyncExitStack() as stack:
        await open_all(stack, process.url + path, 50)
        before = await site.counters(process)
        await open_all(stack, process.url + path)
        after = await site.counters(process)
    kib = (after["memory"] - before["memory"]) / STREAMS / 1024
    print(f"{kib:.1f} KiB a stream on {server}")
    assert kib < 40
