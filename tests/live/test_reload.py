"""uvicorn's own process management: code that is reloaded, and several workers on one port."""

import asyncio
import os
import time
from contextlib import AsyncExitStack

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.databases import on, sqlite_only
from tests.event_source import EventSourceClient
from tests.live import site


@sqlite_only
async def test_uvicorn_reloads_under_open_streams(database, serve, tmp_path):
    module = tmp_path / "reloaded.py"
    module.write_text("# changes\n")
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve(
        "uvicorn",
        settings={"RETRY_MS": 100, "DRAIN_S": 0},
        options=["--reload", "--reload-dir", str(tmp_path), "--reload-delay", "0.1"],
    )
    async with EventSourceClient(process.url + path) as client:
        await site.until(lambda: client.statuses)
        await channel.abroadcast(Message("number", 0))
        await client.wait_for(1)
        later = time.time()
        while "Reloading" not in process.log.read_text():
            # More than once: the reloader must have seen the file as it was.
            later += 1
            os.utime(module, (later, later))
            await asyncio.sleep(0.3)
        await site.until(lambda: len(client.statuses) > 1, 20)
        await channel.abroadcast(Message("number", 1))
        await client.wait_for(2)
        assert [record.event.data for record in client.records] == ["0", "1"]
        assert set(client.statuses) == {200}


@on("sqlite", "postgres")
async def test_streams_on_two_workers_of_uvicorn_get_the_same(database, serve, redis_server):
    channel = await DatabaseChannel.acreate("orders")
    paths = [await site.new_listener(channel) for _ in range(12)]
    process = serve(
        "uvicorn", database=database, redis_port=redis_server.port, options=["--workers", "2"]
    )
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(EventSourceClient(process.url + path))
            for path in paths
        ]
        await site.until(lambda: all(client.statuses for client in clients), 20)
        for number in range(20):
            await site.get(f"{process.url}/publish/orders/{number}")
        for client in clients:
            await client.wait_for(20)
            assert [record.event.data for record in client.records] == list(map(str, range(20)))
        assert len({client.ids[0] for client in clients}) == 1
    process.terminate()
    process.wait()
