"""The chain of each channel: its segments that come next are delivered without a read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from eric_sse_django.counters import Counters
from eric_sse_django.entry import Entry
from eric_sse_django.hub.feed import Feed, Feeds
from eric_sse_django.log import ChannelSegment, Known, number_of

# What was done with a segment; that of several feeds is the last of these.
OUTCOMES = ("passed", "known", "taken", "looked")


def continues(segment: ChannelSegment, feed: Feed, have: int, known: Known) -> bool:
    """
    Return whether a segment is what comes next for a feed of its channel.

    The feed has its entries up to `have`, and the hub has read notices up to `known`: streams that
    a notice revokes must have ended before an entry after it is delivered. What retention removed
    after `have` may be of this channel. A feed of several channels needs the log's order, so it
    needs what is between.
    """
    return (
        segment.after <= have
        and segment.notices <= known.position
        and segment.known.trimmed <= have
        and known.log in ("", segment.known.log)
        and number_of(known.position) == number_of(segment.known.position)
        and not feed.named
    )


class Chains:
    """Delivers channel segments to the feeds of one channel. Only for the hub's loop."""

    def __init__(self, feeds: Feeds, counters: Counters) -> None:
        self._feeds = feeds
        self._counters = counters

    def take(self, segments: Sequence[ChannelSegment], known: Known) -> list[str]:
        """
        Deliver what comes next, together; return each segment's outcome.

        `known` is up to where the hub has read the log. Where the outcome is "looked", the caller
        must read it.
        """
        shares: dict[Feed, tuple[list[Entry], Known]] = {}
        outcomes = [self._share(segment, known, shares) for segment in segments]
        for feed, (entries, reached) in shares.items():
            self._feeds.reach(feed, reached)
            feed.take_safely(entries, reached.position)
        if shares:
            ((first, *_), _) = next(iter(shares.values()))
            self._counters.delivers(first.age_s(time.time()))
        return outcomes

    def _share(
        self,
        segment: ChannelSegment,
        known: Known,
        shares: dict[Feed, tuple[list[Entry], Known]],
    ) -> str:
        """Add a segment's entries to the shares of its feeds; return the outcome."""
        outcomes = {"passed"}
        for feed in self._feeds.by_channel.get(segment.channel, ()):
            entries, reached = shares.get(feed, ([], None))
            have = max(feed.reached, known.position, reached.position if reached else 0)
            if segment.known.position <= have:
                outcomes.add("known")
            elif segment.entries is None or not continues(segment, feed, have, known):
                outcomes.add("looked")
            else:
                entries += [entry for entry in segment.entries if entry.position > have]
                shares[feed] = entries, segment.known
                outcomes.add("taken")
        return max(outcomes, key=OUTCOMES.index)

    def agrees(self, entries: Iterable[Entry], upto: Known) -> bool:
        """Return whether entries up to a position have the last ones that feeds got before."""
        ahead = self._feeds.ahead
        if not ahead:
            return True
        stamps = {entry.position: entry.stamp for entry in entries}
        return all(
            stamp in (None, stamps.get(position))
            for position, stamp, *_ in ahead.values()
            if upto.trimmed < position <= upto.position
        )
