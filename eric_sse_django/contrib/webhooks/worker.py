"""The worker: it finds endpoints with something to send, and sends for several at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

from django.utils import timezone

from eric_sse_django import notifier
from eric_sse_django.contrib.webhooks import conf, endpoints
from eric_sse_django.contrib.webhooks.delivery import TURN_S, take_turn
from eric_sse_django.contrib.webhooks.models import Endpoint
from eric_sse_django.hub import Hub
from eric_sse_django.outage import Outage
from eric_sse_django.workers import Hung, Workers

logger = logging.getLogger(__name__)

# Seconds between two queries for retries and dead letters that are due.
TICK_S = 1.0
# Seconds between two searches in all channels, for what no wake has announced.
SWEEP_S = 15.0
# Seconds of a turn's queries and of its last request's look-up of the host, beside its limits.
MARGIN_S = 60.0


class Found(NamedTuple):
    """The endpoints that are due, and after a sweep the channels of all that are served."""

    due: list[int]
    channels: list[int] | None


def find(channels: Collection[int] | None) -> Found:
    """Return what is due in some channels; None for a sweep of all."""
    notifier.settle()
    due = endpoints.due(channels, timezone.now())
    if channels is not None:
        return Found(due, None)
    running = Endpoint.objects.filter(listener__running=True)
    return Found(due, list(running.values_list("listener__channel", flat=True).distinct()))


class Worker:
    """
    Serves endpoints until stop(). Several may run, in any number of processes.

    New messages wake it by way of the hub, so that they are sent at once. `threads` is how many
    endpoints it serves at the same time.
    """

    def __init__(self, threads: int = 4) -> None:
        self.accepted = 0
        self._replaced: Counter[str] = Counter()
        self._workers = Workers(
            "eric-sse-webhooks",
            lambda: TURN_S + float(conf.get("TIMEOUT_S")) + MARGIN_S,
            self._replaced,
            max_threads=threads,
            max_hung=threads,
        )
        self._outage = Outage(logger, "looking for webhooks to send")
        self._woken: set[int] = set()
        self._served: set[int] = set()
        self._undo: dict[int, Callable[[], None]] = {}
        self._stopping = False
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """End after the requests that run. Only for its loop, as a handler of a signal."""
        self._stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Serve until stop()."""
        hub, sweep_at = Hub.for_running_loop(), 0.0
        try:
            while not self._stopping:
                self._changed.clear()
                now = time.monotonic()
                self._workers.check(now)
                is_sweep = now >= sweep_at
                woken, self._woken = self._woken, set()
                rest_s = await self._look(hub, None if is_sweep else woken)
                if is_sweep:
                    sweep_at = now + SWEEP_S
                await self._wait(rest_s)
        finally:
            await self._finish()

    async def _look(self, hub: Hub, channels: Collection[int] | None) -> float:
        """Begin the turns that are due; return the seconds until the next look."""
        try:
            found = await hub.run(find, channels)
        except Exception:  # noqa: BLE001 - the loop that owns this worker
            self._woken |= set(channels or ())
            return self._outage.failed()
        self._outage.over()
        if found.channels is not None:
            self._watch(hub, found.channels)
        served = self._served & set(found.due)
        for key in found.due:
            if key not in served:
                self._begin(key)
        if served:
            # Its turn may have read its last page already: looked for again when it has ended.
            self._woken |= set(channels or found.channels or ())
        return TICK_S

    def _watch(self, hub: Hub, channels: Collection[int]) -> None:
        """Be woken by these channels, and by no others."""
        for channel in self._undo.keys() - set(channels):
            self._undo.pop(channel)()
        for channel in set(channels) - self._undo.keys():
            self._undo[channel] = hub.add_waker(partial(self._wake, channel), channel)

    def _wake(self, channel: int) -> None:
        self._woken.add(channel)
        self._changed.set()

    def _begin(self, key: int) -> None:
        try:
            turn = asyncio.wrap_future(
                self._workers.submit(1, take_turn, key, lambda: self._stopping)
            )
        except (Hung, RuntimeError):
            return  # the next look tries it again
        self._served.add(key)
        turn.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: int, turn: asyncio.Future[int]) -> None:
        self._served.discard(key)
        error = None if turn.cancelled() else turn.exception()
        if error is not None:
            logger.error("a turn of an endpoint failed endpoint=%s", key, exc_info=error)
        elif not turn.cancelled():
            self.accepted += turn.result()
        self._changed.set()

    async def _wait(self, rest_s: float) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), rest_s)
        except asyncio.TimeoutError:
            return

    async def _finish(self) -> None:
        for undo in self._undo.values():
            undo()
        self._stopping = True
        self._workers.close()
        await asyncio.wait_for(asyncio.wrap_future(self._workers.ended), MARGIN_S)
