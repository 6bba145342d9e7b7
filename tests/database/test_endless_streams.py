"""
A worker in Python reads on: through the age of HTTP streams, outages, and operators.

Each reason for which a stream may end has its test; it ends when the listener is stopped or
removed, and else raises.
"""

import asyncio
import threading
import time

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connections

from eric_sse_django import conf, log
from eric_sse_django.authorization import revoke
from eric_sse_django.database import DatabaseChannel, operations
from eric_sse_django.exception import StreamEnded
from eric_sse_django.hub import End, Hub
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.models import Listener
from tests import databases
from tests.contract import count, rest, soon, take

pytestmark = databases.sqlite_only


@pytest.fixture(params=["listener", "own listener", "watcher", "client acknowledges"])
async def stream(request, channel, call):
    """Return a stream that has yielded one event, and waits."""
    if request.param == "watcher":
        stream = await channel.watch()
    else:
        if request.param == "own listener":
            listener = MessageQueueListener("till-7")
            listener.start()
            await call(channel.register_listener, listener)
        else:
            listener = await call(channel.add_listener)
            await call(listener.start)
            if request.param == "client acknowledges":
                await Listener.objects.aupdate(acknowledgement="client")
        stream = channel.message_stream(listener)
    await call(channel.broadcast, count(0))
    assert await take(stream, 1) == [("count", 0)]
    yield stream
    await soon(stream.aclose())


async def ended_once(hub, reason, streams=1):
    """End the hub's streams for a reason; wait until they ended."""
    assert len(hub.streams) == streams
    before = set(hub.streams)
    for each in before:
        each.end(reason)

    async def seen():
        while before & Hub.for_running_loop().streams:
            await asyncio.sleep(0.001)

    await soon(seen())


@pytest.mark.parametrize("reason", [end for end in End if end.resumes])
async def test_it_continues_after_its_last_message(stream, channel, call, reason):
    waiting = asyncio.ensure_future(take(stream, 2))
    await asyncio.sleep(0)
    await ended_once(Hub.for_running_loop(), reason)
    await call(channel.broadcast, count(1))
    await call(channel.broadcast, count(2))
    assert await soon(waiting) == [("count", 1), ("count", 2)]


async def test_it_has_no_age(stream, channel, call):
    waiting = asyncio.ensure_future(take(stream, 1))
    await asyncio.sleep(0)
    [served] = Hub.for_running_loop().streams
    served.on_tick(time.monotonic() + 1_000 * conf.get("MAX_STREAM_AGE_S"))
    assert served.reason is None
    await call(channel.broadcast, count(1))
    assert await soon(waiting) == [("count", 1)]


async def test_it_continues_with_another_hub(stream, channel, call):
    waiting = asyncio.ensure_future(take(stream, 1))
    await asyncio.sleep(0)
    await soon(Hub.close_all())
    await call(channel.broadcast, count(1))
    assert await soon(waiting) == [("count", 1)]


async def test_it_continues_when_the_database_is_available_again(
    stream, channel, call, monkeypatch
):
    away = threading.Event()
    wrapper = type(connections[log.database()])
    execute = wrapper.create_cursor

    def refuse(self, *args):
        if away.is_set() and threading.current_thread().name.startswith("eric-sse"):
            raise OperationalError("away")
        return execute(self, *args)

    monkeypatch.setattr(wrapper, "create_cursor", refuse)
    waiting = asyncio.ensure_future(take(stream, 1))
    await asyncio.sleep(0)
    away.set()
    await ended_once(Hub.for_running_loop(), End.DATABASE_UNAVAILABLE)
    await call(channel.broadcast, count(1))
    assert not waiting.done()
    away.clear()
    assert await soon(waiting) == [("count", 1)]


async def test_an_operators_disconnect_does_not_end_it(channel, listener, call):
    stream = channel.message_stream(listener)
    await call(channel.broadcast, count(0))
    assert await take(stream, 1) == [("count", 0)]
    await call(operations.disconnect, [listener.row])
    await call(channel.broadcast, count(1))
    assert await take(stream, 1) == [("count", 1)]
    await soon(stream.aclose())


