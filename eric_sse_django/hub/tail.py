"""The log's tail: read once for all channels that have streams here."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from eric_sse_django import conf, log, notifier
from eric_sse_django.entry import NO_CHANNEL, REVOKE, Entry
from eric_sse_django.hub.counters import Counters
from eric_sse_django.hub.feed import Feed
from eric_sse_django.hub.feeds import Feeds
from eric_sse_django.hub.lookout import Lookout
from eric_sse_django.hub.read_limit import ReadLimit
from eric_sse_django.hub.revoked import Revoked
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
# Seconds a look may take beyond the poll interval: longer, and the loop or the query hangs.
STUCK_S = 10.0


class Tail:
    """
    Follows the log: every entry up to `position` has been handed to its channel's feeds.

    `run` calls a function on the thread that reads the log. Only for the hub's loop.
    """

    def __init__(self, run: Callable[..., Awaitable[Any]], counters: Counters) -> None:
        self.position = 0
        self._handed_out = 0  # the position up to which every feed has what is its own
        self.feeds = Feeds()
        self.revoked = Revoked()
        self.lookout = Lookout()
        self.wakers: set[Callable[[], None]] = set()
        self._run = run
        self._counters = counters
        self._limit = ReadLimit(READ_BYTES, READ_ROWS)
        self._awaited: list[asyncio.Future[None]] = []
        self._outage = Outage(logger, "reading the log")
        self._looked_at = time.monotonic()

    @property
    def outage(self) -> Outage:
        """What it does that may fail: reading the log."""
        return self._outage

    def trouble(self) -> str | None:
        """Return why it does not follow the log, None while it does. From any thread."""
        unseen_s = time.monotonic() - self._looked_at
        is_late = unseen_s > conf.get("POLL_INTERVAL_S") + STUCK_S
        late = f"the log was not looked at for {unseen_s:.0f} s" if is_late else None
        return self._outage.trouble or late

    def feed_of(self, *channels: int) -> Feed:
        """Return the feed of these channels; reads that begin from now on cover it."""
        return self.feeds.of(channels, self.position)

    async def look(self) -> None:
        """Wait until the log has been looked at, beginning from now."""
        looked = asyncio.get_running_loop().create_future()
        self._awaited.append(looked)
        self.lookout.ring()
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
                if self._handed_out != self.position:
                    # Nobody knows which feeds have got it: no ring may have a hole.
                    self._skip_to(self.position)
                await asyncio.sleep(self._outage.failed())
                self.lookout.ring()

    async def _look(self) -> None:
        """Read from `position` to the log's head, and hand out what is there."""
        self._counters.looks()
        awaited, self._awaited = self._awaited, []
        try:
            self.feeds.born.clear()
            rows, channels = self._limit.rows, self._channels()
            head, pending, found = await self._run(log.look, self.position, channels, rows)
            if pending:
                notifier.ring()
            await self._check(head)
            before = self.position
            if self.position < head:
                self._take(found, head, rows)
            while self.position < head:
                await asyncio.sleep(0)  # the streams write before the next read
                await self._read(head)
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

    async def _check(self, head: int) -> None:
        """Have the streams read the log themselves where the tail was not followed."""
        if head < self.position:
            logger.warning(
                "the log's head went back from %d to %d: was the database restored?",
                self.position,
                head,
            )
        if head < self.position or time.monotonic() - self._looked_at > BLIND_S:
            await self._read_notices(head)
            self._skip_to(head)

    async def _read(self, head: int) -> None:
        self.feeds.born.clear()
        rows = self._limit.rows
        found = await self._run(log.tail, self.position, head, self._channels(), rows)
        self._take(found, head, rows)

    def _take(self, found: list[Entry], head: int, rows: int) -> None:
        """Hand out what was found up to `head`; of more than fits, the first."""
        entries = self._limit.fit(found)
        is_all = len(entries) == len(found) < rows
        self._hand_out(entries, head if is_all else entries[-1].position)

    def _channels(self) -> set[int] | None:
        """Return those to read, with what is told to all hubs; None for all there are."""
        channels = self.feeds.channels()
        return {NO_CHANNEL, *channels} if len(channels) <= CHANNELS_IN_QUERY else None

    def _hand_out(self, entries: list[Entry], reached: int) -> None:
        self._obey([entry for entry in entries if entry.channel == NO_CHANNEL])
        self.position = reached
        if entries:
            # The first has waited longest; one sample a read costs nothing.
            self._counters.handed_out(entries[0].age_s(time.time()))
        for feed, its_own in self.feeds.share_out(entries):
            try:
                feed.take(its_own)
            except Exception:
                logger.exception("a feed failed, its streams read the log: %s", feed.channels)
                feed.skip_to(reached)
        for feed in self.feeds.born:
            feed.skip_to(reached)  # it came while the others' entries were read
        self._handed_out = reached

    def _obey(self, notices: Sequence[Entry]) -> None:
        """Do what is told to all hubs: before what was published later goes out."""
        for notice in notices:
            try:
                self._obey_one(notice)
            except Exception:
                # Access may have been taken from anybody: all reconnect, and are asked again.
                logger.exception("a notice cannot be obeyed position=%d", notice.position)
                for feed in self.feeds:
                    feed.end_all("error")

    def _obey_one(self, notice: Entry) -> None:
        if notice.type == REVOKE:
            self.revoked.note(notice.position, frozenset(json.loads(notice.payload)))

    async def _read_notices(self, head: int) -> None:
        """Obey what is told to all hubs up to `head`: the streams' own reads miss it."""
        after = self.position
        while after < head:
            notices = await self._run(log.tail, after, head, {NO_CHANNEL}, READ_ROWS)
            self._obey(notices)
            after = notices[-1].position if len(notices) == READ_ROWS else head

    def _skip_to(self, head: int) -> None:
        self.position = head
        for feed in self.feeds:
            feed.skip_to(head)
        self._handed_out = head
