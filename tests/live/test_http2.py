"""HTTP/2: a stream that is not read is bounded and reset, and its neighbours continue."""

import asyncio
import json
from functools import partial

import pytest
from asgiref.sync import sync_to_async

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.monitor import PATH
from tests import certificates
from tests.databases import sqlite_only
from tests.http2 import LARGEST_WINDOW, HTTP2Client
from tests.live import site
from tests.live.test_streams import closed
from tests.server import free_port
from tests.streams.asgi import session_of

MIB = 1024**2
# The deadline is for the neighbours too, whose reader shares a busy machine with the server.
SETTINGS = {"SEND_TIMEOUT_S": 3, "SQLITE_LOOK_INTERVAL_S": 0.02, "RING_MESSAGES": 10}
SERVERS = ("daphne", "hypercorn", "gunicorn", "granian")


@pytest.fixture
def serve_http2(serve, tmp_path):
    """Return a coroutine that starts a server, and returns it and its URL of HTTP/2."""
    certificate, key = certificates.make(tmp_path)

    async def start(server, settings=SETTINGS):
        port = free_port()
        endpoint = f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        files = (f"--certfile={certificate}", f"--keyfile={key}")
        options = {
            "daphne": ("-e", endpoint),
            "hypercorn": ("-w", "0"),
            "gunicorn": ("-k", "asgi", "-w", "1", "--http-protocols", "h2", *files),
            "granian": (),
        }[server]
        process = await asyncio.to_thread(serve, server, options=options, settings=settings)
        urls = {"daphne": f"https://127.0.0.1:{port}", "gunicorn": f"https://{process.url[7:]}"}
        return process, urls.get(server, process.url)

    return start


async def memory_of(url):
    """Return the bytes that a server's process holds."""
    async with HTTP2Client(url) as client:
        page = client.get("/counters")
        await client.until(lambda: page.ended)
        return json.loads(page.body)["memory"]


async def publish(channel, stream, client, count, batch=10):
    """Publish messages of 100 kB, each batch once a stream has had the one before."""
    for _ in range(count // batch):
        had = len(stream.events)
        await channel.abroadcast_many(Message("big", "x" * 100_000) for _ in range(batch))
        await client.until(lambda had=had: len(stream.events) >= had + batch)
        stream.body = b""


@sqlite_only
async def test_a_stream_that_is_not_read_is_reset_and_its_neighbours_continue(
    database, serve_http2
):
    await site.side_by_side(partial(resets_what_is_not_read, serve_http2), SERVERS)


async def resets_what_is_not_read(serve_http2, server, turn):
    channel = await DatabaseChannel.acreate(server)
    path = await site.new_listener(channel)
    process, url = await serve_http2(server)
    await memory_of(url)
    async with HTTP2Client(url) as client:
        slow = [client.get(path, reads=False) for _ in range(3)]
        neighbour = client.get(path)
        await client.until(lambda: all(one.body for one in client.streams.values()))
        memory = await memory_of(url)
        async with turn:
            await publish(channel, neighbour, client, 120)
        if server == "granian":  # it has no way to reset one, and ends it after what it has
            await site.until(lambda: closed(process) == 3, 15)
            for one in slow:
                client.read_on(one)
            await client.until(lambda: all(one.ended or one.reset is not None for one in slow))
        else:
            await client.until(lambda: all(one.reset is not None for one in slow))
            assert not any(one.ended for one in slow)
        assert neighbour.reset is None
        # granian takes some writes more for each stream before it waits.
        grown = await memory_of(url) - memory
        assert grown < (64 if server == "granian" else 16) * MIB
        page = client.get("/counters")
        await client.until(lambda: page.ended)
        assert page.status == 200
        await publish(channel, neighbour, client, 10)
        assert len(neighbour.events) == 130
        log = process.log.read_text()
        assert log.count("reason=send timeout") == 3
        assert "Traceback" not in log


@sqlite_only
async def test_a_client_that_opens_every_window_and_reads_nothing_is_bounded(
    database, serve_http2
):
    await site.side_by_side(partial(bounds_open_windows, serve_http2), SERVERS[:3])


async def bounds_open_windows(serve_http2, server, turn):
    channel = await DatabaseChannel.acreate(server)
    path = await site.new_listener(channel)
    process, url = await serve_http2(server, {**SETTINGS, "HEARTBEAT_S": 1})
    await memory_of(url)
    async with HTTP2Client(url) as client, HTTP2Client(url, LARGEST_WINDOW) as deaf:
        neighbour = client.get(path)
        slow = [deaf.get(path) for _ in range(3)]
        await client.until(lambda: neighbour.body)
        await deaf.until(lambda: all(one.body for one in slow))
        async with turn:
            memory = await memory_of(url)
            deaf.stop_reading()
            await publish(channel, neighbour, client, 200)
            assert await memory_of(url) - memory < 24 * MIB
        await site.until(lambda: closed(process) == 3, 15)
    process.terminate()
    assert await asyncio.to_thread(process.wait, 10) < 6
    # hypercorn logs a traceback for a connection that the kernel gave up.
    assert server == "hypercorn" or "Traceback" not in process.log.read_text()


@sqlite_only
async def test_a_stream_that_must_end_is_reset_where_its_last_write_hangs(database, serve_http2):
    await site.side_by_side(partial(resets_what_must_end, serve_http2), SERVERS[:3])


async def resets_what_must_end(serve_http2, server, turn):
    channel = await DatabaseChannel.acreate(server)
    path = await site.new_listener(channel)
    settings = {"MAX_STREAM_AGE_S": 2, "SEND_TIMEOUT_S": 60, "SQLITE_LOOK_INTERVAL_S": 0.02}
    process, url = await serve_http2(server, settings)
    async with HTTP2Client(url) as client:
        slow = client.get(path, reads=False)
        await client.until(lambda: slow.body)
        await channel.abroadcast_many(Message("big", "x" * 100_000) for _ in range(10))
        await channel.abroadcast_many(Message("big", "x" * 100_000) for _ in range(10))
        await client.until(lambda: slow.reset is not None)
        assert not slow.ended
        await site.until(lambda: closed(process))
    assert "reason=age" in process.log.read_text()


@sqlite_only
async def test_a_monitor_that_is_not_read_is_reset(database, serve_http2, django_user_model):
    create = sync_to_async(django_user_model.objects.create_superuser)
    cookie = await session_of(await create("root", password="a"))
    await site.side_by_side(partial(resets_a_monitor, serve_http2, cookie), SERVERS[:2])


async def resets_a_monitor(serve_http2, cookie, server, turn):
    _, url = await serve_http2(server, {"SEND_TIMEOUT_S": 1})
    async with HTTP2Client(url, window=100) as client:
        page = client.get(f"/events/{PATH}", reads=False, cookie=cookie.decode())
        await client.until(lambda: page.status)
        assert page.status == 200
        await client.until(lambda: page.reset is not None)
        assert not page.ended
