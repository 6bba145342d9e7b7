"""Leave that a third process takes back ends streams on two others, with and without Redis."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model

from eric_sse_django.authorization import make_ticket, revoke
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.client import StreamClient
from tests.databases import on
from tests.live import site

# Streams of one user on each process.
STREAMS = 20


async def opened(stack, process, path, count):
    clients = [
        await stack.enter_async_context(await StreamClient.open(process.url + path))
        for _ in range(count)
    ]
    for client in clients:
        await client.until_body_has(b"ok")
    return clients


@pytest.mark.parametrize("redis", [False, True], ids=["polling", "redis"])
@on("sqlite", "postgres", "mariadb")
async def test_streams_on_every_process_end_and_nothing_later_goes_out(
    database, serve, redis_server, redis, record_property, capsys
):
    channel = await DatabaseChannel.acreate("orders")
    owner = await get_user_model().objects.acreate(username="ada")
    mine = await site.new_listener(channel, owner)
    others = await site.new_listener(channel)
    watching = f"/events/orders/?ticket={make_ticket('orders', user=owner)}"
    port = redis_server.port if redis else None
    processes = [serve(name, database=database, redis_port=port) for name in ("daphne", "uvicorn")]
    async with AsyncExitStack() as stack:
        ending, staying = [], []
        for process in processes:
            ending += await opened(stack, process, mine, STREAMS // 2)
            ending += await opened(stack, process, watching, STREAMS // 2)
            staying += await opened(stack, process, others, 1)
        began = time.monotonic()
        await sync_to_async(revoke)(user=owner)
        await channel.abroadcast(Message("n", "later"))

        async def end(client):
            body = await client.read_to_end()
            return time.monotonic() - began, body

        ends = await asyncio.gather(*map(end, ending))
        for client in staying:
            assert (await client.event()).data == '"later"'
        for path in (mine, watching):
            again = await StreamClient.open(processes[0].url + path)
            assert again.status == 403
            await again.__aexit__(None, None, None)
    assert not any(b"later" in body for _, body in ends)
    slowest = max(seconds for seconds, _ in ends)
    record_property("slowest_s", round(slowest, 3))
    with capsys.disabled():
        print(f" [{len(ends)} streams ended within {slowest:.2f} s]", end="")
