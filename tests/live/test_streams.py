"""One stream on each of the ASGI servers: first bytes, leaving, reconnecting, draining."""

import asyncio
import time

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.client import StreamClient
from tests.databases import on, sqlite_only
from tests.live import site
from tests.live.asgi_servers import SERVERS
from tests.patience import NO_POLL_S

pytestmark = [pytest.mark.versions, pytest.mark.parametrize("server", SERVERS)]

# hypercorn's worker processes never get a signal: their parent keeps it for itself.
OPTIONS = {"hypercorn": ["-w", "0"]}


def closed(process):
    return process.log.read_text(errors="replace").count("stream closed")


@sqlite_only
async def test_the_first_bytes_are_sent_at_once_and_a_disconnect_is_noticed(
    database, serve, server
):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve(server, options=OPTIONS.get(server, ()))
    began = time.monotonic()
    async with await StreamClient.open(process.url + path) as client:
        assert client.status == 200
        assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
        await client.until_body_has(b"\n\n")
        assert time.monotonic() - began < 1
        assert client.reader.retry_ms >= 3_000
        assert client.reader.comments == [" ok heartbeat=15"]
        client.abort() if server == "granian" else client.close()
        await site.until(lambda: closed(process), 1)
    await asyncio.sleep(0.05)
    assert closed(process) == 1
    assert "reason=client left" in process.log.read_text()


@sqlite_only
async def test_another_process_is_noticed_by_its_files_only(database, serve, server):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    settings = {"POLL_INTERVAL_S": NO_POLL_S, "HEARTBEAT_S": NO_POLL_S}
    process = serve(server, options=OPTIONS.get(server, ()), settings=settings)
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        await channel.abroadcast(Message("paid", {"id": 1}))
        event = await client.event()
        assert (event.type, event.data) == ("paid", '{"id":1}')


@on("postgres")
async def test_another_process_is_noticed_through_redis(database, serve, server, redis_server):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve(
        server,
        options=OPTIONS.get(server, ()),
        database=database,
        redis_port=redis_server.port,
        settings={"POLL_INTERVAL_S": NO_POLL_S},
    )
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        publishing = await site.publisher(process, channel, 3, 0.1)
        events = await client.events(3)
        assert [event.data for event in events] == ["0", "1", "2"]
        await publishing.wait()


@sqlite_only
async def test_reconnecting_with_the_last_id_repeats_and_loses_nothing(database, serve, server):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve(server, options=OPTIONS.get(server, ()))
    async with await StreamClient.open(process.url + path) as client:
        await channel.abroadcast_many(Message("number", n) for n in range(5))
        seen = await client.events(3)
    await channel.abroadcast_many(Message("number", n) for n in range(5, 8))
    last = seen[-1].last_event_id
    async with await StreamClient.open(process.url + path, last_event_id=last) as client:
        events = await client.events(5)
        assert [event.data for event in events] == ["3", "4", "5", "6", "7"]


@sqlite_only
async def test_sigterm_drains(database, serve, server):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve(server, options=OPTIONS.get(server, ()))
    clients = [await StreamClient.open(process.url + path) for _ in range(20)]
    for client in clients:
        await client.until_body_has(b"ok")
    process.terminate()
    for client in clients:
        await client.read_to_end()
        assert client.complete, client.body
        assert 1_000 <= client.reader.retry_ms <= 6_000
        client.close()
    assert len({client.reader.retry_ms for client in clients}) > 10
    assert await asyncio.to_thread(process.wait, 10) < 5
    assert closed(process) == 20
    assert "never retrieved" not in process.log.read_text()
    assert "Traceback" not in process.log.read_text()


@sqlite_only
async def test_a_client_that_stalls_is_disconnected_and_delays_no_other(database, serve, server):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    settings = {"SEND_TIMEOUT_S": 1, "SQLITE_LOOK_INTERVAL_S": 0.02}
    process = serve(server, options=OPTIONS.get(server, ()), settings=settings)
    memory = (await site.counters(process))["memory"]
    slow = await StreamClient.open(process.url + path, receive_buffer_bytes=4096)
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        for _ in range(60):
            await channel.abroadcast_many(Message("big", "x" * 100_000) for _ in range(10))
            await client.events(10)
            client.body = b""
        # 60 MB were published, and nothing waits for a reader: the ring buffer has 4 (as
        # text and as frames), a stream's buffer 1.
        assert (await site.counters(process))["memory"] - memory < 32 * 1024**2
        await site.until(lambda: closed(process), 5)
        assert "reason=send timeout" in process.log.read_text()
        await slow.read_to_end(10)
        assert len(slow.body) < 20_000_000
        assert not slow.complete
        slow.close()
    process.terminate()
    assert await asyncio.to_thread(process.wait, 10) < 6
