"""A worker that stops by itself, or by its parent's word, ends its streams as at SIGTERM."""

import asyncio
import contextlib
import signal
from functools import partial

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.client import StreamClient
from tests.databases import sqlite_only
from tests.live import site

DRAIN_S = 2
# Seconds until a worker is gone: its server looks once a second, streams get their last write,
# gunicorn waits half a second for its listening socket.
GONE_S = 8.0
LIMIT = 4

WORKERS = {
    "uvicorn": ("uvicorn", ("--limit-max-requests", str(LIMIT))),
    "uvicorn, h11": ("uvicorn", ("--limit-max-requests", str(LIMIT), "--http", "h11")),
    "hypercorn": ("hypercorn", ("-w", "0", "--max-requests", str(LIMIT))),
    "gunicorn's own": ("gunicorn", ("-k", "asgi", "-w", "1", "--max-requests", str(LIMIT))),
    "gunicorn's uvicorn": (
        "gunicorn",
        ("-k", "uvicorn.workers.UvicornWorker", "-w", "1", "--max-requests", str(LIMIT)),
    ),
}


async def assert_retry(client):
    """Assert that a client got a time to reconnect, and then its stream ended."""
    await client.read_to_end(GONE_S)
    assert client.complete
    assert 1_000 <= client.reader.retry_ms <= 1_000 * (1 + DRAIN_S)


@sqlite_only
async def test_a_worker_that_recycles_itself_ends_its_streams_first(database, serve):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    await site.side_by_side(partial(ends_its_streams_first, serve, path), WORKERS)


async def ends_its_streams_first(serve, path, worker, turn):
    server, options = WORKERS[worker]
    settings = {"DRAIN_S": DRAIN_S}
    process = await asyncio.to_thread(serve, server, options=options, settings=settings)
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        pids = {child.pid for child in process.children()} or {process.pid}
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # it refuses the last
            for _ in range(LIMIT + 1):
                await site.get(f"{process.url}/counters")
        await assert_retry(client)
        if server == "gunicorn":
            await site.until(lambda: not pids & {one.pid for one in process.children()}, GONE_S)
            async with await StreamClient.open(process.url + path) as again:
                await again.until_body_has(b"ok")
        else:
            assert await asyncio.to_thread(process.wait, GONE_S) < GONE_S
    log = process.log.read_text()
    assert "reason=draining" in log
    assert "timeout" not in log.lower()


@sqlite_only
async def test_hypercorns_workers_end_their_streams_when_their_parent_is_stopped(database, serve):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve("hypercorn", options=("-w", "1"), settings={"DRAIN_S": DRAIN_S})
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        process.terminate()
        await assert_retry(client)
        assert await asyncio.to_thread(process.wait, GONE_S) < GONE_S


@sqlite_only
async def test_gunicorns_worker_ends_at_once_though_a_client_does_not_read(database, serve):
    await site.side_by_side(partial(ends_at_once, serve), ["SIGTERM", "SIGHUP"])


async def ends_at_once(serve, by, turn):
    channel = await DatabaseChannel.acreate(by)
    path = await site.new_listener(channel)
    process = await asyncio.to_thread(
        serve,
        "gunicorn",
        options=("-k", "asgi", "-w", "1"),
        settings={"DRAIN_S": DRAIN_S, "SQLITE_LOOK_INTERVAL_S": 0.02},
    )
    slow = await StreamClient.open(process.url + path, receive_buffer_bytes=4096)
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        pids = {child.pid for child in process.children()}
        for _ in range(6):
            await channel.abroadcast_many(Message("big", "x" * 100_000) for _ in range(10))
            await client.events(10)
        process.process.send_signal(signal.Signals[by])
        await assert_retry(client)
        await site.until(lambda: not pids & {one.pid for one in process.children()}, GONE_S)
    slow.close()
    assert "Forcing close" not in process.log.read_text()
