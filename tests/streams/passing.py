"""A hub whose log is in memory, and what passes segments on to it."""

import asyncio
import contextlib
import json

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub
from eric_sse_django.log import Draft, MemoryLog
from eric_sse_django.models import Channel
from eric_sse_django.notifier import Notifier
from eric_sse_django.streaming import Stream, Subscription
from tests.streams.memory import MemoryRecords
from tests.streams.reading import Reader

TIMEOUT_S = 5.0


class CountingLog(MemoryLog):
    """Counts the looks; `before_answer` is called on the thread of one, before it returns."""

    def __init__(self):
        super().__init__()
        self.looks = 0
        self.found = []  # the positions that looks have found
        self.before_answer = lambda: None

    def look(self, known, channels, limit, /):
        found = super().look(known, channels, limit)
        self.looks += 1
        self.found += [entry.position for entry in found.entries]
        self.before_answer()
        return found


@contextlib.asynccontextmanager
async def hub_of(memory):
    """A hub that reads nothing but for a reason; the tests sequence, and pass on."""
    its_notifier = Notifier(memory)
    its_notifier.ring = lambda: None
    hub = Hub(asyncio.get_running_loop(), memory, lambda: its_notifier)
    hub.records = MemoryRecords(hub, {})
    await hub.ready()
    await hub.follower.look()
    memory.looks = 0
    yield hub
    await hub.close()
    its_notifier.close()


@pytest.fixture
def memory():
    return CountingLog()


@pytest.fixture
async def hub(memory, settings):
    settings.ERIC_SSE = {**getattr(settings, "ERIC_SSE", {}), "POLL_INTERVAL_S": 60}
    async with hub_of(memory) as hub:
        yield hub


def draft(payload, channel=1, type="n", **to):
    return Draft(channel, 60.0, False, type, json.dumps(payload), **to)


def sequenced(memory, *drafts):
    """Append messages, and return what was passed on when they got their positions."""
    memory.append(drafts)
    handed_on = []
    memory.sequence(handed_on.append)
    return handed_on[0]


def client(hub, *channels, listener=None, last_event_id=None):
    rows = [Channel(pk=channel) for channel in channels or (1,)]
    subscriptions = [Subscription(row, listener) for row in rows]
    stream = Stream(hub, subscriptions, last_event_id, as_of=hub.follower.position)
    return Reader(stream, DatabaseChannel(Channel(pk=1)))


async def received(client, *payloads):
    assert list(map(json.loads, await client.count(len(payloads)))) == list(payloads)


async def until(condition):
    deadline = asyncio.get_running_loop().time() + TIMEOUT_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.001)


async def live(hub, client):
    """Wait until a stream waits for the next message, and nothing is read."""
    await until(lambda: client.stream.reader.is_idle())
    await hub.follower.look()
    hub.follower._log.looks = 0
