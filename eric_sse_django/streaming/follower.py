"""What a stream delivers next: backlog and live, on one road."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from django.db import Error as DatabaseError

from eric_sse_django import log
from eric_sse_django.cancelling import within
from eric_sse_django.entry import CONTROLS, REPLAY, STOP, Entry
from eric_sse_django.hub import Batch, End, Feed, Hub, ReadLimit, channels_of
from eric_sse_django.models import Listener
from eric_sse_django.streaming.buffer import Buffer
from eric_sse_django.streaming.part import Part

T = TypeVar("T")

# Rows of backlog read at once for one stream; fewer where messages are large.
BACKLOG_ROWS = 1_000
# Seconds a stream waits, when it begins, for a hub that is behind its client. What is then
# sent again has the same ids.
LOOK_TIMEOUT_S = 5.0


class Follower:
    """
    A place in the log, as the parts of one stream see it.

    Memory is bounded: what does not fit is dropped, and read again from the log. Only for
    the hub's loop.
    """

    __slots__ = (
        "_asked",
        "_beat",
        "_buffer",
        "_counters",
        "_histories",
        "_hub",
        "_its_feed",
        "_last",
        "_limit",
        "_loop",
        "_obeyed",
        "_owes",
        "_resets",
        "_waiter",
        "behind",
        "cursor",
        "parts",
        "reason",
    )

    def __init__(self, hub: Hub, parts: Sequence[Part], last_event_id: int | None) -> None:
        self.parts = parts
        self.reason: End | None = None
        self.behind = True
        self.cursor = self._obeyed = 0
        self._hub = hub
        self._loop = hub.loop
        self._counters = hub.records.counters
        self._its_feed: Feed | None = None
        self._histories = self._counters.histories  # of the log, when it began
        self._asked = last_event_id
        self._last: End | None = None  # the reason to end once the buffer is empty
        self._beat = False
        self._owes = 0  # the position of a reset that the log has for us
        self._resets: list[Entry] = []  # what is told before all else
        self._buffer = Buffer()
        self._limit = ReadLimit(self._buffer.most_bytes, BACKLOG_ROWS)
        self._waiter: asyncio.Future[None] | None = None

    def end(self, reason: End) -> None:
        """Have it end before its next message; the first reason counts."""
        if self.reason is None:
            self.reason = reason
            self._wake()

    async def _find_start(self) -> None:
        """Have each part take its first place, once the hub has come as far."""
        tail, self._histories = self._hub.tail, self._counters.histories
        for part in self.parts:
            if part.listener is not None:
                unwritten = self._hub.unwritten(part.listener, part.replays)
                part.stored = max(part.stored, unwritten)
        has_looked = not self._is_beyond()
        if not has_looked:
            # The client was served by a process that is ahead of us.
            with contextlib.suppress(asyncio.TimeoutError):
                await within(LOOK_TIMEOUT_S, tail.look())
                has_looked = True
        lost = await self._lower_cursors() if has_looked and self._is_beyond() else set()
        for part in self.parts:
            if not part.begin(self._asked, tail.position) and has_looked:
                lost.add(part)
        self.cursor = min(part.after for part in self.parts)
        self._obeyed = tail.position
        if self._histories != self._counters.histories:
            self.end(End.HISTORY)  # its rows were looked up in the one before
        # Before all that any part goes on with, and no two with one id.
        told = [part for part in self.parts if part in lost]
        self._resets = [
            Entry.reset(part.channel, part.listener, self.cursor - behind, self.cursor - behind)
            for part, behind in zip(told, reversed(range(len(told))), strict=True)
        ]

    def _is_beyond(self) -> bool:
        """Whether a place that is asked for, or stored, is one that the hub does not know."""
        places = (self._asked or 0, *(part.stored for part in self.parts))
        return max(places) > self._hub.tail.position

    async def _lower_cursors(self) -> set[Part]:
        """Have listeners whose cursor nobody can have reached begin anew; return those."""
        beyond = {part for part in self.parts if part.stored > self._hub.tail.position}
        if beyond:
            rows = await self._hub.run(_lowered, [part.listener for part in beyond])
            for part in beyond:
                part.start, part.stored = rows.get(part.listener, (0, 0))
        return beyond

    def _feed(self) -> Feed:
        # It stays as long as we are attached.
        if self._its_feed is None:
            self._its_feed = self._hub.tail.feed_of(*channels_of(self))
        return self._its_feed

    def _gets(self, entry: Entry) -> bool:
        """Whether an entry of its channels is for it."""
        return any(part.channel == entry.channel and part.gets(entry) for part in self.parts)

    # What the hub calls ---------------------------------------------------------

    def push(self, batch: Batch, alone: bool) -> None:
        """
        Take what comes next; beyond the bounds, drop it all and read the log again.

        `alone` tells that nothing follows it at once, which would better go out with it.
        """
        if batch.control is not None:
            self._obey(batch.control)
        elif not (self.behind or self._last or self.reason):
            if alone and self._is_waiting() and self._write_at_once(batch):
                return
            if not self._buffer.add(batch):
                self._counters.lagging += 1
                self.fall_back()
            self._wake()

    def fall_back(self) -> None:
        """Drop what waits, and read the log from the cursor."""
        self._buffer.clear()
        self.behind = True
        # Only a database that was restored has its head before a cursor.
        self.cursor = min(self.cursor, self._hub.tail.position)
        if self._last is not None:
            # What was to be sent before goes on waiting in the log.
            self.end(self._last)
        self._wake()

    def _obey(self, control: Entry) -> None:
        """Do, once, what one of the app's own messages says to streams that are open."""
        if control.position <= self._obeyed:
            return
        self._obeyed = control.position
        if control.type == REPLAY:
            self._go_back(control, min(self.cursor, json.loads(control.payload)))
            return
        reason = End.STOPPED if control.type == STOP else End.DISCONNECTED
        if self.behind:
            self.end(reason)
        self._last = reason  # what came before it is in the buffer, and is sent
        self._wake()

    def _go_back(self, control: Entry, position: int) -> None:
        """Have one listener get again what followed a position, and the others go on."""
        for part in self.parts:
            if part.listener == control.listener:
                part.after = part.stored = position
                part.replays = max(part.replays, int(control.uid or 0))
            else:
                part.after = max(part.after, self.cursor)
        self.cursor = position
        self.fall_back()

    # What its reader calls ------------------------------------------------------

    async def _next(self) -> list[Batch] | None:
        """Return what waits, oldest first; [] when a heartbeat is due, None at the end."""
        while self.reason is None:
            if self._beat:
                return []
            if self.behind:
                batch = await self._catch_up()
                if batch is not None:
                    return [batch]
            elif self._buffer:
                batches = self._buffer.take()
                self.cursor = batches[-1].position
                for batch in batches:
                    if batch.perishes_at is not None:
                        batches = [fresh for batch in batches if (fresh := batch.fresh())]
                        break
                if batches:
                    return batches
            elif self._last is not None:
                self.end(self._last)
            else:
                # A plain future: asyncio.wait_for in each stream made the p99 of 1,000
                # streams 86 ms instead of 17.
                self._waiter = waiter = self._loop.create_future()
                try:
                    await waiter
                finally:
                    self._waiter = None
        return None

    async def _catch_up(self) -> Batch | None:
        """Return what follows the cursor; go live where memory reaches back to it."""
        tail = self._hub.tail
        if self._resets:
            resets, self._resets = self._resets, []
            self._counters.resets += len(resets)
            return Batch(resets, named=len(self.parts) > 1)
        # A loss that the log tells of later is not told by what is in memory.
        in_log = self.cursor < self._owes <= tail.position
        entries = None if in_log else self._feed().since(self.cursor, self._gets)
        if entries is not None:
            # No await between the ring and going live: nothing can come in between.
            self.behind = False
            reached = tail.position
        else:
            after, target, rows = self.cursor, tail.position, self._limit.rows
            found = await self._read(after, target, rows)
            if found is None or self.cursor != after:
                return None
            entries = self._limit.fit(found)
            if len(entries) < len(found):
                found = found.cut(len(entries), entries[-1].position)
            reached, self._owes = found.reached, found.owes
        self.cursor = max(self.cursor, reached)
        messages = self._messages(entries)
        self._counters.caught_up(messages, in_memory=not self.behind)
        return Batch(messages, named=len(self.parts) > 1) if messages else None

    async def _read(self, after: int, target: int, rows: int) -> log.Page | None:
        """Return a part of the log; None where there is to be another try."""
        to = [
            log.Reader(part.channel, part.listener, part.owner, max(after, part.after))
            for part in self.parts
        ]
        try:
            return await self._unless_ended(self._hub.run(log.read_all, to, target, rows))
        except DatabaseError:
            # Returns when the database is back; the tail tells of it.
            await self._unless_ended(self._hub.tail.look())
            return None

    def _messages(self, entries: list[Entry]) -> Sequence[Entry]:
        """Return the messages up to the first control that is to be obeyed, and obey that."""
        for index, entry in enumerate(entries):
            if entry.type in CONTROLS and entry.position > self._obeyed:
                self.cursor = entry.position
                self._obey(entry)
                if self._last is not None:
                    self.end(self._last)
                entries = entries[:index]
                break
        now = time.time()
        return [
            entry for entry in entries if entry.type not in CONTROLS and not entry.is_expired(now)
        ]

    async def _unless_ended(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what `work` gives; None when the stream is ended before."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done() and self.reason is None:
                self._waiter = self._loop.create_future()
                first: set[asyncio.Future[Any]] = {task, self._waiter}
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            self._waiter = None
            task.cancel()

    def _is_waiting(self) -> bool:
        """Whether all that came is written, and the reader waits for the next."""
        waits = self._waiter is not None and not self._waiter.done()
        return waits and not self._buffer and not self._beat

    def _write_at_once(self, batch: Batch) -> bool:
        """Write what the reader waits for without waking it, where that is possible."""
        return False

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _lowered(listeners: Sequence[int]) -> dict[int | None, tuple[int, int]]:
    """Lower what is beyond the log's head; return the listeners' starts and cursors."""
    log.lower_what_is_beyond()
    rows = Listener.objects.filter(pk__in=listeners)
    return {pk: (start, cursor) for pk, start, cursor in rows.values_list("pk", "start", "cursor")}
