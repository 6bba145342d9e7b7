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
from eric_sse_django.hub.ends import End
from eric_sse_django.hub.feed import Feed
from eric_sse_django.hub.feeds import Feeds
from eric_sse_django.hub.lookout import Lookout
from eric_sse_django.hub.read_limit import ReadLimit
from eric_sse_django.hub.revoked import Revoked
from eric_sse_django.log import Known
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

# Entries and bytes read at once: enough to make a query's cost small for each, few
# enough that 1,000 streams that write in between are not kept waiting.
READ_ROWS = 1_000
READ_BYTES = 1_048_576
# Channels named in the query; beyond, all are read and the others passed over.
CHANNELS_IN_QUERY = 100
# Seconds a look may take beyond the poll interval: longer, and the loop or the query hangs.
STUCK_S = 10.0


class Tail:
    """
    Follows the log: every entry up to `position` has been handed to its channel's feeds.

    `run` calls a function on the thread that reads the log. Only for the hub's loop.
    """

    def __init__(self, run: Callable[..., Awaitable[Any]], counters: Counters) -> None:
        self.known = Known(0)
        self._handed_out = 0  # the position up to which every feed has what is its own
        self.on_history: Callable[[], None] = lambda: None
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
    def position(self) -> int:
        """Up to where every entry has been handed out."""
        return self.known.position

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
                head = await self._run(log.first_look)
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
                if self._handed_out != self.known.position:
                    # Nobody knows which feeds have got it: no ring may have a hole.
                    self._skip_to(self.known)
                await asyncio.sleep(self._outage.failed())
                self.lookout.ring()

    async def _look(self) -> None:
        """Read from `position` to the log's head, and hand out what is there."""
        self._counters.looks()
        awaited, self._awaited = self._awaited, []
        try:
            before, target = self.known.position, await self._read_on()
            while self.known.position < target:  # it is more than is read at once
                await asyncio.sleep(0)  # the streams write before the next read
                await self._read_on()
            self._looked_at = time.monotonic()
        except BaseException:
            self._awaited += [looked for looked in awaited if not looked.done()]
            raise
        for looked in awaited:
            if not looked.done():
                looked.set_result(None)
        if before < self.known.position:
            for wake in tuple(self.wakers):
                wake()

    async def _read_on(self) -> int:
        """Hand out what comes next, as much as is read at once; return where the head was."""
        self.feeds.born.clear()
        rows = self._limit.rows
        # Each time whole: what was removed since the last is known by its head alone.
        look = await self._run(log.look, self.known, self._channels(), rows)
        if look.waits:
            notifier.ring()
        await self._take_look(look, rows)
        return int(look.head.position)

    async def _take_look(self, look: log.Look, rows: int) -> None:
        """Go on from what is known to the log's head, in whichever way that is safe."""
        head = look.head
        if not look.is_same:
            await self._change_history(head)
        elif head.trimmed > self.known.position:
            # Something may be gone that was not read here: the streams read the log, and
            # are told by it.
            await self._read_notices(head.position)
            self._skip_to(head)
        elif self.known.position < head.position:
            self._take(look.entries, head, rows)
        else:
            self.known = head

    async def _change_history(self, head: Known) -> None:
        """Begin anew: the database went back, or others have noticed that it did."""
        before = self.position
        begun = await self._run(log.begin_history, before)
        logger.warning(
            "the log has another history: it is at %d, this process was at %d, positions go on "
            "after %d, all streams end: was the database restored?",
            head.position,
            before,
            begun.position,
        )
        self._counters.histories += 1
        self.revoked.begin(begun.position)
        self.on_history()
        self._skip_to(begun)

    def _take(self, found: list[Entry], head: Known, rows: int) -> None:
        """Hand out what was found up to `head`; of more than fits, the first."""
        entries = self._limit.fit(found)
        is_all = len(entries) == len(found) < rows
        last = None if is_all else entries[-1]
        reached = head if last is None else Known(last.position, last.stamp, head.trimmed)
        self._hand_out(entries, reached)

    def _channels(self) -> set[int] | None:
        """Return those to read, with what is told to all hubs; None for all there are."""
        channels = self.feeds.channels()
        return {NO_CHANNEL, *channels} if len(channels) <= CHANNELS_IN_QUERY else None

    def _hand_out(self, entries: list[Entry], reached: Known) -> None:
        if notices := [entry for entry in entries if entry.channel == NO_CHANNEL]:
            self._obey(notices)
        self.known = reached
        if entries:
            # The first has waited longest; one sample a read costs nothing.
            self._counters.handed_out(entries[0].age_s(time.time()))
        for feed, its_own in self.feeds.share_out(entries):
            try:
                feed.take(its_own)
            except Exception:
                logger.exception("a feed failed, its streams read the log: %s", feed.channels)
                feed.skip_to(reached.position)
        for feed in self.feeds.born:
            feed.skip_to(reached.position)  # it came while the others' entries were read
        self._handed_out = reached.position

    def _obey(self, notices: Sequence[Entry]) -> None:
        """Do what is told to all hubs: before what was published later goes out."""
        for notice in notices:
            try:
                self._obey_one(notice)
            except Exception:
                # Access may have been taken from anybody: all reconnect, and are asked again.
                logger.exception("a notice cannot be obeyed position=%d", notice.position)
                for feed in self.feeds:
                    feed.end_all(End.ERROR)

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

    def _skip_to(self, head: Known) -> None:
        self.known = head
        for feed in self.feeds:
            feed.skip_to(head.position)
        self._handed_out = head.position
