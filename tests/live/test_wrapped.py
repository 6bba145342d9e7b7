"""A middleware around the application takes no bound away, whatever its shape and the server."""

import asyncio
import time
from functools import partial

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.client import StreamClient
from tests.databases import sqlite_only
from tests.live import site
from tests.live.test_streams import closed

MIB = 1024**2
# Messages of 100 kB that wait for the client which reads nothing: Daphne would keep them all.
BATCHES, BATCH = 6, 20

WRAPPERS = (
    "closure",
    "wraps",
    "method",
    "object",
    "twice",
    "task",
    "opentelemetry",
    "sentry",
    "starlette",
)
OPTIONS = {"hypercorn": ("-w", "0"), "gunicorn": ("-k", "asgi", "-w", "1")}
CASES = {
    "daphne": WRAPPERS,
    "uvicorn": ("twice", "sentry", "task", "starlette"),
    "hypercorn": ("twice", "sentry"),
    "gunicorn": ("twice", "sentry", "task", "starlette"),
}


@sqlite_only
@pytest.mark.parametrize("server", CASES)
async def test_a_client_that_does_not_read_is_limited_and_disconnected_below_a_middleware(
    database, serve, server
):
    check = partial(is_limited_and_disconnected, serve, server)
    await site.side_by_side(check, CASES[server])


async def is_limited_and_disconnected(serve, server, wrapper, turn):
    """Check one server below a middleware, with its own channel."""
    channel = await DatabaseChannel.acreate(wrapper)
    path = await site.new_listener(channel)
    settings = {"SEND_TIMEOUT_S": 2, "SQLITE_LOOK_INTERVAL_S": 0.02, "RING_MESSAGES": 10}
    process = await asyncio.to_thread(
        serve,
        server,
        options=OPTIONS.get(server, ()),
        settings=settings,
        application="tests.live.wrapped:application",
        environment={"ERIC_SSE_TEST_WRAPPER": wrapper},
    )
    await site.counters(process)
    slow = await StreamClient.open(process.url + path, receive_buffer_bytes=4096)
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        async with turn:
            memory = (await site.counters(process))["memory"]
            for _ in range(BATCHES):
                await channel.abroadcast_many(Message("big", "x" * 100_000) for _ in range(BATCH))
                await client.events(BATCH)
                client.body = b""
            grown = (await site.counters(process))["memory"] - memory
        await site.until(lambda: closed(process), 15)
    log = process.log.read_text()
    assert "reason=send timeout" in log
    assert grown < 32 * MIB
    assert "guards of streams missing" not in log
    await slow.read_to_end(10)
    assert not slow.complete
    slow.close()
    began = time.monotonic()
    process.terminate()
    await asyncio.to_thread(process.wait, 10)
    assert time.monotonic() - began < 5
    assert "without completing" not in log


@sqlite_only
async def test_a_private_object_that_is_not_found_is_logged_once_with_its_reason(database, serve):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve(
        "hypercorn",
        options=OPTIONS["hypercorn"],
        application="tests.live.wrapped:application",
        environment={"ERIC_SSE_TEST_WRAPPER": "task"},
    )
    for _ in range(3):
        async with await StreamClient.open(process.url + path) as client:
            await client.until_body_has(b"ok")
    (line,) = [
        one for one in process.log.read_text().splitlines() if "guards" in one and "missing" in one
    ]
    assert "below the middleware" in line
