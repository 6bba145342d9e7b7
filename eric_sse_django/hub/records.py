"""What a hub writes to the database: cursors, and its lease with its streams'."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from eric_sse_django.counters import Counters
from eric_sse_django.hub.arrivals import Change
from eric_sse_django.hub.cursors import Cursors
from eric_sse_django.hub.presence import Presence
from eric_sse_django.log import Known
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

# Each costs the database 10 µs and this process as much, which delays the hub's reads: so
# those of many streams are written less often than once a second.
CURSORS_PER_S = 4_000
MAX_WRITE_REST_S = 10.0  # well within a lease

Run = Callable[..., Awaitable[Any]]


class Records:
    """
    Collects what streams do; all of it is written in one round, once a second or less often.

    `run` calls a function on the thread that writes; `known` returns what the hub knows of the
    log; `announce` sends the signals of listeners that joined or left.
    """

    def __init__(
        self,
        run: Run,
        counters: Counters,
        known: Callable[[], Known],
        announce: Callable[[Iterable[Change]], None],
    ) -> None:
        self.cursors = Cursors(known)
        self._run = run
        self._counters = counters
        self._announce = announce
        self._presence = Presence()
        self._keys: dict[Any, list[int]] = {}
        self._streams = 0
        self._delivered = 0
        self._rest_until = 0.0
        self._outage = Outage(logger, "writing cursors and presence")

    def opened(self, stream: Any) -> None:
        """Note that a stream is open. A watcher has no row."""
        self._streams += 1
        self._counters.opened += 1
        for each in stream.subscriptions:
            if each.listener is None:
                self._presence.watched(each.channel, 1)
            else:
                self._keys.setdefault(stream, []).append(self._presence.opened(each.listener))

    def ended(self, stream: Any) -> None:
        """Note that a stream has ended."""
        self._streams -= 1
        self._counters.ended[stream.reason] += 1
        for key in self._keys.pop(stream, ()):
            self._presence.ended(key)
        for each in stream.subscriptions:
            if each.listener is None:
                self._presence.watched(each.channel, -1)

    @property
    def waits(self) -> bool:
        """Whether there is something to write soon, even if no stream is open."""
        return self.cursors.dirty or self._presence.waits

    def forget(self) -> None:
        """Drop the cursors, and write the lease again: the log has another history."""
        self.cursors.forget()
        self._presence.forget()

    def due(self, now: float) -> bool:
        """Return whether something must be written at time.monotonic() `now`."""
        if now < self._rest_until:
            return False
        has_delivered = self._counters.delivered != self._delivered
        return self.cursors.dirty or has_delivered or self._presence.due(now)

    async def write(self) -> None:
        """Write what waits; on an error it waits for the next round."""
        rest_s = min(self.cursors.waiting / CURSORS_PER_S, MAX_WRITE_REST_S)
        p50, p99 = self._counters.delay_ms(0.5, 0.99)
        self._delivered = self._counters.delivered
        fields = {
            "streams": self._streams,
            "delivered": self._delivered,
            "delay_p50_ms": p50,
            "delay_p99_ms": p99,
        }
        try:
            await self.cursors.flush(self._run)
            await self._presence.flush(self._run, time.monotonic(), fields)
        except Exception:  # noqa: BLE001 - it waits for the next round, and is logged once
            rest_s = max(rest_s, self._outage.failed())
        else:
            self._outage.over()
        self._rest_until = time.monotonic() + rest_s
        changes, self._presence.changes = self._presence.changes, []
        self._announce(changes)

    async def close(self) -> None:
        """Write the cursors for the last time, and end the lease."""
        try:
            await self.cursors.flush(self._run)
            await self._presence.close(self._run)
        except Exception:
            logger.debug("cursors or presence could not be written", exc_info=True)

    def final_calls(self) -> list[tuple[Any, ...]]:
        """Return the calls, as (function, *args), that do the same without a loop."""
        return [*self.cursors.final_calls(), *self._presence.final_calls()]
