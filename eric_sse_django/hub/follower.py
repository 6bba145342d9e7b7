"""Following the log: when to read it, and how each entry gets to the streams that it is for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from eric_sse_django import conf
from eric_sse_django.counters import Counters
from eric_sse_django.entry import NO_CHANNEL, REVOKE, Entry
from eric_sse_django.hub.chains import OUTCOMES, Chains
from eric_sse_django.hub.ends import End
from eric_sse_django.hub.feed import Feeds, ReadLimit
from eric_sse_django.hub.poll import Poll
from eric_sse_django.hub.queue_watchers import QueueWatchers
from eric_sse_django.hub.revocations import Revocations
from eric_sse_django.hub.waiting import joined, take_joined, take_of_channels
from eric_sse_django.log import Channels, ChannelSegment, Known, Log, Look, Segment, is_next
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

_position = attrgetter("position")

# Entries and bytes read at once: enough to make a query's cost small for each, few
# enough that 1,000 streams that write in between are not kept waiting.
LIVE_ROWS = 1_000
LIVE_BYTES = 1_048_576
# Channels named in the query; when exceeded, all are read and the others ignored.
CHANNELS_IN_QUERY = 100
# Segments that wait while the log is read, or the loop is busy; when exceeded, the log is read.
MAX_SEGMENTS = 64
# The same of one channel each: a segment of the log may have 128. The 32 KB of each are 16 MB.
MAX_CHANNEL_SEGMENTS = 512
# Seconds of a delivery from which on a rest follows it, and of such a rest at most.
LONG_DELIVERY_S = 0.001
MAX_REST_S = 0.05
# Seconds a read may take more than the poll interval: longer, and the loop or the query hangs.
MAX_LATE_S = 10.0


class Follower:
    """
    Reads the log's end for all streams: each entry up to `position` is delivered to its feeds.

    `run` calls a function on the thread that reads the log; `ring` has messages sequenced that
    wait for a position. Only for the hub's `loop`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        log: Log,
        run: Callable[..., Awaitable[Any]],
        counters: Counters,
        revocations: Revocations,
        on_history: Callable[[], None],
        ring: Callable[[], None],
    ) -> None:
        self.known = Known(0)
        self.feeds = Feeds()
        self.poll = Poll()
        self.outage = Outage(logger, "reading the log")
        # Called when `position` has changed, or a channel has more.
        self.queue_watchers = QueueWatchers()
        self._loop = loop
        self._log = log
        self._run = run
        self._counters = counters
        self._revocations = revocations
        self._on_history = on_history
        self._ring = ring
        self._chains = Chains(self.feeds, counters)
        self._limit = ReadLimit(LIVE_BYTES, LIVE_ROWS)
        self._delivered = 0  # the position up to which all feeds have their entries
        self._woken_for = 0  # the position of the last calls of the queue watchers
        self._awaited: list[asyncio.Future[None]] = []
        self._read_at = time.monotonic()
        self._woken_at: float | None = None  # the first wake that no read has begun for
        self._segments: deque[Segment | ChannelSegment] = deque()  # that are not taken yet
        self._is_planned = False  # _take_waiting() will be called
        self._is_looking = False
        self._is_resting = False  # see _rest()

    @property
    def position(self) -> int:
        """Up to where every entry has been delivered."""
        return self.known.position

    @property
    def newest(self) -> Known:
        """The log at the highest position that a stream may have come to."""
        return max([self.known, *self.feeds.ahead.values()], key=_position)

    def trouble(self) -> str | None:
        """Return why it does not follow the log, None while it does. From any thread."""
        unread_s = time.monotonic() - self._read_at
        is_late = unread_s > conf.get("POLL_INTERVAL_S") + MAX_LATE_S
        late = f"the log has not been read for {unread_s:.0f} s" if is_late else None
        return self.outage.trouble or late

    def wake(self, segment: Segment | ChannelSegment | None = None) -> None:
        """
        Deliver a segment's entries soon, or read the log. Safe from any thread, returns at once.

        The log is also read where the segment is not what comes next here.
        """
        go_on = self._keep(segment)
        if go_on is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has closed
            self._loop.call_soon_threadsafe(go_on)

    def take(self, segment: Segment | ChannelSegment | None = None) -> None:
        """As wake(), at once, on the loop."""
        go_on = self._keep(segment)
        if go_on is not None:
            go_on()

    def _keep(self, segment: Segment | ChannelSegment | None) -> Callable[[], None] | None:
        """Keep a segment for later; return what to call on the loop, None if that is planned."""
        if self._woken_at is None:
            self._woken_at = time.monotonic()
        most = MAX_CHANNEL_SEGMENTS if isinstance(segment, ChannelSegment) else MAX_SEGMENTS
        if segment is None or len(self._segments) >= most:
            return self.poll.wake
        self._segments.append(segment)
        if self._is_planned:
            return None
        self._is_planned = True
        return self._take_waiting

    async def look(self) -> None:
        """Wait until the log has been read to its end, beginning from now."""
        looked = asyncio.get_running_loop().create_future()
        self._awaited.append(looked)
        self.poll.wake()
        await looked

    async def start(self) -> None:
        """Begin at the head of the log. Waits as long as the database is unavailable."""
        while True:
            try:
                head = await self._run(self._log.follow)
                break
            except Exception:  # noqa: BLE001 - the loop that owns this task
                await asyncio.sleep(self.outage.failed())
        self.outage.over()
        self._skip_to(head)
        # The first look calls them: a queue may have been read before, and what was
        # published since is below this head.
        self.poll.wake()

    async def follow(self) -> None:
        """Read the log whenever there is a reason to, until cancelled."""
        while True:
            try:
                self._take_segments()  # those that came while the log was read
                await self.poll.wait()
                woken_at, self._woken_at = self._woken_at, None
                if woken_at is not None:
                    self._counters.wake_delays.note(time.monotonic() - woken_at)
                self._is_looking = True
                await self._look()
                if self.outage.failures:
                    self.outage.over()
            except Exception:  # noqa: BLE001 - the loop that owns this task
                self._repair()
                await asyncio.sleep(self.outage.failed())
                self.poll.wake()
            finally:
                self._is_looking = False

    def _repair(self) -> None:
        """Let the streams read the log, if it is unknown which feeds have the entries."""
        if self._delivered != self.known.position:
            self._skip_to(self.known)

    async def _look(self) -> None:
        """Read from `position` to the log's head, and deliver what is there."""
        awaited, self._awaited = self._awaited, []
        target = None
        try:
            while target is None or self.known.position < target:
                if target is not None:  # it is more than is read at once
                    await asyncio.sleep(0)  # the streams write before the next read
                self.feeds.new.clear()
                among, rows = self._among(), self._limit.rows
                self._counters.looks += 1
                look: Look = await self._run(self._log.look, self.known, among, rows)
                if look.waits:
                    self._ring()
                target = look.head.position if target is None else target
                if look.is_same and not self._agrees(look, rows):
                    look = look._replace(is_same=False)
                if look.is_same and look.head.trimmed <= self.known.position:
                    self._deliver(look, rows)
                else:
                    await self._skip(look)
            self._read_at = time.monotonic()
        except BaseException:
            self._awaited += [looked for looked in awaited if not looked.done()]
            raise
        for looked in awaited:
            if not looked.done():
                looked.set_result(None)
        self._wake()

    def _among(self) -> Channels | None:
        """Return what to read, for look(): of a feed that is ahead only from its last entry on."""
        feeds = self.feeds
        if len(feeds.by_channel) > CHANNELS_IN_QUERY:
            return None
        if not feeds.ahead:
            return {NO_CHANNEL, *feeds.by_channel}
        return {NO_CHANNEL: 0, **feeds.reached()}

    def _agrees(self, look: Look, rows: int) -> bool:
        """Return whether a look has what feeds got before it; else the database went back."""
        is_whole = len(look.entries) < rows
        upto = look.head if is_whole else look.head._replace(position=look.entries[-1].position)
        is_before = look.head.position < self.newest.position
        return not is_before and self._chains.agrees(look.entries, upto)

    def _take_waiting(self) -> None:
        self._is_planned = False  # before: what is added from now on plans another call
        self._take_segments()

    def _take_segments(self) -> None:
        """
        Deliver the segments that are what comes next; for others read the log.

        As much in a turn of the loop as a read has, so that the streams write in between: several
        that had waited filled their buffers, and each stream read the log.
        """
        while self._segments and not (self._is_looking or self._is_resting):
            began = time.monotonic()
            outcome = self._take_next()
            if outcome == "looked":
                self.poll.wake()
            elif self._woken_at is not None:
                self._counters.wake_delays.note(time.monotonic() - self._woken_at)
                self._woken_at = None
            if outcome == "taken":
                self._rest(time.monotonic() - began)
        self._wake()

    def _take_next(self) -> str:
        """Deliver the first segments that wait, as many as fit together; return the outcome."""
        count, first = 1, self._segments[0]
        try:
            if isinstance(first, ChannelSegment):
                return self._take_channels()
            if len(self._segments) == 1:
                self._segments.clear()
                segments = [first]
            else:
                segments = take_joined(self._segments, self.known, LIVE_ROWS, LIVE_BYTES)
            count = len(segments)
            outcome = self._take(segments[0] if count == 1 else joined(segments))
        except Exception:
            logger.exception("a segment could not be delivered, the log is read")
            self._repair()
            outcome = "looked"
        self._counters.segments[outcome] += count
        return outcome

    def _take_channels(self) -> str:
        """As _take_next(), for those of channels; each has an outcome."""
        parts = take_of_channels(self._segments, LIVE_ROWS, LIVE_BYTES)
        outcomes = self._take_parts(parts)
        self._counters.segments.update(outcomes)
        return max(outcomes, key=OUTCOMES.index)

    def _rest(self, took_s: float) -> None:
        """
        Take no segment before the streams have written, nor for as long as a delivery took.

        What comes meanwhile is written together: with 1,000 streams and a publisher at full
        speed, a delivery took a third more CPU without this.
        """
        if took_s >= LONG_DELIVERY_S:
            self._is_resting = True
            self._loop.call_later(min(took_s, MAX_REST_S), self._end_rest)
        elif self._segments:
            self._is_resting = True
            self._loop.call_soon(self._end_rest)

    def _end_rest(self) -> None:
        self._is_resting = False
        self._take_segments()

    def _take(self, segment: Segment) -> str:
        """Deliver a segment's entries, if they are what comes next; return the outcome."""
        if segment.known[:2] == self.known[:2]:
            return "known"  # a look has found the same
        feeds = self.feeds.by_channel
        fed = any(channel == NO_CHANNEL or channel in feeds for channel in segment.channels)
        if not is_next(segment, self.known) or (fed and segment.entries is None):
            outcomes = self._take_parts(segment.by_channel())
            return max(outcomes, default="looked", key=OUTCOMES.index)
        entries, reached = segment.entries or [], segment.known
        if self.feeds.ahead and not self._chains.agrees(entries, reached):
            return "looked"
        self.feeds.new.clear()  # a segment is of all channels
        self._hand_out(entries, reached._replace(trimmed=self.known.trimmed))
        return "taken" if fed else "passed"

    def _take_parts(self, parts: Sequence[ChannelSegment]) -> list[str]:
        """Deliver the entries that are what comes next in a channel; return the outcomes."""
        outcomes = self._chains.take(parts, self.known)
        for part in parts:
            self.queue_watchers.wake_of(part.channel)
        return outcomes

    def _wake(self) -> None:
        if self._woken_for != self.known.position:
            self._woken_for = self.known.position
            if self.queue_watchers.by_channel:
                self.queue_watchers.wake()

    def _deliver(self, look: Look, rows: int) -> None:
        """Hand the entries that fit, of `rows` that were read, to the feeds of their channels."""
        entries, reached = self._limit.fit(look.entries), look.head
        if entries and (len(entries) < len(look.entries) or len(entries) >= rows):
            last = entries[-1]
            reached = reached._replace(position=last.position, stamp=last.stamp)
        self._hand_out(entries, reached)

    def _hand_out(self, entries: list[Entry], reached: Known) -> None:
        """Give entries to the feeds of their channels, which then have all up to `reached`."""
        for entry in entries:
            if entry.channel == NO_CHANNEL:
                self._apply(entry)
        self.known = reached
        if entries:
            shares = self.feeds.share(entries)
            # The first has waited longest; one sample a read costs nothing.
            first = self._first(shares.values()) if self.feeds.ahead else entries[0]
            if first is not None:
                self._counters.delivers(first.age_s(time.time()))
            for feed, its_entries in shares.items():
                feed.take_safely(its_entries, reached.position)
        for feed in self.feeds.new:
            feed.skip_to(reached.position)  # it came while the others' entries were read
        if self.feeds.ahead:
            self.feeds.follow(reached.position)
        self._delivered = reached.position

    def _first(self, shares: Iterable[list[Entry]]) -> Entry | None:
        """Return the first entry that was not delivered before."""
        return min((entries[0] for entries in shares), key=_position, default=None)

    async def _skip(self, look: Look) -> None:
        """Continue at the head, if the log has another history, or lost what was not read."""
        if not look.is_same:
            await self._change_history(look.head)
        elif await self._read_notices(look.head.position):
            # The streams read the log, which has a reset for them.
            self._skip_to(look.head)

    def _skip_to(self, head: Known) -> None:
        """Continue at `head`; the streams read the log up to there."""
        self.known = head
        for feed in self.feeds:
            feed.skip_to(head.position)
        self.feeds.follow(head.position)
        self._delivered = head.position

    async def _change_history(self, head: Known) -> None:
        """Begin again: the database went back, or another process has noticed that it did."""
        before = self.newest.position
        begun = await self._run(self._log.follow, before)
        logger.warning(
            "the log has another history: it is at %d, this process was at %d, positions continue "
            "after %d, all streams end: was the database restored?",
            head.position,
            before,
            begun.position,
        )
        self._counters.histories += 1
        self._on_history()
        self._revocations.begin_history(begun.position)
        self.feeds.forget_reached()
        self._skip_to(begun)

    # Notices: messages to all hubs ------------------------------------------------

    async def _read_notices(self, head: int) -> bool:
        """
        Apply the notices up to `head`: the streams' own reads do not see them.

        Returns False if the log has another history, which has then begun.
        """
        known = self.known
        while known.position < head:
            look: Look = await self._run(self._log.look, known, {NO_CHANNEL}, LIVE_ROWS)
            if not look.is_same:
                await self._change_history(look.head)
                return False
            for notice in look.entries:
                if notice.position <= head:  # what is after it is read again, and applied then
                    self._apply(notice)
            if len(look.entries) < LIVE_ROWS:
                break
            last = look.entries[-1]
            known = known._replace(position=last.position, stamp=last.stamp)
        return True

    def _apply(self, notice: Entry) -> None:
        """Apply a notice before what was published after it is delivered."""
        try:
            if notice.type == REVOKE:
                self._revocations.revoke(notice.position, json.loads(notice.payload))
        except Exception:
            # It may revoke anybody's access: all clients reconnect, and are checked again.
            logger.exception("a notice cannot be applied position=%d", notice.position)
            for feed in self.feeds:
                feed.end_all(End.ERROR)
