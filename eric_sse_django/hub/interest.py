"""Which channels a hub needs the segments of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from eric_sse_django.hub.feed import Feeds
from eric_sse_django.hub.queue_watchers import QueueWatchers

Want: TypeAlias = "Callable[[frozenset[int]], None]"

# Seconds between two calls: the set is built for each, which takes 0.3 ms for 20,000 channels.
REST_S = 0.01


class Interest:
    """
    The channels of a hub's feeds, and of the queues that are watched. Only for the hub's loop.

    Costs nothing without a subscriber, nor while the channels stay the same.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, feeds: Feeds, watchers: QueueWatchers
    ) -> None:
        self._loop = loop
        self._feeds = feeds
        self._watchers = watchers
        self._want: Want | None = None
        self._wanted: frozenset[int] | None = None  # of the last call
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False

    def subscribe(self, want: Want | None) -> None:
        """Call want() with all channels now, and soon after each change; None ends that."""
        self._want = want
        is_wanted = want is not None
        self._feeds.on_change = self._watchers.on_change = self._changed if is_wanted else None
        self._wanted = None
        self._call_if_changed()

    @property
    def is_asked(self) -> bool:
        """Whether a subscriber needs it: then the hub's position is as late as its last look."""
        return self._want is not None

    def channels(self) -> frozenset[int]:
        """Return the channels."""
        return frozenset(self._feeds.by_channel) | self._watchers.channels

    def _changed(self) -> None:
        """Call want() in the next turn of the loop, or after a rest."""
        if self._timer is None:
            self._timer = self._loop.call_later(0, self._call)
        else:
            self._is_late = True

    def _call(self) -> None:
        self._is_late = False
        self._timer = self._loop.call_later(REST_S, self._end_rest)
        self._call_if_changed()

    def _call_if_changed(self) -> None:
        if self._want is not None and (channels := self.channels()) != self._wanted:
            self._wanted = channels
            self._want(channels)

    def _end_rest(self) -> None:
        self._timer = None
        if self._is_late:
            self._call()
