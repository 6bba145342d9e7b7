"""How a stream is written: at once where nothing waits, else by the task that serves it."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence

from eric_sse_django import conf, instruments, wire
from eric_sse_django.entry import RESERVED_PREFIX, Encode, Entry
from eric_sse_django.exception import EncodingFailed
from eric_sse_django.hub import Apart, Batch, End, Hub
from eric_sse_django.streaming.clock import Clock
from eric_sse_django.streaming.reader import Reader

Write = Callable[[bytes, bool], Awaitable[None]]
# Returns whether it did; None where it never can.
WriteAtOnce = Callable[[bytes], "bool | None"]
AtOnce = Callable[[], "WriteAtOnce | None"]


class Sender:
    """
    Writes what a reader delivers, as bytes. `sent` counts the messages.

    `write(chunk, more)` returns when the next chunk may come. `blank` is true if an id alone
    is followed by a blank line: see wire.mark(). `end` ends the stream.
    """

    __slots__ = (
        *("_blank", "_clock", "_encode", "_end", "_hub", "_is_apart", "_marked", "_reader"),
        *("_rest_s", "_write", "_write_at_once", "sent"),
    )

    def __init__(
        self,
        hub: Hub,
        reader: Reader,
        clock: Clock,
        end: Callable[[End], None],
        write: Write,
        encode: Encode,
        blank: bool,
    ) -> None:
        self.sent = 0
        self._hub = hub
        self._reader = reader
        self._clock = clock
        self._end = end
        self._write = write
        self._write_at_once: WriteAtOnce | None = None
        self._is_apart = isinstance(encode, Apart)  # frames are made by code that may hang
        self._encode = encode.encode if isinstance(encode, Apart) else encode
        self._blank = blank
        self._marked = reader.cursor  # the last id that the client has got
        self._rest_s = 0.0

    async def run(self, at_once: AtOnce) -> None:
        """
        Write the opening, frames and heartbeats, until the reader ends.

        `at_once()` is called after the opening, and returns what writes without a wait, if any.
        """
        reader, clock, write = self._reader, self._clock, self._write
        clock.writes()
        retry_ms = int(conf.get("RETRY_MS") * random.uniform(1, 1.5))
        opening = wire.opening(retry_ms, reader.cursor, self._blank, clock.heartbeat_s)
        await write(opening, True)
        clock.wrote()
        self._write_at_once = at_once()
        while (batches := await reader.next()) is not None:
            clock.writes()
            if self._is_apart:
                await self._hub.adapters.encode(batches, self._encode)
            try:
                chunk = self._bytes(batches) if batches else self._heartbeat()
            except EncodingFailed as failed:
                chunk = await self._fail(batches, failed)
            await write(chunk, True)
            clock.wrote()
            self._delivered(batches)

    def _delivered(self, batches: list[Batch]) -> None:
        """Note that batches, or a heartbeat, were written by the task."""
        self._reader.delivered(self._reader.cursor, sum([batch.count for batch in batches]))

    async def finish(self, reason: End) -> None:
        """Write the last chunk: when the client is to reconnect."""
        if reason is End.CLIENT_LEFT:
            return
        if self._hub.draining:
            reason = End.DRAINING
        rest_s = self._hub.away_rest_s() if reason is End.DATABASE_UNAVAILABLE else self._rest_s
        self._clock.writes()
        await self._write(wire.farewell(reason.retry_ms(rest_s)), False)
        self._clock.wrote()

    def send_at_once(self, batch: Batch) -> bool:
        """
        Write a batch out of the hub's own call: no task is woken, no future made.

        Of 1,000 streams each delivery takes 1.3 µs beside the server's part, and not 3.2.
        """
        write = self._write_at_once
        if write is None or batch.expires_at is not None:
            return False
        if self._is_apart and not batch.is_tried(self._encode):
            return False
        try:
            chunk = batch.chunk(self._encode)
        except EncodingFailed:
            return False  # the task finds it, too, and ends this stream alone
        written = self._try(write, chunk)
        if written:
            self._reader.cursor = self._marked = batch.position
            self.sent += batch.count
            self._hub.counters.delivered += batch.count
            self._reader.delivered(batch.position, batch.count)
        return written is not False

    def beat_at_once(self) -> bool:
        """Write a heartbeat out of the hub's timer, as a batch out of its call."""
        write = self._write_at_once
        if write is None or not self._reader.is_idle() or self._has_lost_its_place():
            return False
        written = self._try(write, wire.HEARTBEAT)
        if written:
            self._reader.delivered(self._reader.cursor)
        return written is not False

    def _try(self, write: WriteAtOnce, chunk: bytes) -> bool | None:
        """Return whether a chunk is written; None when it failed, which the task raises."""
        try:
            written = write(chunk)
        except Exception as error:  # noqa: BLE001 - it is raised where writes are awaited
            self._reader.fail(error)
            return None
        if written is None:
            self._write_at_once = None
        elif written:
            self._clock.since = time.monotonic()
        return bool(written)

    def _bytes(self, batches: list[Batch]) -> bytes:
        if len(batches) == 1:
            chunk = batches[0].chunk(self._encode)
        else:
            chunk = b"".join([batch.chunk(self._encode) for batch in batches])
        self._marked = self._reader.cursor
        for batch in batches:
            self.sent += batch.count
            self._hub.counters.delivered += batch.count
        return chunk

    def _heartbeat(self) -> bytes:
        """Return a comment, or the log's position if the client's id is no longer in memory."""
        if not self._has_lost_its_place():
            return wire.HEARTBEAT
        self._reader.cursor = self._marked = self._reader.head()
        return wire.mark(self._marked, self._blank)

    def _has_lost_its_place(self) -> bool:
        """Return whether the feed no longer reaches back to the client's id; all is delivered."""
        return self._reader.has_all() and self._marked < self._reader.feed.ring_buffer.floor

    async def _fail(self, batches: list[Batch], failed: EncodingFailed) -> bytes:
        """End at a message that has no event; return what can be sent of those before it."""
        self._rest_s = self._hub.adapters.failed(failed)
        self._end(End.ERROR)
        position = failed.position or 0
        left = [part for batch in batches if (part := batch.before(position)) is not None]
        if self._is_apart:
            await self._hub.adapters.encode(left, self._encode)
        self._reader.cursor = left[-1].position if left else self._marked
        try:
            return self._bytes(left) if left else wire.HEARTBEAT
        except EncodingFailed:
            self._reader.cursor = self._marked
            return wire.HEARTBEAT


class ObservedSender(Sender):
    """A Sender while there is code to call after each delivery: see instruments."""

    __slots__ = ()

    def send_at_once(self, batch: Batch) -> bool:
        before = self.sent
        is_done = super().send_at_once(batch)
        if self.sent != before:
            self._note(batch.entries)
        return is_done

    def _delivered(self, batches: list[Batch]) -> None:
        super()._delivered(batches)
        cursor = self._reader.cursor  # where one has no event, those from it on are not written
        entries = [entry for batch in batches for entry in batch.entries]
        self._note([entry for entry in entries if entry.position <= cursor])

    def _note(self, entries: Sequence[Entry]) -> None:
        if messages := [each for each in entries if not each.type.startswith(RESERVED_PREFIX)]:
            listeners = [each.listener for each in self._reader.subscriptions]
            instruments.delivered(instruments.Delivery(messages, listeners))


def sender_class() -> type[Sender]:
    """Return the class of the senders of new streams."""
    return ObservedSender if instruments.calls else Sender
