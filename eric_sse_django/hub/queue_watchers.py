"""Functions for watched queues: they are called when the log has been read further."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from eric_sse_django.alarm import Undo, Wake

logger = logging.getLogger(__name__)


class QueueWatchers:
    """
    The functions to call, by the channel that each is for, or None. Only for the hub's loop.

    `on_change` is called when there are others `channels`.
    """

    def __init__(self) -> None:
        self.on_change: Callable[[], None] | None = None
        self.by_channel: dict[int | None, dict[object, Wake]] = {}

    def __bool__(self) -> bool:
        return bool(self.by_channel)

    @property
    def channels(self) -> frozenset[int]:
        """The channels that there are functions for."""
        return frozenset(channel for channel in self.by_channel if channel is not None)

    def add(self, wake: Wake, channel: int | None = None) -> Undo:
        """Add a function; return what removes it, which may be called twice."""
        key = object()
        is_change = channel not in self.by_channel
        self.by_channel.setdefault(channel, {})[key] = wake
        if is_change:
            self._changed()

        def undo() -> None:
            wakes = self.by_channel.get(channel, {})
            if wakes.pop(key, None) is not None and not wakes:
                del self.by_channel[channel]
                self._changed()

        return undo

    def wake(self) -> None:
        """Call all."""
        for wakes in tuple(self.by_channel.values()):
            _call(wakes.values())

    def wake_of(self, channel: int) -> None:
        """Call those of a channel."""
        if channel in self.by_channel:
            _call(self.by_channel[channel].values())

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()


def _call(wakes: Iterable[Wake]) -> None:
    for wake in tuple(wakes):
        try:
            wake()
        except Exception:  # a project's own function: it affects no other
            logger.exception("what watches a queue failed: %r", wake)
