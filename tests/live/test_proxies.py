"""nginx as it is set up for other pages: it may compress, and it holds no stream back."""

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.monitor import PATH
from tests.client import StreamClient
from tests.databases import sqlite_only
from tests.live import site


async def passes_each_on_at_once(url):
    """Check that a proxy, which compresses pages, does not hold back the messages of a stream."""
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    headers = {"Accept-Encoding": "gzip"}
    page = {"Accept": "*/*", "Connection": "close", **headers}
    async with await StreamClient.open(f"{url}/counters", headers=page) as client:
        assert client.headers["content-encoding"] == "gzip"  # it is one that compresses
    async with await StreamClient.open(url + path, headers=headers) as client:
        assert client.headers.get("content-encoding", "identity") == "identity"
        await client.until_body_has(b"ok")
        for number in range(3):
            await channel.abroadcast(Message("number", number))
            assert (await client.event(2)).data == str(number)


@sqlite_only
@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
async def test_a_proxy_that_compresses_passes_each_message_on_at_once(
    database, serve, proxy, server
):
    await passes_each_on_at_once(proxy(serve(server)))


@sqlite_only
@pytest.mark.parametrize("server", ["daphne", "uvicorn", "hypercorn", "granian"])
async def test_a_prefix_that_the_proxy_keeps_is_djangos_script_name(
    database, serve, proxy, server
):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    options = {"hypercorn": ("-w", "0")}.get(server, ())
    environment = {"ERIC_SSE_TEST_SCRIPT_NAME": "/shop"}
    url = proxy(serve(server, options=options, environment=environment))
    async with await StreamClient.open(f"{url}/shop{path}") as client:
        await client.until_body_has(b"ok")
    # Django's own pages and the monitor are where the streams are.
    for at, status in (("/shop/counters", 200), (f"/shop/events/{PATH}", 403)):
        async with await StreamClient.open(url + at, headers={"Accept": "*/*"}) as client:
            assert client.status == status
