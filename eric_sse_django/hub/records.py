"""What a hub writes to the database: cursors, and its lease with its streams'."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from eric_sse_django.hub import arrivals, cursors, presence
from eric_sse_django.hub.counters import totals
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

# Each costs the database 10 µs and this process as much, which holds up the hub's reads: so
# those of many streams are written less often than once a second.
CURSORS_PER_S = 4_000
MOST_REST_S = 10.0  # well within a lease

Run = Callable[..., Awaitable[Any]]


class Records:
    """Collects what streams do; all of it is written in one round, once a second or less often."""

    def __init__(self) -> None:
        self.cursors = cursors.Cursors()
        self.counters = totals.of_new_hub()
        self._presence = presence.Presence()
        self._keys: dict[Any, list[int]] = {}
        self._delivered = 0
        self._rest_until = 0.0
        self._outage = Outage(logger, "writing cursors and presence")

    def opened(self, stream: Any) -> None:
        """Note that a stream is open. A watcher's writes no row of its own."""
        self.counters.opened += 1
        listeners = [each.listener for each in stream.subscriptions if each.listener is not None]
        if listeners:
            self._keys[stream] = [self._presence.opened(listener) for listener in listeners]
        self._watch(stream, 1)

    def ended(self, stream: Any) -> None:
        """Note that a stream has ended."""
        self.counters.ended[stream.reason] += 1
        for key in self._keys.pop(stream, ()):
            self._presence.ended(key)
        self._watch(stream, -1)

    def _watch(self, stream: Any, more: int) -> None:
        for each in stream.subscriptions:
            if each.listener is None:
                self._presence.watched(each.channel, more)

    @property
    def waits(self) -> bool:
        """Whether there is something to write soon, though no stream be open."""
        return self.cursors.dirty or self._presence.waits

    def changes(self) -> list[arrivals.Change]:
        """Return the signals of listeners that joined or left since the last call."""
        found, self._presence.changes = self._presence.changes, []
        return found

    def forget(self) -> None:
        """Drop the cursors, and write the lease anew: the log has another history."""
        self.cursors.forget()
        self._presence.forget()

    def due(self, now: float) -> bool:
        """Whether something is to be written at time.monotonic() `now`."""
        if now < self._rest_until:
            return False
        delivered = self.counters.delivered != self._delivered
        return self.cursors.dirty or delivered or self._presence.due(now)

    async def write(self, run: Run, streams: int) -> None:
        """Write what waits; on an error it goes on waiting for the next round."""
        rest_s = min(self.cursors.waiting / CURSORS_PER_S, MOST_REST_S)
        p50, p99 = self.counters.delay_ms(0.5, 0.99)
        self._delivered = self.counters.delivered
        facts = {
            "streams": streams,
            "delivered": self._delivered,
            "delay_p50_ms": p50,
            "delay_p99_ms": p99,
        }
        try:
            await self.cursors.flush(run)
            await self._presence.flush(run, time.monotonic(), facts)
        except Exception:  # noqa: BLE001 - it goes on waiting, and is said once
            rest_s = max(rest_s, self._outage.failed())
        else:
            self._outage.over()
        self._rest_until = time.monotonic() + rest_s

    async def leave(self, run: Run) -> None:
        """Write the cursors for the last time, and give the lease back."""
        try:
            await self.cursors.flush(run)
            await self._presence.leave(run)
        except Exception:
            logger.debug("cursors or presence could not be written", exc_info=True)

    def retire(self) -> None:
        """Keep what was counted in the process's sums. May be called twice."""
        totals.retire(self.counters)

    def last_words(self) -> list[tuple[Any, ...]]:
        """Return the calls, as (function, *args), that write the same without a loop."""
        return [*self.cursors.last_words(), *self._presence.last_words()]
