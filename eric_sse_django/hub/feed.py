"""Feeds: the latest entries of channels in memory, and the streams that get them, in batches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import methodcaller
from typing import Any, Protocol

from eric_sse_django import conf
from eric_sse_django.entry import CONTROLS, Encode, Entry
from eric_sse_django.exception import EncodingFailed
from eric_sse_django.hub.ends import End
from eric_sse_django.log import Known

logger = logging.getLogger(__name__)

# Seconds that a feed outlives its last stream: a client that reconnects after a short outage
# is served from memory.
LINGER_S = 30.0
# Rows of the first read.
FIRST_ROWS = 64
# Times the rows of a read at most that the next one may have: later messages may be larger.
MAX_GROWTH = 8
# Bytes of one ring buffer at most: one busy channel must not use all memory that there is.
MAX_RING_BYTES = 8_388_608
# Bytes that an entry takes beside its text, which is there twice: in it, and in its frame.
# Measured: 430 on Python 3.11 for a type of 5 characters.
ENTRY_BYTES = 450


class ReadLimit:
    """A number of rows that follows the messages' sizes, so that they take about `max_bytes`."""

    __slots__ = ("_max_bytes", "_max_rows", "rows")

    def __init__(self, max_bytes: int, max_rows: int) -> None:
        self.rows = min(FIRST_ROWS, max_rows)
        self._max_bytes = max_bytes
        self._max_rows = max_rows

    def fit(self, entries: list[Entry]) -> list[Entry]:
        """Return the first entries that fit in `max_bytes`, one at least; adapt `rows`."""
        total = 0
        for index, entry in enumerate(entries):
            total += entry.size
            if total > self._max_bytes and index:
                self.rows = max(1, index)
                return entries[:index]
        if total * 2 <= self._max_bytes:
            times = min(MAX_GROWTH, self._max_bytes // max(total, 1))
            self.rows = min(self._max_rows, self.rows * times)
        return entries


class Batch:
    """
    Entries that are written together, oldest first. Shared by all streams that get all of it.

    Its bytes are joined once for each `encode`; `named` is true if that names the channels.
    `control` is its entry if that is a control message; `expires_at` the time.time() at which
    the first entry expires, None if none does.
    """

    __slots__ = (
        *("_chunk", "_encode", "_failed", "_named"),
        *("control", "count", "entries", "pending", "expires_at", "position", "size"),
    )

    def __init__(self, entries: Sequence[Entry], named: bool = False) -> None:
        self.entries = entries
        self.count = len(entries)
        # A control message is alone in its batch: it is to a listener.
        self.control = entries[0] if entries[0].type in CONTROLS else None
        self.position = entries[-1].position
        self.size = 0
        self.expires_at: float | None = None
        for entry in entries:
            self.size += entry.size
            at = entry.expires_at
            if at is not None and (self.expires_at is None or at < self.expires_at):
                self.expires_at = at
        self._named = named
        self._chunk: bytes | None = None
        self._encode: Encode | None = None
        self._failed: EncodingFailed | None = None
        self.pending: asyncio.Future[bytes] | None = None  # of its bytes, encoded on a thread

    def chunk(self, encode: Encode) -> bytes:
        """
        Return its entries' frames in one bytes object, the same one at each call.

        Raises EncodingFailed where an entry has no frame: also later, without another attempt.
        """
        # Another `encode` is that of a channel whose row was changed meanwhile.
        if self._chunk is None or self._encode != encode:
            if self._failed is not None and self._encode == encode:
                raise EncodingFailed(*self._failed.args) from self._failed.__cause__
            self._encode, self._chunk, self._failed = encode, None, None
            joined = getattr(encode, "joined", None)  # of one stream: it shares no frames
            if joined is not None:
                with contextlib.suppress(Exception):  # which entry it is, is found below
                    self._chunk = joined(self.entries)
                    return self._chunk
            try:
                # What names the channels keeps the frames itself, one for all its streams.
                framed = encode if self._named else methodcaller("frame", encode)
                self._chunk = b"".join(map(framed, self.entries))
            except EncodingFailed as failed:
                self._failed = failed
                raise
        return self._chunk

    def is_tried(self, encode: Encode) -> bool:
        """Return whether chunk() returns or raises without a call of `encode`."""
        known = self._chunk is not None or self._failed is not None
        return known and self._encode == encode

    def fail(self, encode: Encode, error: Exception, at: Entry | None = None) -> None:
        """Let chunk() raise EncodingFailed for an entry: `at`, or the first that has no frame."""
        if at is None:
            at = next((entry for entry in self.entries if not entry.is_framed), self.entries[0])
        self._encode, self._chunk = encode, None
        self._failed = EncodingFailed(at.channel, at.position)
        self._failed.__cause__ = error

    def before(self, position: int) -> Batch | None:
        """Return a batch of the entries before a position, None for no entry."""
        left = [entry for entry in self.entries if entry.position < position]
        return Batch(left, self._named) if left else None

    def fresh(self) -> Batch | None:
        """Return a batch of what has not expired: mostly itself; None for no entry."""
        if self.expires_at is None or (now := time.time()) < self.expires_at:
            return self
        left = [entry for entry in self.entries if not entry.is_expired(now)]
        return Batch(left, self._named) if left else None


class Budget:
    """
    The bytes of all ring buffers of a hub: over `max_bytes`, the least recently filled is emptied.

    A buffer's bytes are estimated, frames included. Filling one costs the same, whatever the
    number of the others.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._quietest_first: dict[RingBuffer, None] = {}

    def filled(self, buffer: RingBuffer) -> None:
        """Note that a buffer got entries, and make room for them."""
        self._quietest_first.pop(buffer, None)
        self._quietest_first[buffer] = None
        if self.bytes > self.max_bytes:
            self.make_room()

    def emptied(self, buffer: RingBuffer) -> None:
        """Note that a buffer is empty."""
        self._quietest_first.pop(buffer, None)

    def make_room(self) -> None:
        """Empty the quietest buffers until the others fit; the last one keeps what fits."""
        while self.bytes > self.max_bytes and self._quietest_first:
            quietest = next(iter(self._quietest_first))
            quietest.shrink(self.bytes - self.max_bytes, whole=len(self._quietest_first) > 1)


class RingBuffer:
    """
    Entries, oldest first: all entries of a feed with a position over `floor`.

    It has MAX_RING_BYTES and `max_entries` at most, and its share of the `budget`.
    """

    def __init__(self, budget: Budget, floor: int, max_entries: int) -> None:
        self.floor = floor
        self.bytes = 0
        self._budget = budget
        self._entries: deque[Entry] = deque()
        self._max_entries = max_entries

    def keep(self, entries: list[Entry]) -> None:
        """Add the next entries; if that is too many, drop the oldest."""
        self._entries.extend(entries)
        size = len(entries) * ENTRY_BYTES
        for entry in entries:
            size += 2 * entry.size
        self.bytes += size
        self._budget.bytes += size
        while len(self._entries) > self._max_entries or self.bytes > MAX_RING_BYTES:
            self._drop()
        if self._entries:
            self._budget.filled(self)
        else:
            self._budget.emptied(self)

    def since(self, position: int, gets: Callable[[Entry], bool]) -> list[Entry] | None:
        """Return the entries after `position` for which `gets` is true; None: it begins later."""
        if position < self.floor:
            return None
        found = []
        for entry in reversed(self._entries):
            if entry.position <= position:
                break
            if gets(entry):
                found.append(entry)
        return found[::-1]

    def clear(self, floor: int) -> None:
        """Drop all, as if it began at `floor`."""
        self._entries.clear()
        self._budget.bytes -= self.bytes
        self.bytes = 0
        self.floor = floor
        self._budget.emptied(self)

    def shrink(self, by: int, whole: bool) -> None:
        """Drop the oldest entries, of at least `by` bytes together, or the `whole` of it."""
        if whole:
            self.clear(self._entries[-1].position)
            return
        left = self.bytes - by
        while self._entries and self.bytes > left:
            self._drop()
        if not self._entries:
            self._budget.emptied(self)

    def _drop(self) -> None:
        oldest = self._entries.popleft()
        size = ENTRY_BYTES + 2 * oldest.size
        self.bytes -= size
        self._budget.bytes -= size
        self.floor = oldest.position


class Addressee(Protocol):
    """One of a stream's channels, with its listener and owner, or None."""

    channel: int
    listener: int | None
    owner: Any


class Subscriber(Protocol):
    """What a feed hands batches to: a stream."""

    @property
    def subscriptions(self) -> Sequence[Addressee]: ...

    def push(self, batch: Batch, alone: bool) -> None: ...

    def fall_back(self) -> None: ...

    def end(self, reason: End) -> None: ...


class Owing(Protocol):
    """What reads the log for a stream."""

    def fall_back(self) -> None: ...


class Feed:
    """
    What streams of the same channels share: their latest entries, and an index of the streams.

    The `ring_buffer` has every entry of the channels with a position over its floor, up to the
    hub's position, or to `reached` where that is higher: see Feeds.ahead. `budget` is that of all
    the hub's feeds. Only for the hub's loop: nothing here waits or locks.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        position: int,
        ring_messages: int,
        budget: Budget | None = None,
    ) -> None:
        self.channels = channels
        self.named = len(channels) > 1
        self.reached = 0
        # What falls back once the feed has come to a position: the log has a reset for it there.
        self.owing: dict[Owing, int] = {}
        self.streams: set[Subscriber] = set()
        self.quiet_since: float | None = None
        self.ring_buffer = RingBuffer(budget or Budget(MAX_RING_BYTES), position, ring_messages)
        # Lists: mostly of one, for which a set takes 216 bytes.
        self._by_listener: dict[int, list[Subscriber]] = {}
        self._by_owner: dict[tuple[int, Any], list[Subscriber]] = {}

    def add(self, stream: Subscriber) -> None:
        self.streams.add(stream)
        self.quiet_since = None
        for each in stream.subscriptions:
            if each.listener is not None:
                self._by_listener.setdefault(each.listener, []).append(stream)
            if each.owner is not None:
                self._by_owner.setdefault((each.channel, each.owner), []).append(stream)

    def discard(self, stream: Subscriber) -> None:
        """Remove a stream; it may be removed twice."""
        self.streams.discard(stream)
        if not self.streams:
            self.quiet_since = time.monotonic()
        for each in stream.subscriptions:
            _discard(self._by_listener, each.listener, stream)
            _discard(self._by_owner, (each.channel, each.owner), stream)

    def skip_to(self, position: int) -> None:
        """Drop the entries: some up to `position` were not read. Streams read the log again."""
        self.ring_buffer.clear(max(position, self.reached))
        for stream in tuple(self.streams):
            try:
                stream.fall_back()
            except Exception as error:  # noqa: BLE001 - it ends that stream alone
                self._fail(stream, error)

    def end_all(self, reason: End) -> None:
        """End all its streams."""
        for stream in tuple(self.streams):
            stream.end(reason)

    def take_safely(self, entries: list[Entry], upto: int) -> None:
        """As take(); after a failure the streams read the log, up to a position."""
        try:
            self.take(entries)
        except Exception:
            logger.exception("a feed failed, its streams read the log: %s", self.channels)
            self.skip_to(upto)

    def take(self, entries: list[Entry]) -> None:
        """Keep the channels' next entries, and hand each to the streams that it is for."""
        self.ring_buffer.keep(entries)
        if not self.streams:
            return
        if self.owing:
            self._fall_back_owing(entries[-1].position)
        runs = self._runs(entries)
        for run, recipients in runs:
            batch = Batch(run, self.named)
            for stream in tuple(recipients):  # a stream that gets a batch may end
                try:
                    stream.push(batch, len(runs) == 1)
                except Exception as error:  # noqa: BLE001 - it ends that stream alone
                    self._fail(stream, error)

    def _runs(self, entries: list[Entry]) -> list[tuple[list[Entry], Collection[Subscriber]]]:
        """Return runs of entries that go to the same streams, in their order, with these."""
        run: list[Entry] = []
        runs: list[tuple[list[Entry], Collection[Subscriber]]] = []
        for entry in entries:
            if entry.listener is None and entry.owner is None:
                run.append(entry)
            elif recipients := self._recipients(entry):
                if run:
                    runs.append((run, self.streams))
                    run = []
                runs.append(([entry], recipients))
        if run:
            runs.append((run, self.streams))
        return runs

    def _fall_back_owing(self, position: int) -> None:
        for reader, owes in tuple(self.owing.items()):
            if owes <= position:
                del self.owing[reader]
                reader.fall_back()

    def _fail(self, stream: Subscriber, error: Exception) -> None:
        """End a stream that cannot take what it gets."""
        logger.error("a stream failed channels=%s", self.channels, exc_info=error)
        stream.end(End.ERROR)

    def _recipients(self, entry: Entry) -> Collection[Subscriber]:
        if entry.listener is not None:
            return self._by_listener.get(entry.listener, ())
        return self._by_owner.get((entry.channel, entry.owner), ())


class Feeds:
    """
    One feed for each set of channels that streams are of. Mostly these are single channels.

    `new` has the feeds that were built since it was last cleared, `by_channel` the feeds of each
    channel that has one. `ahead` has the feeds that have their entries after the hub's position,
    with the log at the last one. `on_change` is called when `by_channel` has other channels. Only
    for the hub's loop.
    """

    def __init__(self) -> None:
        self.budget = Budget(conf.get("RING_BYTES"))
        self.new: list[Feed] = []
        self.ahead: dict[Feed, Known] = {}
        self.on_change: Callable[[], None] | None = None
        self._feeds: dict[tuple[int, ...], Feed] = {}
        self.by_channel: dict[int, list[Feed]] = {}

    def __iter__(self) -> Iterator[Feed]:
        return iter(tuple(self._feeds.values()))

    def of(self, channels: Iterable[int], position: int) -> Feed:
        """Return the feed of just these channels; a new one begins at `position`."""
        key = tuple(sorted(channels))
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(key, position, conf.get("RING_MESSAGES"), self.budget)
            self.new.append(feed)
            is_change = any(channel not in self.by_channel for channel in key)
            for channel in key:
                self.by_channel.setdefault(channel, []).append(feed)
            if is_change:
                self._changed()
        return feed

    def found(self, channels: Iterable[int]) -> Feed | None:
        """Return the feed of just these channels, if there is one."""
        return self._feeds.get(tuple(sorted(channels)))

    def share(self, entries: Iterable[Entry]) -> dict[Feed, list[Entry]]:
        """
        Return each feed with its entries, in their order; none for a feed that is `new`.

        None of those that a feed has already. Costs nothing for the feeds of other channels.
        """
        shares: dict[Feed, list[Entry]] = {}
        for entry in entries:
            for feed in self.by_channel.get(entry.channel, ()):
                shares.setdefault(feed, []).append(entry)
        for feed in self.new:
            shares.pop(feed, None)
        for feed in self.ahead:
            its_entries = shares.pop(feed, ())
            if left := [entry for entry in its_entries if entry.position > feed.reached]:
                shares[feed] = left
        return shares

    def reached(self) -> dict[int, int]:
        """Return the position of each channel up to which all its feeds have its entries."""
        return {
            channel: min(feed.reached for feed in feeds)
            for channel, feeds in self.by_channel.items()
        }

    def reach(self, feed: Feed, known: Known) -> None:
        """Note that a feed has its entries up to a position after the hub's."""
        feed.reached = known.position
        self.ahead[feed] = known

    def follow(self, position: int) -> None:
        """Note that the hub has come to a position: feeds that are not after it are not ahead."""
        for feed in [feed for feed in self.ahead if feed.reached <= position]:
            del self.ahead[feed]

    def forget_reached(self) -> None:
        """Forget how far feeds have come: it was in another history."""
        self.ahead.clear()
        for feed in self:
            feed.reached = 0

    def bound(self, hubs: int) -> None:
        """Keep the ring buffers within this hub's share of RING_BYTES, one of `hubs`."""
        self.budget.max_bytes = conf.get("RING_BYTES") // max(1, hubs)
        self.budget.make_room()

    def forget_quiet(self, now: float) -> None:
        """Remove the feeds whose last stream ended LINGER_S ago."""
        channels_before = len(self.by_channel)
        for key, feed in tuple(self._feeds.items()):
            if feed.quiet_since is not None and now - feed.quiet_since > LINGER_S:
                del self._feeds[key]
                self.ahead.pop(feed, None)
                feed.ring_buffer.clear(feed.ring_buffer.floor)
                for channel in key:
                    feeds = self.by_channel[channel]
                    feeds.remove(feed)
                    if not feeds:
                        del self.by_channel[channel]
        if len(self.by_channel) != channels_before:
            self._changed()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()


def _discard(index: dict[Any, list[Subscriber]], key: Any, stream: Subscriber) -> None:
    streams = index.get(key, [])
    if stream in streams:
        streams.remove(stream)
        if not streams:
            del index[key]
