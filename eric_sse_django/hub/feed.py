"""The latest entries of channels in memory, and their way to the streams of just those."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Protocol

from eric_sse_django.entry import CONTROLS, Encode, Entry
from eric_sse_django.exception import EncodingFailed
from eric_sse_django.hub.ends import End
from eric_sse_django.hub.ring import MAX_RING_BYTES, Ring, Rings

logger = logging.getLogger(__name__)


class Batch:
    """
    Entries that go out together, oldest first. Shared by all streams that get all of it.

    Its bytes are joined once for each `encode`. `named` tells that each names its channel.
    `control` is the entry that streams are to obey, where it is one; `perishes_at` the
    time.time() of the first to expire, None where none does.
    """

    __slots__ = (
        *("_chunk", "_encode", "_failed", "_named"),
        *("control", "count", "entries", "pending", "perishes_at", "position", "size"),
    )

    def __init__(self, entries: Sequence[Entry], named: bool = False) -> None:
        self.entries = entries
        self.count = len(entries)
        # One of those comes alone: it is to a listener.
        self.control = entries[0] if entries[0].type in CONTROLS else None
        self.position = entries[-1].position
        self.size = 0
        self.perishes_at: float | None = None
        for entry in entries:
            self.size += entry.size
            ends = entry.expires_at
            if ends is not None and (self.perishes_at is None or ends < self.perishes_at):
                self.perishes_at = ends
        self._named = named
        self._chunk: bytes | None = None
        self._encode: Encode | None = None
        self._failed: EncodingFailed | None = None
        self.pending: asyncio.Future[bytes] | None = None  # of its bytes, made on a thread

    def chunk(self, encode: Encode) -> bytes:
        """
        Return its entries' frames in one bytes object, the same one at each call.

        Raises EncodingFailed where an entry has no frame: again, without another try.
        """
        # Another encode is that of a channel whose row was changed meanwhile.
        if self._chunk is None or self._encode != encode:
            if self._failed is not None and self._encode == encode:
                raise EncodingFailed(*self._failed.args) from self._failed.__cause__
            self._encode, self._chunk, self._failed = encode, None, None
            try:
                self._chunk = b"".join(self._frames(encode))
            except EncodingFailed as failed:
                self._failed = failed
                raise
        return self._chunk

    def is_tried(self, encode: Encode) -> bool:
        """Whether chunk() knows what to return or raise, without a call of `encode`."""
        known = self._chunk is not None or self._failed is not None
        return known and self._encode == encode

    def fail(self, encode: Encode, error: Exception, at: Entry | None = None) -> None:
        """Have chunk() raise EncodingFailed for an entry: the first that has no frame, or `at`."""
        if at is None:
            at = next((entry for entry in self.entries if not entry.is_framed), self.entries[0])
        self._encode, self._chunk = encode, None
        self._failed = EncodingFailed(at.channel, at.position)
        self._failed.__cause__ = error

    def _frames(self, encode: Encode) -> list[bytes]:
        # What names the channels keeps the frames itself, a channel's for all its streams.
        if self._named:
            return [encode(entry) for entry in self.entries]
        return [entry.frame(encode) for entry in self.entries]

    def before(self, position: int) -> Batch | None:
        """Return the batch of what stands before a position, None for nothing."""
        left = [entry for entry in self.entries if entry.position < position]
        return Batch(left, self._named) if left else None

    def fresh(self) -> Batch | None:
        """Return the batch of what has not expired: mostly itself; None for nothing."""
        if self.perishes_at is None or (now := time.time()) < self.perishes_at:
            return self
        left = [entry for entry in self.entries if not entry.is_expired(now)]
        return Batch(left, self._named) if left else None


class Addressee(Protocol):
    """One of a stream's channels, with the listener and owner (or None) that it is for."""

    channel: int
    listener: int | None
    owner: Any


class Subscriber(Protocol):
    """What a feed hands batches to: a stream, by its subscriptions."""

    @property
    def subscriptions(self) -> Sequence[Addressee]: ...

    def push(self, batch: Batch, alone: bool) -> None: ...

    def fall_back(self) -> None: ...

    def end(self, reason: End) -> None: ...


