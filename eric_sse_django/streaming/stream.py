"""One stream: how a follower's messages reach its reader, until one of them ends it."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from django.db import Error as DatabaseError

from eric_sse_django import conf, log, wire
from eric_sse_django.entry import Entry
from eric_sse_django.hub import Batch, Hub
from eric_sse_django.models import Listener
from eric_sse_django.streaming.clock import Clock
from eric_sse_django.streaming.follower import Follower
from eric_sse_django.streaming.part import Part

Encode = Callable[[Entry], bytes]
Write = Callable[[bytes, bool], Awaitable[None]]


class Stream(Follower):
    """
    One reader of a channel, or of several: a listener's, or a watcher's.

    It is attached to the running loop's hub between open() and close(), or as an async context
    manager. Then either serve() it, or take its entries().
    """

    def __init__(
        self,
        hub: Hub,
        parts: Sequence[Part],
        last_event_id: int | None = None,
        ends_at: float | None = None,
        as_of: int | None = None,
        subjects: frozenset[str] = frozenset(),
    ) -> None:
        """
        `ends_at` is the time.monotonic() at which it ends, were it younger than its age.

        `as_of` is the hub's position before the listeners were looked up: where it is the same
        when the stream begins, no stop can have been missed, and a query is saved.

        `subjects` are those whose revocation ends it, beside its listeners and their owners.
        """
        super().__init__(hub, parts, last_event_id)
        self.due_at = 0.0
        self.was_cut = False
        self.sent = 0
        self._as_of = as_of
        self._subjects = subjects
        self._marked = 0
        self._clock = Clock(ends_at)
        self._writer: asyncio.Task[Any] | None = None

    # Its beginning and its end ----------------------------------------------------

    async def __aenter__(self) -> Stream:
        return await self.open()

    async def open(self) -> Stream:
        """Attach it at its first position: Last-Event-ID, else the cursor, else now."""
        await self._hub.ready()
        await self._find_start()
        self._marked = self.cursor
        self._hub.attach(self)
        self._note(acknowledged=self._asked is not None)
        if self._obeyed != self._as_of:
            try:
                await self._check_since()
            except BaseException:
                self.close()
                raise
        return self

    async def _check_since(self) -> None:
        """End it for what was told after it was let in, and before it was attached."""
        if self._as_of is not None and self.is_subject_to(
            self._hub.tail.revoked.since(self._as_of)
        ):
            self.end("revoked")
        running = [part.listener for part in self.parts if part.listener and part.runs]
        if running:
            await self._check_running(running)

    def is_subject_to(self, subjects: frozenset[str]) -> bool:
        """Whether the revocation of some subjects ends it."""
        if not subjects:
            return False
        mine = self._subjects.union(*(part.subjects() for part in self.parts))
        return not subjects.isdisjoint(mine)

    async def _check_running(self, listeners: Sequence[int]) -> None:
        try:
            runs = await self._hub.run(_all_run, listeners)
        except (DatabaseError, RuntimeError):  # the second: the hub closed meanwhile
            self.end("database away")
        else:
            if not runs:
                self.end("stopped")

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def end(self, reason: str) -> None:
        """Have it end before its next message; the first reason counts."""
        super().end(reason)
        self._hub.timetable.hasten(self)  # its last write is to be short

    def close(self) -> None:
        """Leave the hub. Never waits, and may be called twice."""
        self.end("closed")
        self._writer = None
        self._note(acknowledged=False)
        self._hub.detach(self)
        self._buffer.clear()

    def abort(self, reason: str) -> None:
        """Have it end also amid a write that does not return."""
        self.end(reason)
        if self._clock.is_writing and self._writer is not None and not self.was_cut:
            self.was_cut = True
            self._writer.cancel()

    def on_tick(self, now: float) -> float:
        """
        End it when it is old or stuck in a write; have a heartbeat sent when it was silent.

        Returns when that is to be seen to next, as a time.monotonic().
        """
        clock = self._clock
        if clock.is_old(now):
            self.end("age")
        if clock.is_stuck(now, ends=self.reason is not None):
            self.abort("send timeout")
        elif clock.is_silent(now):
            self._beat = True
            self._wake()
        return 0.0 if self.reason is not None else clock.due_at(now)

    # As bytes -----------------------------------------------------------------------

    async def serve(self, write: Write, encode: Encode) -> None:
        """
        Write opening, frames, heartbeats and farewell until it ends.

        `write(chunk, more)` returns when the next chunk may come, and is cancelled when it
        takes too long or the client leaves: `was_cut` then tells that the end was not written.
        """
        self._writer = asyncio.current_task()
        try:
            await self._write_all(write, encode)
        except asyncio.CancelledError:
            if not self.was_cut or _cancelled_by_others(self._writer):
                raise
        finally:
            self._writer = None

    async def _write_all(self, write: Write, encode: Encode) -> None:
        retry_ms: int = conf.get("RETRY_MS")
        self._clock.writes()
        await write(wire.opening(int(retry_ms * random.uniform(1, 1.5)), self.cursor), True)
        self._clock.wrote()
        while (batches := await self._next()) is not None:
            self._clock.writes()
            await write(self._bytes(batches, encode), True)
            self._served()
        if self.reason != "client left":
            self._clock.writes()
            await self._take_leave(write)
            self._clock.wrote()

    async def _take_leave(self, write: Write) -> None:
        """Write the last chunk: when to come back, at random, so that no herd does."""
        retry_ms: int = conf.get("RETRY_MS")
        if self._hub.draining:
            retry_ms = 1_000 + int(random.random() * 1_000 * conf.get("DRAIN_S"))
        elif self.reason in ("age", "stopped", "sent away", "revoked"):
            retry_ms = int(retry_ms * random.uniform(0.1, 1))
        await write(wire.farewell(retry_ms), False)

    def _bytes(self, batches: list[Batch], encode: Encode) -> bytes:
        if not batches:
            return self._heartbeat()
        self._marked = self.cursor
        for batch in batches:
            self.sent += batch.count
            self._counters.delivered += batch.count
        if len(batches) == 1:
            return batches[0].chunk(encode)
        return b"".join([batch.chunk(encode) for batch in batches])

    def _heartbeat(self) -> bytes:
        """Return a comment, or the log's position where the client's id has left the ring."""
        tail = self._hub.tail
        if self.behind or self._buffer or self._marked >= self._feed().floor:
            return wire.HEARTBEAT
        self.cursor = self._marked = tail.position
        return wire.mark(tail.position)

    # As entries ---------------------------------------------------------------------

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yield the entries, one by one; each counts as served."""
        while (batches := await self._next()) is not None:
            for batch in batches:
                for entry in batch.entries:
                    self._serve(entry.position)
                    yield entry
                    if self.reason is not None:
                        return
            self._served()

    # Its cursor ---------------------------------------------------------------------

    def _served(self) -> None:
        self._beat = False
        self._clock.wrote()
        self._serve(self.cursor)

    def _serve(self, position: int) -> None:
        for part in self.parts:
            if part.listener is not None and position > part.stored and not part.by_client:
                part.stored = position
                self._hub.reached(part.listener, position)

    def _note(self, acknowledged: bool) -> None:
        """Note that the listeners were seen, and what a client has told that it has."""
        for part in self.parts:
            if part.listener is not None:
                told = acknowledged and part.by_client
                self._hub.reached(part.listener, part.after if told else 0)


def _all_run(listeners: Sequence[int]) -> bool:
    rows = Listener.objects.using(log.database()).filter(pk__in=listeners, running=True)
    return rows.count() == len(listeners)


def _cancelled_by_others(task: asyncio.Task[Any] | None) -> bool:
    """Take back one cancel() of a task's; return whether there was another."""
    if task is None or sys.version_info < (3, 11):
        return False
    return task.uncancel() > 0
