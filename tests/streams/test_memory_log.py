"""A hub on a log in memory: streams need no database for their messages."""

import asyncio
import json

import pytest

from eric_sse_django import wire
from eric_sse_django.hub import Hub
from eric_sse_django.hub.records import Cursors
from eric_sse_django.log import Draft, MemoryLog
from eric_sse_django.models import Channel, Listener
from eric_sse_django.streaming import Stream, Subscription
from tests.sse import SSEReader

TIMEOUT_S = 5.0

encode = wire.channel_encoder(as_text=False)


class Client:
    """Serves a stream in a task, and reads what it writes."""

    def __init__(self, stream):
        self.stream = stream
        self.events = []
        self._reader = SSEReader()
        self._changed = asyncio.Event()

    async def _serve(self):
        async with self.stream:
            await self.stream.serve(self._write, encode)

    async def _write(self, chunk, more):
        self.events += self._reader.feed(chunk)
        self._changed.set()

    async def __aenter__(self):
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def read(self, count):
        """Return the types and data of the first `count` events, once they are there."""
        while len(self.events) < count:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), TIMEOUT_S)
        return [(event.type, event.data) for event in self.events]


class NoRecords:
    """Cursors and presence, which are rows, of a hub without a database."""

    waits = False

    def __init__(self):
        self.cursors = Cursors()

    def opened(self, stream):
        pass

    def ended(self, stream):
        pass

    def due(self, now):
        return False

    def retire(self):
        pass

    async def close(self):
        pass


@pytest.fixture
def memory():
    return MemoryLog()


@pytest.fixture
async def hub(memory):
    hub = Hub(asyncio.get_running_loop(), log=memory)
    hub.records = NoRecords()
    await hub.ready()
    yield hub
    await hub.close()


def publish(memory, hub, *payloads, **to):
    memory.append([Draft(1, 60.0, False, "n", json.dumps(each), **to) for each in payloads])
    memory.sequence()
    hub.wake()


def stream(hub, listener=None, last_event_id=None):
    return Stream(
        hub,
        [Subscription(Channel(pk=1), listener)],
        last_event_id,
        as_of=hub.follower.position,
    )


async def test_a_watcher_gets_broadcasts_as_they_come(memory, hub):
    async with Client(stream(hub)) as client:
        await hub.follower.look()
        publish(memory, hub, 1, 2)
        publish(memory, hub, "not for all", listener=7)
        publish(memory, hub, 3)
        assert await client.read(3) == [("n", "1"), ("n", "2"), ("n", "3")]


async def test_a_client_that_reconnects_gets_what_it_missed(memory, hub):
    publish(memory, hub, 1)
    await hub.follower.look()
    first = memory.head().position
    publish(memory, hub, 2)
    publish(memory, hub, 3, listener=7)
    await hub.follower.look()
    listener = Listener(pk=7, channel_id=1, running=True, start=0, cursor=first)
    async with Client(stream(hub, listener, first)) as client:
        assert await client.read(2) == [("n", "2"), ("n", "3")]
