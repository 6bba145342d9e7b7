"""Clients that do not behave hurt nobody but themselves, on each of the ASGI servers."""

import asyncio
from functools import partial

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.client import StreamClient
from tests.databases import sqlite_only
from tests.faults import rude
from tests.faults.scale import sized
from tests.live import site
from tests.live.asgi_servers import SERVERS
from tests.live.test_streams import OPTIONS, closed

MIB = 1024**2
SETTINGS = {"SQLITE_LOOK_INTERVAL_S": 0.02}
VISITS = sized(200, 10_000)
# Seconds after which a server has closed a connection whose client left: Daphne checks once a
# second, hypercorn gives a silent connection its keep-alive of 5 s.
REAPED_S = {"daphne": 1.5, "hypercorn": 6.5}

each_server = pytest.mark.parametrize("server", SERVERS)


async def assert_undisturbed(channel, client, number):
    """Assert that a client which was here before gets its next message as usual."""
    await channel.abroadcast(Message("number", number))
    assert (await client.event()).data == str(number)


@sqlite_only
async def test_a_client_that_reads_a_byte_a_second_is_disconnected_by_the_deadline(
    database, serve
):
    await site.side_by_side(partial(ends_a_slow_client, serve), SERVERS)


async def ends_a_slow_client(serve, server, turn):
    channel = await DatabaseChannel.acreate(server)
    path = await site.new_listener(channel)
    settings = {**SETTINGS, "SEND_TIMEOUT_S": 1}
    options = OPTIONS.get(server, ())
    process = await asyncio.to_thread(serve, server, options=options, settings=settings)
    memory = (await site.counters(process))["memory"]
    slow = asyncio.create_task(rude.read_a_byte_a_second(process.port, path))
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        async with turn:
            for _ in range(20):
                await channel.abroadcast_many(Message("big", "x" * 100_000) for _ in range(10))
                await client.events(10)
                client.body = b""
        await site.until(lambda: closed(process), 10)
        await assert_undisturbed(channel, client, 1)
        assert (await site.counters(process))["memory"] - memory < 32 * MIB
    slow.cancel()  # the kernel keeps for it what it could not take in time
    assert process.log.read_text().count("reason=send timeout") == 1


@sqlite_only
@each_server
async def test_incomplete_requests_do_not_prevent_new_streams(database, serve, server):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve(server, options=OPTIONS.get(server, ()), settings=SETTINGS)
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        before = await site.counters(process)
        with rude.half_requests(process.port, path, 300):
            await assert_undisturbed(channel, client, 1)
            async with await StreamClient.open(process.url + path) as late:
                await late.until_body_has(b"ok")
                await assert_undisturbed(channel, late, 2)
            during = await site.counters(process)
        assert during["memory"] - before["memory"] < 300 * 64 * 1024
        assert (await client.event()).data == "2"


@sqlite_only
@each_server
async def test_headers_of_a_megabyte_are_refused(database, serve, server):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve(server, options=OPTIONS.get(server, ()), settings=SETTINGS)
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        before = await site.counters(process)
        for number in range(20):
            answer = await rude.send_large_head(process.port, path, MIB)
            assert b" 200 " not in answer
            await assert_undisturbed(channel, client, number)
        after = await site.counters(process)
        assert after["memory"] - before["memory"] < 16 * MIB


@sqlite_only
async def test_every_way_of_disconnecting_leaks_nothing(database, serve):
    await site.side_by_side(partial(leaks_nothing, serve), SERVERS)


async def leaks_nothing(serve, server, turn):
    channel = await DatabaseChannel.acreate(server)
    path = await site.new_listener(channel)
    options = OPTIONS.get(server, ())
    process = await asyncio.to_thread(serve, server, options=options, settings=SETTINGS)
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        held = []
        for number in range(2):
            async with turn:
                await rude.connect_often(process.port, path, VISITS)
            await assert_undisturbed(channel, client, number)
            await asyncio.sleep(REAPED_S.get(server, 1))
            held.append(await site.counters(process))
    first, second = held
    assert second["tasks"] <= first["tasks"] + 2  # one at work when it is asked: a write, a look
    assert second["threads"] <= first["threads"] + 2  # a trim's, a thread of the pool for sessions
    # SQLite's three, where messages are just being removed: once a minute.
    assert second["files"] <= first["files"] + 3
    assert second["memory"] < 1.1 * first["memory"]
    assert "Traceback" not in process.log.read_text(errors="replace")
