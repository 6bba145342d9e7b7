"""A stream served into memory."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from asgiref.sync import sync_to_async

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub
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
        self.stream = stream
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

    def __init__(self, channel: DatabaseChannel) -> None:
        self.channel = channel
        self._stack = AsyncExitStack()

    @property
    def hub(self) -> Hub:
        return Hub.for_running_loop()

    async def listener(self, owner: Any = None) -> Listener:
        """Return the row of a new running listener."""
        listener = await self.channel.aadd_listener(owner)
        await listener.astart()
        return listener.row

    async def read(
        self, listener: Listener | None = None, last_event_id: int | None = None, **options: Any
    ) -> Reader:
        """Return a reader of a new stream, attached; it ends with the test."""
        row: Channel = self.channel.row
        if listener is not None:
            await listener.arefresh_from_db()
        stream = Stream(self.hub, [Subscription(row, listener)], last_event_id, **options)
        return await self._stack.enter_async_context(Reader(stream, self.channel))

    async def publish(self, *payloads: Any) -> None:
        """Publish payloads as messages of type "n", in one transaction."""
        await self.channel.abroadcast_many([Message("n", payload) for payload in payloads])

    async def at_head(self) -> int:
        """Return the hub's position once it has read all that is published."""
        from eric_sse_django import notifier

        await sync_to_async(notifier.flush)()
        await self.hub.ready()
        await self.hub.follower.look()
        return self.hub.follower.position

    async def lose_sight(self) -> None:
        """Make the hub find that something was removed which it had not read."""
        await LogHead.objects.aupdate(trimmed=self.hub.follower.position + 1)

    async def close(self) -> None:
        """End readers and hub."""
        await self._stack.aclose()
        await Hub.close_all()
