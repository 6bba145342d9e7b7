"""Finding the position after which the messages of each channel in a segment come."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from eric_sse_django.entry import NO_CHANNEL
from eric_sse_django.log import Known, Log, Segment, is_next, number_of

# Messages of other processes that are read at most: their channels, by one range of an index.
MAX_BETWEEN = 1_000
# Channels in a window, which take about 1 MB. It is long enough if it begins before the last polls
# of the hubs.
MAX_CHANNELS = 10_000


class Window:
    """
    The last position of each channel, of all that got positions after its beginning.

    It learns from what this process sequences. It takes a query only if another process has
    sequenced in between. Its methods may be called on any thread.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._begin = 0
        self._end: Known | None = None
        self._lasts: dict[int, int] = {}  # by channel, about oldest first
        self._lock = threading.Lock()

    def place(self, segment: Segment) -> Segment:
        """Return a segment with its `afters`, and with a `trimmed` that is not before these."""
        with self._lock:
            return self._place(segment)

    def place_at_once(self, segment: Segment) -> Segment | None:
        """As place(), without waiting: None if that would take a query, or another thread's."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            is_known = self._end is not None and is_next(segment, self._end)
            return self._place(segment) if is_known else None
        finally:
            self._lock.release()

    def _place(self, segment: Segment) -> Segment:
        channels, known = {*segment.channels, NO_CHANNEL}, segment.known
        if self._end is not None and _is_later(self._end, segment.before):
            # Threads that publish may overtake each other. What is before it was read already.
            return segment._replace(afters=dict.fromkeys(channels, segment.before.position))
        if self._end is None or not is_next(segment, self._end):
            known = known._replace(trimmed=max(known.trimmed, self._catch_up(segment.before)))
        afters = {channel: self._lasts.get(channel, self._begin) for channel in channels}
        if segment.entries is None:
            self._note(dict.fromkeys(segment.channels, known.position))
        else:
            self._note({entry.channel: entry.position for entry in segment.entries})
        self._end = known
        return segment._replace(known=known, afters=afters)

    def _catch_up(self, before: Known) -> int:
        """Learn what others have sequenced up to a position, or begin there; return `trimmed`."""
        end, between = self._end, None
        if end is not None and _is_later(before, end):
            between = self._log.channels_between(end, before.position, MAX_BETWEEN)
        if between is None:
            self._begin, self._lasts = before.position, {}
            return 0
        self._note(between.lasts)
        return between.trimmed

    def _note(self, lasts: Mapping[int, int]) -> None:
        for channel, position in lasts.items():
            self._lasts.pop(channel, None)
            self._lasts[channel] = position
        while len(self._lasts) > MAX_CHANNELS:
            oldest = next(iter(self._lasts))
            self._begin = max(self._begin, self._lasts.pop(oldest))


def _is_later(known: Known, other: Known) -> bool:
    """Return whether a position is after another one of the same log and history."""
    is_same = known.log == other.log and number_of(known.position) == number_of(other.position)
    return is_same and known.position > other.position
