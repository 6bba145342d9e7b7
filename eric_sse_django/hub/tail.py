"""The log's tail: read once for all channels that have streams here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from eric_sse_django import conf, log, notifier
from eric_sse_django.entry import Entry
from eric_sse_django.hub.counters import Counters
from eric_sse_django.hub.feed import Feed
from eric_sse_django.hub.lookout import Lookout
from eric_sse_django.hub.read_limit import ReadLimit
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

# Entries and bytes read at once: enough to make a query's cost small for each, few
# enough that 1,000 streams that write in between are not kept waiting.
READ_ROWS = 1_000
READ_BYTES = 1_048_576
# Channels named in the query; beyond, all are read and the others passed over.
CHANNELS_IN_QUERY = 100
# Seconds without a look at the log after which its streams read it themselves: a trim
# may have removed (after 60 s at the earliest) what was not read here.
BLIND_S = 30.0
# Seconds that a channel's ring outlives its last stream: who reconnects after a blip
# is served from memory.
LINGER_S = 30.0


class Tail:
    """
    Follows the log: every entry up to `position` has been handed to its channel's feed.

    `run` calls a function on the hub's database thread. Only for the hub's loop.
    """

    def __init__(self, run: Callable[..., Awaitable[Any]], counters: Counters) -> None:
        self.position = 0
        self.feeds: dict[int, Feed] = {}
        self.lookout = Lookout(run)
        self.wakers: set[Callable[[], None]] = set()
        self._run = run
        self._counters = counters
        self._limit = ReadLimit(READ_BYTES, READ_ROWS)
        self._awaited: list[asyncio.Future[None]] = []
        self._outage = Outage(logger, "reading the log")
        self._looked_at = time.monotonic()

    def feed_of(self, channel: int) -> Feed:
        """Return the channel's feed; reads that begin from now on cover it."""
        feed = self.feeds.get(channel)
        if feed is None:
            feed = Feed(channel, self.position, conf.get("RING_MESSAGES"))
            self.feeds[channel] = feed
        return feed

    def forget_quiet(self, now: float) -> None:
        """Forget the channels whose last stream left LINGER_S ago."""
        for channel, feed in tuple(self.feeds.items()):
            if feed.quiet_since is not None and now - feed.quiet_since > LINGER_S:
                del self.feeds[channel]

    async def look(self) -> None:
        """Wait until the log has been looked at, beginning from now."""
        looked = asyncio.get_running_loop().create_future()
        self._awaited.append(looked)
        self.lookout.alarm.set()
        await looked

    async def start(self) -> None:
        """Find the head of the log, and begin there. Waits as long as the database is away."""
        while True:
            try:
                head, _ = await self._run(log.head)
                break
            except Exception:  # noqa: BLE001 - the loop that owns this task
                await asyncio.sleep(self._outage.failed())
        self._outage.over()
        self._skip_to(head)

    async def follow(self) -> None:
        """Look at the log whenever there is a reason to, for ever."""
        while True:
            try:
                await self.lookout.wait()
                await self._look()
                self._outage.over()
            except Exception:  # noqa: BLE001 - the loop that owns this task
                await asyncio.sleep(self._outage.failed())
                self.lookout.alarm.set()

    async def _look(self) -> None:
        """Read from `position` to the log's head, and hand out what is there."""
        self._counters.looks()
        awaited, self._awaited = self._awaited, []
        try:
            head, pending = await self._run(log.head)
            if pending:
                notifier.ring()
            if head < self.position:
                logger.warning(
                    "the log's head went back from %d to %d: was the database restored?",
                    self.position,
                    head,
                )
            if head < self.position or time.monotonic() - self._looked_at > BLIND_S:
                self._skip_to(head)
            before = self.position
            while self.position < head:
                await self._read(head)
                await asyncio.sleep(0)  # the streams write before the next read
            self._looked_at = time.monotonic()
        except BaseException:
            self._awaited += awaited
            raise
        for looked in awaited:
            if not looked.done():
                looked.set_result(None)
        if before < self.position:
            for wake in tuple(self.wakers):
                wake()

    async def _read(self, head: int) -> None:
        covered = set(self.feeds)
        entries: list[Entry] = []
        reached = head
        if covered:
            rows = self._limit.rows
            channels = covered if len(covered) <= CHANNELS_IN_QUERY else None
            found = await self._run(log.tail, self.position, head, channels, rows)
            entries = self._limit.fit(found)
            if len(entries) < len(found) or len(found) == rows:
                reached = entries[-1].position
        self._hand_out(entries, reached, covered)

    def _hand_out(self, entries: list[Entry], reached: int, covered: set[int]) -> None:
        by_channel: dict[int, list[Entry]] = {}
        for entry in entries:
            by_channel.setdefault(entry.channel, []).append(entry)
        self.position = reached
        if entries:
            # The first has waited longest; one sample a read costs nothing.
            self._counters.handed_out(entries[0].age_s(time.time()))
        for channel, feed in tuple(self.feeds.items()):
            if channel not in covered:
                feed.skip_to(reached)  # it came while the others' entries were read
            elif channel in by_channel:
                feed.take(by_channel[channel])

    def _skip_to(self, head: int) -> None:
        self.position = head
        for feed in tuple(self.feeds.values()):
            feed.skip_to(head)
