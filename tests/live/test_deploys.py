"""A server is replaced under its clients: they reconnect when asked to, and miss nothing."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest

from eric_sse_django.database import DatabaseChannel
from tests.databases import sqlite_only
from tests.faults.counting import PATH as BACKLOGS
from tests.faults.crowd import all_have, assert_numbers, crowd, publishing
from tests.faults.proxy import Proxy
from tests.faults.scale import sized
from tests.live import site
from tests.live.asgi_servers import SERVERS
from tests.live.test_streams import OPTIONS, closed

CLIENTS = sized(150, 1_000)
DRAIN_S = sized(3, 5)
# Messages a second: what this process can read for all its clients.
RATE = sized(20, 4)
COUNTING = "tests.faults.counting:application"


def assert_spread(retries_ms):
    """Assert that clients got times from 1 s to 1 s + DRAIN_S, spread over that range."""
    assert all(1_000 <= told <= 1_000 * (1 + DRAIN_S) for told in retries_ms)
    tenths = {int((told - 1_000) / (100 * DRAIN_S)) for told in retries_ms}
    assert len(tenths) >= 9, sorted(retries_ms)


@sqlite_only
@pytest.mark.parametrize("server", SERVERS)
async def test_a_server_is_replaced_under_its_streams_and_none_misses_anything(
    database, serve, server
):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    settings = {"DRAIN_S": DRAIN_S, "SQLITE_LOOK_INTERVAL_S": 0.05}
    options = (*OPTIONS.get(server, ()), *(["--backpressure", "4000"] * (server == "granian")))
    process = serve(server, options=options, settings=settings, application=COUNTING)
    async with AsyncExitStack() as stack:
        clients = await crowd(stack, process.url + path, CLIENTS)
        async with publishing(channel, RATE) as published:
            await all_have(clients, 5, 30)
            process.terminate()
            assert await asyncio.to_thread(process.wait, 20) < DRAIN_S
            await site.until(lambda: not any(client.is_open for client in clients), 30)
            assert closed(process) == CLIENTS
            assert_spread([client.retry_ms for client in clients])
            await asyncio.to_thread(process.start)
            await site.until(lambda: all(client.is_open for client in clients), 60)
        await all_have(clients, published[0], 60)
        assert_numbers(clients, published[0])
        assert {status for client in clients for status in client.statuses} == {200}
        # One hub thread reads for them, one after another; a late client is served from memory.
        backlogs = json.loads(await site.get(process.url + BACKLOGS))
        print(f"{server}: {CLIENTS} reconnected for {published[0]} messages, {backlogs}")
        assert backlogs["reads"] > 0
        assert backlogs["most_at_once"] == 1


@sqlite_only
async def test_a_herd_that_reconnects_to_the_same_server_is_served_from_memory(database, serve):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve("uvicorn", application=COUNTING, settings={"RETRY_MS": 200})
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy(process.port))
        clients = await crowd(stack, proxy.url + path, CLIENTS)
        await (await site.publisher(process, channel, 10)).wait()
        await all_have(clients, 10, 10)
        assert proxy.cut() == CLIENTS
        await (await site.publisher(process, channel, 90, first=10)).wait()
        proxy.repair()
        await all_have(clients, 100, 30)
        assert_numbers(clients, 100)
        assert json.loads(await site.get(process.url + BACKLOGS))["reads"] == 0