async def test_it_acknowledges_nothing_for_a_client_that_acknowledges(channel, listener, call):
    await Listener.objects.aupdate(acknowledgement="client")
    stream = channel.message_stream(listener)
    await call(channel.broadcast, count(0))
    assert await take(stream, 1) == [("count", 0)]
    await call(channel.broadcast, count(1))
    waiting = asyncio.ensure_future(take(stream, 1))
    await ended_once(Hub.for_running_loop(), End.HUB_CLOSED)
    assert await soon(waiting) == [("count", 1)]
    await soon(stream.aclose())
    row = await Listener.objects.aget()
    assert row.cursor == row.start


async def test_it_ends_when_its_listener_is_stopped_in_an_outage(channel, call):
    own = MessageQueueListener("till-7")
    own.start()
    await call(channel.register_listener, own)
    stream = channel.message_stream(own)
    await call(channel.broadcast, count(0))
    assert await take(stream, 1) == [("count", 0)]
    waiting = asyncio.ensure_future(rest(stream))
    await asyncio.sleep(0)
    await ended_once(Hub.for_running_loop(), End.DATABASE_UNAVAILABLE)
    own.stop()
    assert await soon(waiting) == []


async def test_it_ends_with_an_error_when_its_listener_is_removed(channel, listener, call):
    stream = channel.message_stream(listener)
    await call(channel.broadcast, count(0))
    assert await take(stream, 1) == [("count", 0)]
    await call(channel.remove_listener, listener.id)
    [(kind, text)] = await rest(stream)
    assert kind == "error"
    assert listener.id in text


async def test_it_ends_with_an_error_when_its_channel_is_removed(stream, channel, call):
    await call(channel.row.delete)
    [(kind, text)] = await rest(stream)
    assert kind == "error"
    assert "orders" in text


async def test_a_stop_is_its_end_also_when_it_is_started_again_at_once(channel, listener, call):
    stream = channel.message_stream(listener)
    await call(channel.broadcast, count(0))
    assert await take(stream, 1) == [("count", 0)]
    elsewhere = (await DatabaseChannel.aload("orders")).get_listener
    other = await call(elsewhere, listener.id)
    await call(other.stop)
    await call(other.start)
    assert await rest(stream) == []


async def test_it_raises_when_access_is_revoked(channel, call):
    ada = await User.objects.acreate(username="ada")
    listener = await call(channel.add_listener, ada)
    await call(listener.start)
    stream = channel.message_stream(listener)
    await call(channel.broadcast, count(0))
    assert await take(stream, 1) == [("count", 0)]
    await call(lambda: revoke(user=ada))
    with pytest.raises(StreamEnded, match="revoked"):
        await rest(stream)


async def test_it_ends_with_an_error_when_its_owner_is_deleted(channel, call):
    ada = await User.objects.acreate(username="ada")
    listener = await call(channel.add_listener, ada)
    await call(listener.start)
    stream = channel.message_stream(listener)
    await call(channel.broadcast, count(0))
    assert await take(stream, 1) == [("count", 0)]
    await ada.adelete()
    [(kind, text)] = await rest(stream)
    assert kind == "error"
    assert listener.id in text


async def test_it_raises_when_the_process_shuts_down(stream):
    Hub.for_running_loop().drain()
    with pytest.raises(StreamEnded, match="draining"):
        await rest(stream)


async def test_a_watch_continues_when_access_over_http_is_narrowed(channel, call):
    stream = await channel.watch()
    await call(channel.broadcast, count(0))
    assert await take(stream, 1) == [("count", 0)]
    channel.row.access = "everyone"
    await call(channel.row.save)
    channel.row.access = "ticket"
    await call(channel.row.save)
    await call(channel.broadcast, count(1))
    assert await take(stream, 1) == [("count", 1)]
    await soon(stream.aclose())


async def test_a_replay_while_it_was_disconnected_is_applied(channel, listener, call):
    stream = channel.message_stream(listener)
    await call(channel.broadcast, count(0))
    await call(channel.broadcast, count(1))
    assert await take(stream, 2) == [("count", 0), ("count", 1)]
    hub = Hub.for_running_loop()
    await soon(hub.records.write())
    for each in tuple(hub.streams):
        each.end(End.HUB_CLOSED)
    row = await Listener.objects.aget()
    await Listener.objects.aupdate(cursor=row.start, replays=row.replays + 1)
    assert await take(stream, 2) == [("count", 0), ("count", 1)]
    await soon(stream.aclose())