class Feed:
    """
    What streams of the same channels share: a ring, and who of them is addressed how.

    The ring holds every entry of the channels with a position over `floor`, up to the
    hub's position; `rings` are all that the hub has. Only for the hub's loop: nothing here
    waits or locks.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        position: int,
        ring_messages: int,
        rings: Rings | None = None,
    ) -> None:
        self.channels = channels
        self.named = len(channels) > 1
        self.streams: set[Subscriber] = set()
        self.quiet_since: float | None = None
        self._ring = Ring(rings or Rings(MAX_RING_BYTES), position, ring_messages)
        # Lists: mostly of one, for which a set takes 216 bytes.
        self._by_listener: dict[int, list[Subscriber]] = {}
        self._by_owner: dict[tuple[int, Any], list[Subscriber]] = {}

    @property
    def floor(self) -> int:
        return self._ring.floor

    def forget(self) -> None:
        """Give its memory back."""
        self._ring.clear(self.floor)

    def add(self, stream: Subscriber) -> None:
        self.streams.add(stream)
        self.quiet_since = None
        for each in stream.subscriptions:
            if each.listener is not None:
                self._by_listener.setdefault(each.listener, []).append(stream)
            if each.owner is not None:
                self._by_owner.setdefault((each.channel, each.owner), []).append(stream)

    def discard(self, stream: Subscriber) -> None:
        """Take a stream out; one that is not in changes nothing."""
        self.streams.discard(stream)
        if not self.streams:
            self.quiet_since = time.monotonic()
        for each in stream.subscriptions:
            _discard(self._by_listener, each.listener, stream)
            _discard(self._by_owner, (each.channel, each.owner), stream)

    def since(self, position: int, gets: Callable[[Entry], bool]) -> list[Entry] | None:
        """Return what came after `position` and who asks gets; None: the ring begins later."""
        return self._ring.since(position, gets)

    def skip_to(self, position: int) -> None:
        """Forget the ring: entries up to `position` were not seen. Streams read the log again."""
        self._ring.clear(position)
        for stream in tuple(self.streams):
            try:
                stream.fall_back()
            except Exception as error:  # noqa: BLE001 - it ends that stream alone
                self._fail(stream, error)

    def end_all(self, reason: End) -> None:
        """End all its streams."""
        for stream in tuple(self.streams):
            stream.end(reason)

    def take(self, entries: list[Entry]) -> None:
        """Keep the channels' next entries, and hand each to the streams it is for."""
        self._ring.keep(entries)
        if not self.streams:
            return
        hands = [(run, streams) for run, streams in self._shares(entries) if run]
        alone = len(hands) == 1
        for run, streams in hands:
            batch = Batch(run, self.named)
            # Who gets a batch at once may leave.
            for stream in tuple(streams):
                try:
                    stream.push(batch, alone)
                except Exception as error:  # noqa: BLE001 - it ends that stream alone
                    self._fail(stream, error)

    def _fail(self, stream: Subscriber, error: Exception) -> None:
        """End a stream that cannot take what it gets."""
        logger.error("a stream failed channels=%s", self.channels, exc_info=error)
        stream.end(End.ERROR)

    def _shares(
        self, entries: Iterable[Entry]
    ) -> Iterable[tuple[list[Entry], Collection[Subscriber]]]:
        """Yield runs of entries that go to the same streams, in their order; some are empty."""
        run: list[Entry] = []
        for entry in entries:
            if entry.is_broadcast:
                run.append(entry)
            elif recipients := self._recipients(entry):
                yield run, self.streams
                run = []
                yield [entry], recipients
        yield run, self.streams

    def _recipients(self, entry: Entry) -> Collection[Subscriber]:
        if entry.listener is not None:
            return self._by_listener.get(entry.listener, ())
        return self._by_owner.get((entry.channel, entry.owner), ())


def _discard(index: dict[Any, list[Subscriber]], key: Any, stream: Subscriber) -> None:
    streams = index.get(key, [])
    if stream in streams:
        streams.remove(stream)
        if not streams:
            del index[key]
