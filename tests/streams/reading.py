"""A stream served into memory, and a channel whose streams are."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model

from eric_sse_django import notifier
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub
from eric_sse_django.log import DATABASE, Draft, Log, publishing
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener, LogHead
from eric_sse_django.streaming import Stream, Subscription
from tests.sse import Event, SSEReader

TIMEOUT_S = 5.0


class Reader:
    """
    The client and its server in one: serves a stream in a task, and reads what it writes.

    An async context manager. While `open` is cleared, no write returns.
    """

    # As uvicorn and Daphne can, and others cannot.
    writes_at_once = True

    def __init__(self, stream: Stream, channel: DatabaseChannel) -> None:
        self.stream, self.channel = stream, channel
        self.chunks: list[bytes] = []
        self.events: list[Event] = []
        self.reader = SSEReader()
        self.open = asyncio.Event()
        self.open.set()
        self.complete = False
        self._encode = channel.encode
        self._changed = asyncio.Event()
        self._entered = asyncio.Event()

    async def _serve(self) -> None:
        try:
            async with self.stream:
                self._entered.set()
                await self.stream.serve(self._write, self._encode, lambda: self._write_at_once)
        finally:
            self._entered.set()
            self._changed.set()

    async def _write(self, chunk: bytes, more: bool) -> None:
        self.chunks.append(chunk)
        self.events += self.reader.feed(chunk)
        self.complete = not more
        self._changed.set()
        await self.open.wait()

    def _write_at_once(self, chunk: bytes) -> bool:
        if not self.writes_at_once or not self.open.is_set():
            return False
        self.chunks.append(chunk)
        self.events += self.reader.feed(chunk)
        self._changed.set()
        return True

    async def __aenter__(self) -> Reader:
        self.task = asyncio.create_task(self._serve())
        await asyncio.wait_for(self._entered.wait(), TIMEOUT_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        (end,) = await asyncio.gather(self.task, return_exceptions=True)
        if isinstance(end, Exception):
            raise end

    @property
    def data(self) -> list[str]:
        """What came in events, as text."""
        return [event.data for event in self.events]

    @property
    def ids(self) -> list[int]:
        """The positions that came."""
        return [int(event.last_event_id) for event in self.events]

    async def until(self, condition: Any) -> None:
        """Return once condition() is true; looks after each write."""

        async def wait() -> None:
            while not condition():
                assert not self.task.done(), (self.stream.reason, self.chunks)
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(wait(), TIMEOUT_S)

    async def count(self, count: int) -> list[str]:
        """Return the data of all events once there are `count`."""
        await self.until(lambda: len(self.events) >= count)
        return self.data

    async def ended(self) -> str | None:
        """Return why it ended, once it has."""
        await asyncio.wait_for(asyncio.shield(self.task), TIMEOUT_S)
        return self.stream.reason


class Site:
    """A channel with its hub, and readers of it."""

    log: Log = DATABASE

    def __init__(self, channel: DatabaseChannel) -> None:
        self.channel = channel
        self._stack = AsyncExitStack()

    @property
    def hub(self) -> Hub:
        return Hub.for_running_loop()

    async def another(self, name: str) -> Site:
        """Return a Site of a new channel, with the same hub."""
        return Site(await DatabaseChannel.acreate(name))

    async def owner(self, name: str) -> Any:
        """Return the key of a new user."""
        return (await get_user_model().objects.acreate(username=name)).pk

    async def listener(self, owner: Any = None) -> Listener:
        """Return the row of a new running listener, of an owner or its key."""
        listener = await self.channel.aadd_listener(owner)
        await listener.astart()
        return listener.row

    async def save(self, listener: Listener) -> None:
        """Keep what was changed of a listener."""
        await listener.asave()

    async def refresh(self, listener: Listener) -> None:
        """Read the listener's cursor again, after the hub has written what waits."""
        await listener.arefresh_from_db()

    def stream(
        self, listener: Listener | None = None, last_event_id: int | None = None, **options: Any
    ) -> Stream:
        """Return a new stream, which is not open."""
        row: Channel = self.channel.row
        return Stream(self.hub, [Subscription(row, listener)], last_event_id, **options)

    async def read(
        self, listener: Listener | None = None, last_event_id: int | None = None, **options: Any
    ) -> Reader:
        """Return a reader of a new stream, attached; it ends with the test."""
        if listener is not None:
            await self.refresh(listener)
        stream = self.stream(listener, last_event_id, **options)
        return await self._stack.enter_async_context(Reader(stream, self.channel))

    # Publishing messages of type "n" ----------------------------------------------

    async def publish(self, *payloads: Any) -> None:
        """Publish payloads to all, in one transaction."""
        await self.append(*map(self._draft, payloads))

    async def publish_old(self, *payloads: Any) -> None:
        """Publish payloads to all, which the log's next trim removes."""
        await self.append(*(replace(self._draft(each), kept_s=-1.0) for each in payloads))

    async def dispatch(self, listener: Listener, *payloads: Any) -> None:
        """Publish payloads to one listener."""
        await self.append(*(self._draft(each, listener.pk) for each in payloads))

    async def dispatch_to_owner(self, owner: Any, payload: Any) -> None:
        """Publish to all listeners of an owner, by its key."""
        await self.append(self._draft(payload, owner=owner))

    async def control(self, listener: Listener, control: str) -> None:
        """Publish a control message to the open streams of a listener."""
        await self.append(publishing.control(listener, control))

    async def append(self, *drafts: Draft) -> None:
        """Append messages to the log; they get their positions, and the hub is woken."""
        await sync_to_async(notifier.publish)(drafts)

    def _draft(self, payload: Any, listener: int | None = None, owner: Any = None) -> Draft:
        return publishing.row(self.channel.row, Message("n", payload), listener, owner)

    async def flush(self) -> None:
        """Return once all that is published has a position."""
        await sync_to_async(notifier.flush)()

    async def at_head(self) -> int:
        """Return the hub's position once it has read all that is published."""
        await self.flush()
        await self.hub.ready()
        await self.hub.follower.look()
        return self.hub.follower.position

    async def trim(self) -> int:
        """Remove the messages whose retention has ended; return how many."""
        await self.flush()
        return await sync_to_async(self.log.trim)()

    async def lose_sight(self) -> None:
        """Make the hub find that something was removed which it had not read."""
        await LogHead.objects.aupdate(trimmed=self.hub.follower.position + 1)

    async def close(self) -> None:
        """End readers and hub."""
        await self._stack.aclose()
        await Hub.close_all()
