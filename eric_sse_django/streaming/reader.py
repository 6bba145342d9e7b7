"""What a stream delivers next: backlog and live messages, in one order."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Collection, Sequence
from typing import Any, TypeVar

from django.db import Error as DatabaseError

from eric_sse_django import conf, log
from eric_sse_django.cancelling import within
from eric_sse_django.entry import CONTROLS, REPLAY, STOP, Entry
from eric_sse_django.hub import Batch, End, Feed, Hub, ReadLimit
from eric_sse_django.models import Listener
from eric_sse_django.streaming.subscription import Subscription

T = TypeVar("T")

# Rows of backlog read at once for one stream; fewer where messages are large.
BACKLOG_ROWS = 1_000
# Seconds a stream waits, when it begins, for a hub that is behind its client. What is then
# sent again has the same ids.
LOOK_TIMEOUT_S = 5.0


class Buffer:
    """Batches, oldest first, within STREAM_BUFFER_MESSAGES and STREAM_BUFFER_BYTES."""

    __slots__ = ("_batches", "_bytes", "_max_messages", "_messages", "max_bytes")

    def __init__(self) -> None:
        self.max_bytes: int
        self._max_messages: int
        names = "STREAM_BUFFER_BYTES", "STREAM_BUFFER_MESSAGES"
        self.max_bytes, self._max_messages = conf.several(*names)
        self._batches: list[Batch] = []
        self._messages = self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._batches)

    def add(self, batch: Batch) -> bool:
        """Add a batch; return False on overflow. One alone always fits: the hub bounds it."""
        self._batches.append(batch)
        self._messages += batch.count
        self._bytes += batch.size
        fits = self._messages <= self._max_messages and self._bytes <= self.max_bytes
        return fits or len(self._batches) == 1

    def take(self) -> list[Batch]:
        """Return all that waits, and empty the buffer."""
        batches, self._batches = self._batches, []
        self._messages = self._bytes = 0
        return batches


class Reader:
    """
    A cursor in the log, and what follows it for the subscriptions of one stream.

    Live messages wait in a bounded buffer; if it overflows it is dropped, and the log is read
    again from the cursor. `behind` is true until the cursor is within the memory of its `feed`,
    which it gets when it is attached. `beat` is true while a heartbeat is due. Only for the hub's
    loop.
    """

    __slots__ = (
        *("_asked", "_buffer", "_counters", "_histories", "_hub", "_last", "_limit"),
        *("_owes", "_resets", "_waiter", "applied", "beat", "behind", "cursor", "feed"),
        *("reason", "subscriptions"),
    )

    def __init__(
        self, hub: Hub, subscriptions: Sequence[Subscription], last_event_id: int | None
    ) -> None:
        self.subscriptions = subscriptions
        self.reason: End | None = None
        self.behind = True
        self.beat = False
        self.cursor = 0
        self.applied = 0  # the position up to which control messages are applied
        self._hub = hub
        self._counters = hub.counters
        self.feed: Feed
        self._histories = self._counters.histories  # of the log, when it began
        self._asked = last_event_id
        self._last: End | None = None  # the reason to end once the buffer is empty
        self._owes = 0  # the position of a reset that the log has for the stream
        self._resets: Sequence[Entry] = ()  # delivered before all else
        self._buffer = Buffer()
        self._limit = ReadLimit(self._buffer.max_bytes, BACKLOG_ROWS)
        self._waiter: asyncio.Future[None] | None = None

    def end(self, reason: End) -> None:
        """End before the next message; the first reason counts."""
        if self.reason is None:
            self.reason = reason
            self._wake()

    def expect(self, messages: int) -> None:
        """Read more rows than usual at first, for a backlog of many messages."""
        self._limit.rows = min(BACKLOG_ROWS, max(self._limit.rows, messages))

    def close(self) -> None:
        """End, and drop what waits."""
        self.end(End.CLOSED)
        self._buffer.take()
        feed: Feed | None = getattr(self, "feed", None)
        if feed is not None:
            feed.owing.pop(self, None)

    # Where it begins ------------------------------------------------------------

    async def begin(self) -> None:
        """Find the first cursor: Last-Event-ID, else the listeners' cursors, else the head."""
        follower, self._histories = self._hub.follower, self._counters.histories
        cursors, highest = self._hub.records.cursors, self._asked or 0
        for each in self.subscriptions:
            if each.listener is not None:
                each.stored = max(each.stored, cursors.unwritten(each.listener, each.replays))
                highest = max(highest, each.stored)
        lowered: Collection[Subscription] = ()
        has_looked = True
        # A watcher that asks for nothing begins now.
        is_new = self._asked is None and any(each.listener is None for each in self.subscriptions)
        is_late = is_new and self._hub.interest.is_asked
        if highest > self._reached() or is_late:
            # The client was served by a process that is ahead of this one, or published there.
            try:
                await within(LOOK_TIMEOUT_S, follower.look())
            except asyncio.TimeoutError:
                has_looked = False
            else:
                lowered = await self._lower_cursors()
        self.applied = self._reached()
        losers = []
        for each in self.subscriptions:
            gets_all = each.begin(self._asked, self.applied)
            if each in lowered or (has_looked and not gets_all):
                losers.append(each)
        self.cursor = min([each.after for each in self.subscriptions])
        if self._histories != self._counters.histories:
            self.end(End.HISTORY)  # its rows were looked up in the one before
        if losers:
            # Before all that any subscription gets next, and no two with one id.
            self._resets = [
                Entry.reset(each.channel, each.listener, self.cursor - back, self.cursor - back)
                for each, back in zip(losers, reversed(range(len(losers))), strict=True)
            ]

    def _reached(self) -> int:
        """Return what head() will be: it has no feed yet."""
        follower = self._hub.follower
        feed = follower.feeds.found(each.channel for each in self.subscriptions)
        position: int = follower.known.position
        return position if feed is None else max(position, feed.reached)

    async def _lower_cursors(self) -> set[Subscription]:
        """Begin again with listeners whose cursor cannot have been reached; return those."""
        head = self._hub.follower.known.position
        ahead = {each for each in self.subscriptions if each.stored > head}
        if ahead:
            rows = await self._hub.run(_lowered, [each.listener for each in ahead])
            for each in ahead:
                each.start, each.stored = rows.get(each.listener, (0, 0))
        return ahead

    # What the stream calls for the hub ------------------------------------------

    def is_idle(self) -> bool:
        """Return whether all that came is written, and next() waits for more."""
        # Everything that next() has to check ends its wait.
        return self._waiter is not None and not self._waiter.done() and not self.behind

    def push(self, batch: Batch) -> None:
        """Take what comes next; if the buffer overflows, drop it all and read the log again."""
        if batch.control is not None:
            self._apply(batch.control)
        elif not (self.behind or self._last or self.reason):
            if not self._buffer.add(batch):
                self._counters.lagging += 1
                self.fall_back()
            self._wake()

    def fall_back(self) -> None:
        """Drop what waits, and read the log from the cursor."""
        self._buffer.take()
        self.behind = True
        # Only a database that was restored has its head before a cursor.
        self.cursor = min(self.cursor, self.head())
        if self._last is not None:
            self.end(self._last)  # the messages before it stay in the log
        self._wake()

    def ask_heartbeat(self) -> None:
        """Let next() return [] at once."""
        self.beat = True
        self._wake()

    def has_all(self) -> bool:
        """Return whether nothing waits in the buffer or in the log."""
        return not (self.behind or self._buffer)

    def head(self) -> int:
        """Return the position up to which the feed has, or had, all entries of its channels."""
        return max(self._hub.follower.known.position, self.feed.reached)

    def _apply(self, control: Entry) -> None:
        """Apply a control message, once."""
        if control.position <= self.applied:
            return
        self.applied = control.position
        if control.type == REPLAY:
            self._replay(control, min(self.cursor, json.loads(control.payload)))
            return
        reason = End.STOPPED if control.type == STOP else End.DISCONNECTED
        if self.behind:
            self.end(reason)
        self._last = reason  # what came before it is in the buffer, and is sent
        self._wake()

    def _replay(self, control: Entry, position: int) -> None:
        """Deliver again what followed a position, to one listener of the stream."""
        for each in self.subscriptions:
            if each.listener == control.listener:
                each.after = each.stored = position
                each.replays = max(each.replays, int(control.uid or 0))
            else:
                each.after = max(each.after, self.cursor)
        self.cursor = position
        self.fall_back()

    # What is delivered ----------------------------------------------------------

    async def next(self) -> list[Batch] | None:
        """Return what waits, oldest first; [] when a heartbeat is due, None at the end."""
        while self.reason is None:
            if self.beat:
                return []
            if self.behind:
                batch = await self._catch_up()
                if batch is not None:
                    return [batch]
            elif self._buffer:
                batches = self._buffer.take()
                self.cursor = batches[-1].position
                for batch in batches:
                    if batch.expires_at is not None:
                        batches = [fresh for batch in batches if (fresh := batch.fresh())]
                        break
                if batches:
                    return batches
            elif self._last is not None:
                self.end(self._last)
            else:
                # A plain future: asyncio.wait_for in each stream made the p99 of 1,000
                # streams 86 ms instead of 17.
                self._waiter = waiter = self._hub.loop.create_future()
                try:
                    await waiter
                finally:
                    self._waiter = None
        return None

    async def _catch_up(self) -> Batch | None:
        """Return what follows the cursor; go live where memory reaches back to it."""
        if self._resets:
            resets, self._resets = self._resets, ()
            self._counters.resets += len(resets)
            return self._batch(resets)
        # The log has a reset that memory has not.
        head = self.head()
        in_log = self.cursor < self._owes <= head
        entries = None if in_log else self.feed.ring_buffer.since(self.cursor, self._gets)
        if entries is not None:
            # No await between the ring buffer and going live: nothing can come in between.
            self.behind = False
            reached = head
            if self._owes > head:
                self.feed.owing[self] = self._owes
        else:
            after, rows = self.cursor, self._limit.rows
            found = await self._read(after, rows)
            if found is None or self.cursor != after:
                return None
            entries = self._limit.fit(found)
            if len(entries) < len(found):
                found = found.cut(len(entries), entries[-1].position)
            reached, self._owes = found.reached, found.later_reset
        self.cursor = max(self.cursor, reached)
        messages = self._messages(entries)
        if self.behind:
            self._counters.read_from_log(messages)
        else:
            self._counters.from_memory += len(messages)
        return self._batch(messages) if messages else None

    def _batch(self, entries: Sequence[Entry]) -> Batch:
        return Batch(entries, named=len(self.subscriptions) > 1)

    def _gets(self, entry: Entry) -> bool:
        """Return whether an entry of its channels is for it."""
        for each in self.subscriptions:
            if each.channel == entry.channel and each.gets(entry):
                return True
        return False

    async def _read(self, after: int, rows: int) -> log.Page | None:
        """Return a page of the log; None where the caller must try again."""
        target = self.head()
        to = [
            log.Recipient(each.channel, each.listener, each.owner, max(after, each.after))
            for each in self.subscriptions
        ]
        try:
            return await self._unless_ended(self._hub.backlogs.read(to, target, rows))
        except DatabaseError:
            # Returns when the database is available; the follower logs the outage.
            await self._unless_ended(self._hub.follower.look())
            return None

    def _messages(self, entries: list[Entry]) -> Sequence[Entry]:
        """Return the messages up to the first control message to be applied, and apply that."""
        for index, entry in enumerate(entries):
            if entry.type in CONTROLS and entry.position > self.applied:
                self.cursor = entry.position
                self._apply(entry)
                if self._last is not None:
                    self.end(self._last)
                entries = entries[:index]
                break
        now = time.time()
        return [
            entry
            for entry in entries
            if entry.type not in CONTROLS and (entry.expires_at is None or entry.expires_at > now)
        ]

    async def _unless_ended(self, work: Awaitable[T]) -> T | None:
        """Return what `work` returns; None when the stream ends before."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done() and self.reason is None:
                self._waiter = self._hub.loop.create_future()
                first: set[asyncio.Future[Any]] = {task, self._waiter}
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            self._waiter = None
            task.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, error: Exception) -> None:
        """Raise an error in next(), which waits."""
        if self._waiter is not None:
            self._waiter.set_exception(error)

    # Its listeners' cursors -----------------------------------------------------

    def delivered(self, position: int, messages: int = 0) -> None:
        """Note that what its listeners get up to a position is written: so many messages."""
        self.beat = False
        if self._histories != self._counters.histories:
            return  # what it has sent is not in the log that there is now
        for each in self.subscriptions:
            if each.listener is not None and position > each.stored and not each.by_client:
                each.stored = position
                cursors = self._hub.records.cursors
                cursors.reached(each.listener, position, each.replays, messages)

    def seen(self, acknowledged: bool) -> None:
        """Note that its listeners were seen, and whether Last-Event-ID acknowledges messages."""
        if self._histories != self._counters.histories:
            return
        cursors, acknowledged = self._hub.records.cursors, acknowledged and self._asked is not None
        for each in self.subscriptions:
            if each.listener is not None:
                position = each.after if acknowledged and each.by_client else 0
                cursors.reached(each.listener, position, each.replays)
                if position:
                    cursors.hasten(each.listener)


def _lowered(listeners: Sequence[int]) -> dict[int | None, tuple[int, int]]:
    """Lower cursors above the log's head; return the listeners' starts and cursors."""
    log.lower_what_is_beyond()
    rows = Listener.objects.filter(pk__in=listeners)
    return {pk: (start, cursor) for pk, start, cursor in rows.values_list("pk", "start", "cursor")}
