"""Other processes of a site: WSGI ones that publish, runserver that reloads; its middleware."""

import asyncio
import json
import os
import time

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.client import StreamClient
from tests.databases import on, sqlite_only
from tests.event_source import EventSourceClient
from tests.live import site
from tests.live.asgi_servers import SERVERS


@on("sqlite", "postgres")
async def test_a_wsgi_process_publishes_while_an_asgi_process_streams(
    database, serve, redis_server
):
    redis_port = None if database == "default" else redis_server.port
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    publishing = serve("wsgiref", database=database, redis_port=redis_port)
    streaming = serve("daphne", database=database, redis_port=redis_port)
    async with await StreamClient.open(streaming.url + path) as client:
        await client.until_body_has(b"ok")
        for number in range(3):
            await site.get(f"{publishing.url}/publish/orders/{number}")
            assert (await client.event(1)).data == str(number)


@sqlite_only
async def test_runserver_streams_again_after_a_reload(database, serve, tmp_path):
    module = tmp_path / "reloaded.py"
    module.write_text("def middleware(get_response):\n    return get_response\n")
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve(
        "runserver",
        settings={"RETRY_MS": 100},
        environment={
            "PYTHONPATH": os.pathsep.join([os.getcwd(), str(tmp_path)]),
            "ERIC_SSE_TEST_MIDDLEWARE": json.dumps(["reloaded.middleware"]),
        },
    )
    async with EventSourceClient(process.url + path) as client:
        await site.until(lambda: client.statuses)
        await channel.abroadcast(Message("number", 0))
        await client.wait_for(1)
        for tries in range(1, 20):
            # More than once: the reloader must have seen the file as it was.
            os.utime(module, (time.time() + tries, time.time() + tries))
            await asyncio.sleep(1)
            if len(client.statuses) > 1:
                break
        await channel.abroadcast(Message("number", 1))
        await client.wait_for(2)
        assert [record.event.data for record in client.records] == ["0", "1"]
        assert set(client.statuses) == {200}
    assert process.log.read_text().count("Starting ASGI/Daphne") > 1


@sqlite_only
@pytest.mark.parametrize("server", SERVERS)
async def test_middleware_delays_no_event(database, serve, server):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    gzip = json.dumps(["django.middleware.gzip.GZipMiddleware"])
    process = serve(server, environment={"ERIC_SSE_TEST_MIDDLEWARE": gzip})
    await channel.abroadcast(Message("paid", 1))
    began = time.monotonic()
    headers = {"Accept-Encoding": "gzip"}
    async with await StreamClient.open(process.url + path, headers=headers) as client:
        event = await client.event()
        assert time.monotonic() - began < 3  # held back, it would not come at all
        assert client.headers["content-encoding"] == "identity"
        assert event.data == "1"
