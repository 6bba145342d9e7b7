"""A link to the database that goes dark: nothing comes, not even an error."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from eric_sse_django import notifier, workers
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.health import examine
from eric_sse_django.hub import Hub
from eric_sse_django.hub import hub as hub_module
from eric_sse_django.message import Message
from eric_sse_django.models import Channel
from tests import databases
from tests.faults.proxy import Proxy
from tests.streams.asgi import Response, answer

DEADLINE_S = 0.3
TIMEOUT_S = 15.0


@pytest.fixture
def bounds(monkeypatch, fast_ticks):
    for name in ("READ_DEADLINE_S", "CALL_DEADLINE_S"):
        monkeypatch.setattr(hub_module, name, DEADLINE_S)
    monkeypatch.setattr(hub_module, "AWAY_S", 2 * DEADLINE_S)
    monkeypatch.setattr(workers, "ONE_MORE_S", DEADLINE_S)


async def until(condition):
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def complete(response):
    while not response.complete:
        await response.more()


async def publish(channel, payload):
    await sync_to_async(channel.broadcast)(Message("n", payload))
    assert await sync_to_async(notifier.flush)()


async def reconnected(application, path):
    """Return a stream that has an event: as clients do, open it again if asked to retry."""
    end = time.monotonic() + TIMEOUT_S
    while True:
        stream = await Response(application, path).__aenter__()
        while not (stream.events or stream.complete):
            await asyncio.wait_for(stream.more(), TIMEOUT_S)
        if stream.events:
            return stream
        await stream.__aexit__()
        assert time.monotonic() < end, stream.body


@databases.on("postgres", "mariadb")
async def test_streams_end_and_reconnect_though_the_link_stays_dark(
    database, application, bounds, settings, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "eric_sse_django")
    settings.ERIC_SSE = {"RETRY_MS": 200, "POLL_INTERVAL_S": 0.05}
    channel = await DatabaseChannel.acreate("orders")
    await Channel.objects.using(database).aupdate(access="everyone")
    await publish(channel, 0)  # the notifier's connection is not the proxy's
    async with Proxy(int(connections.settings[database]["PORT"])) as proxy:
        monkeypatch.setitem(connections.settings[database], "PORT", str(proxy.port))
        async with Response(application, "/events/orders/") as stream:
            await publish(channel, 1)
            assert (await stream.event()).data == "1"
            hub = Hub.for_running_loop()
            proxy.hold()
            await publish(channel, 2)
            await asyncio.wait_for(complete(stream), TIMEOUT_S)
            # The notifier hands it on by another connection, unless a look hangs at the time.
            assert [event.data for event in stream.events] in ([], ["2"])
            assert stream.reader.retry_ms >= 200
        assert "reason=database unavailable" in caplog.text
        for thread in ("hub", "records"):
            assert caplog.text.count(f"takes its place thread=eric-sse-{thread}") <= 1
        assert "takes its place thread=eric-sse-hub" in caplog.text
        [health] = examine(["hub"])
        assert not health.works
        away = await answer(application, "/events/orders/")  # asked to retry, and not kept
        assert (away.status, away.events, away.complete) == (200, [], True)
        assert sum(hub.counters.replaced.values()) >= 1
        # New connections pass again; those that are open stay dark.
        proxy.is_held = False
        await until(lambda: not hub.is_away())
        async with AsyncExitStack() as stack:
            stream = await reconnected(application, "/events/orders/?last_event_id=2")
            stack.push_async_exit(stream)
            assert (await asyncio.wait_for(stream.event(), TIMEOUT_S)).data == "2"
            await publish(channel, 3)
            assert (await asyncio.wait_for(stream.event(), TIMEOUT_S)).data == "3"
        assert "reading the log works again" in caplog.text
        proxy.cut()  # so that threads end that wait for a connection
        await Hub.close_all()
