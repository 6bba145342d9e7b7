"""One stream: where it starts, backlog, live, heartbeat, limits, end."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from django.db import Error as DatabaseError

from eric_sse_django import conf, log, wire
from eric_sse_django.entry import STOP, Entry
from eric_sse_django.hub import Batch, Hub, ReadLimit
from eric_sse_django.models import Channel, Listener

logger = logging.getLogger(__name__)

# Rows of backlog read at once for one stream; fewer where messages are large.
BACKLOG_ROWS = 1_000

Encode = Callable[[Entry], bytes]


class Stream:
    """
    One reader of a channel: a listener's, or (without one) a watcher's.

    Use it as an async context manager; it is attached to the running loop's hub in
    between. Memory is bounded: what does not fit is dropped, and read again from the log.
    """

    def __init__(
        self,
        hub: Hub,
        channel: Channel,
        listener: Listener | None = None,
        last_event_id: int | None = None,
        ends_at: float | None = None,
    ) -> None:
        """`ends_at` is the time.monotonic() at which it ends, were it younger than its age."""
        self.channel: int = channel.pk
        self.listener: int | None = listener.pk if listener else None
        self.owner: Any = listener.owner_id if listener else None
        self.reason: str | None = None
        self.behind = True
        self.on_abort: Callable[[], object] | None = None
        self._hub = hub
        self._start = listener.start if listener else 0
        self._asked = last_event_id
        self._stored = listener.cursor if listener else None
        self._pending: deque[Batch] = deque()
        self._pending_messages = self._pending_bytes = 0
        self._most_messages: int = conf.get("STREAM_BUFFER_MESSAGES")
        self._most_bytes: int = conf.get("STREAM_BUFFER_BYTES")
        self._limit = ReadLimit(self._most_bytes, BACKLOG_ROWS)
        self._waiter: asyncio.Future[None] | None = None
        self._heartbeat_s: float = conf.get("HEARTBEAT_S")
        self._send_timeout_s: float = conf.get("SEND_TIMEOUT_S")
        age = conf.get("MAX_STREAM_AGE_S") * random.uniform(0.8, 1)
        self._ends_at = min(time.monotonic() + age, ends_at or float("inf"))
        self._silent_since = time.monotonic()
        self._sending = False
        self._beat = False
        self.sent = 0

    # Where it starts, and its end -----------------------------------------------

    async def __aenter__(self) -> Stream:
        """Attach it at its first position: Last-Event-ID, else the cursor, else now."""
        tail = self._hub.tail
        await self._hub.ready()
        if self.listener is not None:
            self._stored = max(self._stored or 0, self._hub.unwritten(self.listener))
        newest = max(self._asked or 0, self._stored or 0)
        if newest > tail.position:
            await tail.look()  # the client was served by a process that is ahead of us
        self._hub.attach(self)
        self._seen()
        if self._hub.draining:
            self.end("draining")
        self.attached_at = tail.position
        first = self._asked if self._asked is not None else self._stored
        if first is None:
            first = tail.position
        self.cursor = self._marked = min(max(first, self._start), tail.position)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the hub. Never waits, and may be called twice."""
        self.end("closed")
        self._hub.detach(self)
        self._seen()
        self._pending.clear()

    def end(self, reason: str) -> None:
        """Have it end before its next message; the first reason counts."""
        if self.reason is None:
            self.reason = reason
            self._wake()

    def abort(self, reason: str) -> None:
        """Have it end also amid a write that does not return."""
        self.end(reason)
        if self._sending and self.on_abort is not None:
            self.on_abort()

    # What the hub calls ---------------------------------------------------------

    def push(self, batch: Batch) -> None:
        """Take what comes next; beyond the bounds, drop it all and read the log again."""
        first = batch.entries[0]
        if first.type == STOP:
            self.end("stopped")
        if self.behind or self.reason is not None:
            return
        self._pending.append(batch)
        self._pending_messages += len(batch.entries)
        self._pending_bytes += batch.size
        if (
            self._pending_messages > self._most_messages or self._pending_bytes > self._most_bytes
        ) and len(self._pending) > 1:
            self.fall_back()
        self._wake()

    def fall_back(self) -> None:
        """Drop what waits, and read the log from the cursor."""
        self._clear()
        self.behind = True
        self._wake()

    def on_tick(self, now: float) -> None:
        """End it when it is old or stuck in a write; have a heartbeat sent when it was silent."""
        if now >= self._ends_at:
            self.end("age")
        if now - self._silent_since >= (
            self._send_timeout_s if self._sending else self._heartbeat_s
        ):
            if self._sending:
                self.abort("send timeout")
            else:
                self._beat = True
                self._wake()

    # What its reader calls ------------------------------------------------------

    async def chunks(self, encode: Encode) -> AsyncIterator[bytes]:
        """Yield the bytes to write: opening, frames and heartbeats, farewell."""
        retry_ms: int = conf.get("RETRY_MS")
        yield wire.opening(int(retry_ms * random.uniform(1, 1.5)), self.cursor)
        while (batches := await self._next()) is not None:
            self._sending, self._silent_since = True, time.monotonic()
            yield self._bytes(batches, encode)
            self._written()
        if self.reason in ("draining", "hub closed"):
            yield wire.farewell(drain_retry_ms())
        elif self.reason in ("age", "stopped"):
            yield wire.farewell(int(retry_ms * random.uniform(0.1, 1)))

    async def entries(self) -> AsyncIterator[Entry]:
        """Yield the entries, one by one; each counts as served."""
        while (batches := await self._next()) is not None:
            for batch in batches:
                for entry in batch.entries:
                    self._serve(entry.position)
                    yield entry
                    if self.reason is not None:
                        return

    def _bytes(self, batches: list[Batch], encode: Encode) -> bytes:
        if not batches:
            return self._heartbeat()
        self.sent += sum(len(batch.entries) for batch in batches)
        self._marked = self.cursor
        if len(batches) == 1:
            return batches[0].chunk(encode)
        return b"".join([batch.chunk(encode) for batch in batches])

    def _heartbeat(self) -> bytes:
        """Return a comment, or the log's position where the client's id has left the ring."""
        tail = self._hub.tail
        if self.behind or self._pending or self._marked >= tail.feed_of(self.channel).floor:
            return wire.HEARTBEAT
        self.cursor = self._marked = tail.position
        return wire.mark(tail.position)

    def _written(self) -> None:
        self._sending = self._beat = False
        self._silent_since = time.monotonic()
        self._serve(self.cursor)

    def _serve(self, position: int) -> None:
        if self.listener is not None and position > (self._stored or 0):
            self._stored = position
            self._hub.reached(self.listener, position)

    def _seen(self) -> None:
        if self.listener is not None:
            self._hub.reached(self.listener, 0)

    # Backlog and live, on one road ------------------------------------------------

    async def _next(self) -> list[Batch] | None:
        """Return what waits, oldest first; [] when a heartbeat is due, None at the end."""
        while self.reason is None:
            if self.behind:
                batch = await self._catch_up()
                if batch is not None:
                    return [batch]
            elif self._pending:
                batches = list(self._pending)
                self._clear()
                self.cursor = batches[-1].position
                return batches
            elif self._beat:
                self._beat = False
                return []
            else:
                await self._wait()
        return None

    async def _catch_up(self) -> Batch | None:
        """Return what follows the cursor; go live where memory reaches back to it."""
        tail = self._hub.tail
        entries = tail.feed_of(self.channel).since(self.cursor, self.listener, self.owner)
        if entries is not None:
            # No await between the ring and going live: nothing can come in between.
            self.behind = False
            reached = tail.position
        else:
            target, rows = tail.position, self._limit.rows
            try:
                found = await self._hub.run(
                    log.read, self.channel, self.listener, self.owner, self.cursor, target, rows
                )
            except DatabaseError:
                await tail.look()  # returns when the database is back; the tail tells of it
                return None
            entries = self._limit.fit(found)
            complete = len(found) < rows and len(entries) == len(found)
            reached = target if complete else entries[-1].position
        self.cursor = max(self.cursor, reached)
        kept = [entry for entry in entries if not self._stops_at(entry)]
        return Batch(kept) if kept else None

    def _stops_at(self, entry: Entry) -> bool:
        """Whether the entry is no message; if it came after this stream, end the stream."""
        if entry.type != STOP:
            return False
        if entry.position > self.attached_at:
            self.end("stopped")
        return True

    def _clear(self) -> None:
        self._pending.clear()
        self._pending_messages = self._pending_bytes = 0

    async def _wait(self) -> None:
        # A plain future: asyncio.wait_for in each stream made the p99 of 1,000
        # streams 86 ms instead of 17.
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def drain_retry_ms() -> int:
    """Return milliseconds after which to come back: spread over DRAIN_S, so that no herd does."""
    return 1_000 + int(random.random() * 1_000 * conf.get("DRAIN_S"))
