"""The feeds of a hub, by the channels they are of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from eric_sse_django import conf
from eric_sse_django.entry import Entry
from eric_sse_django.hub.feed import Feed
from eric_sse_django.hub.ring import Rings

# Seconds that a ring outlives its last stream: who reconnects after a blip is served from
# memory.
LINGER_S = 30.0


class Feeds:
    """
    One feed for each set of channels that streams are of. Mostly these are single channels.

    `born` has those that came since it was last cleared. Only for the hub's loop.
    """

    def __init__(self) -> None:
        self.rings = Rings(conf.get("RING_BYTES"))
        self.born: list[Feed] = []
        self._feeds: dict[tuple[int, ...], Feed] = {}
        self._by_channel: dict[int, list[Feed]] = {}

    def __iter__(self) -> Iterator[Feed]:
        return iter(tuple(self._feeds.values()))

    def of(self, channels: Iterable[int], position: int) -> Feed:
        """Return the feed of just these channels; a new one begins at `position`."""
        key = tuple(sorted(channels))
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(key, position, conf.get("RING_MESSAGES"), self.rings)
            self.born.append(feed)
            for channel in key:
                self._by_channel.setdefault(channel, []).append(feed)
        return feed

    def found(self, channels: Iterable[int]) -> Feed | None:
        """Return the feed of just these channels, if there is one."""
        return self._feeds.get(tuple(sorted(channels)))

    def channels(self) -> Collection[int]:
        """Return the channels that some feed is of."""
        return self._by_channel.keys()

    def share_out(self, entries: Iterable[Entry]) -> Iterable[tuple[Feed, list[Entry]]]:
        """
        Return who gets which of the entries, in their order; nothing for who is born.

        Costs nothing for the feeds of other channels.
        """
        shares: dict[Feed, list[Entry]] = {}
        for entry in entries:
            for feed in self._by_channel.get(entry.channel, ()):
                shares.setdefault(feed, []).append(entry)
        for feed in self.born:
            shares.pop(feed, None)
        return shares.items()

    def bound(self, hubs: int) -> None:
        """Keep the rings within the share of RING_BYTES that each of a process's hubs has."""
        self.rings.max_bytes = conf.get("RING_BYTES") // max(1, hubs)
        self.rings.make_room()

    def forget_quiet(self, now: float) -> None:
        """Forget those whose last stream left LINGER_S ago."""
        for key, feed in tuple(self._feeds.items()):
            if feed.quiet_since is not None and now - feed.quiet_since > LINGER_S:
                del self._feeds[key]
                feed.forget()
                for channel in key:
                    feeds = self._by_channel[channel]
                    feeds.remove(feed)
                    if not feeds:
                        del self._by_channel[channel]
