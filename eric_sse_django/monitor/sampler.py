"""One snapshot a second for all who watch on one event loop, and none for nobody."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from eric_sse_django import wire
from eric_sse_django.hub import Hub, all_hubs
from eric_sse_django.monitor.snapshot import MOST_MESSAGES, Facts, Observer
from eric_sse_django.monitor.viewer import Viewer
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
# Snapshots whose numbers are kept: two minutes.
HISTORY = 120
# Seconds between two looks at whether the server stops.
TICK_S = 0.05

NUMBERS = (
    *("at", "published_per_s", "delivered_per_s", "streams", "waiting"),
    *("delay_p50_ms", "delay_p99_ms"),
)


class Sampler:
    """
    Takes the snapshots on the hub's database thread. Get it with `Sampler.of(hub)`.

    Keeps the numbers of the last two minutes, so that a page begins with what others saw.
    """

    def __init__(self) -> None:
        self._history: deque[Facts] = deque(maxlen=HISTORY)
        self._messages: deque[Facts] = deque(maxlen=MOST_MESSAGES)
        self._viewers: set[Viewer] = set()
        self._task: asyncio.Task[None] | None = None

    @staticmethod
    def of(hub: Hub) -> Sampler:
        """Return the hub's sampler, as long as there is the hub."""
        return _samplers.setdefault(hub, Sampler())

    @contextlib.contextmanager
    def watched_by(self, viewer: Viewer, hub: Hub) -> Iterator[None]:
        """Offer the viewer what was, and then each snapshot, in between."""
        viewer.offer(_event("history", self._past()))
        self._viewers.add(viewer)
        if self._task is None:
            # Outside the request's context: asgiref would tie its thread to our task.
            run = self._run(hub)
            self._task = contextvars.Context().run(asyncio.get_running_loop().create_task, run)
        try:
            yield
        finally:
            self._viewers.discard(viewer)
            if not self._viewers:
                self._task.cancel()
                self._task = None

    def _past(self) -> Facts:
        samples = [[facts[name] for name in NUMBERS] for facts in self._history]
        return {"names": NUMBERS, "samples": samples, "messages": list(self._messages)}

    async def _run(self, hub: Hub) -> None:
        """Take snapshots until cancelled."""
        observer, outage = Observer(), Outage(logger, "taking the monitor's snapshots")
        keeps_running = hub.add_waker(_nothing)
        timer = asyncio.ensure_future(self._tick(hub))
        try:
            while True:
                due = time.monotonic() + INTERVAL_S
                try:
                    self._publish(await hub.run(observer.take))
                    outage.over()
                except Exception:  # noqa: BLE001 - the loop that owns this task
                    due += outage.failed()
                    self._offer(wire.HEARTBEAT)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            timer.cancel()
            keeps_running()

    async def _tick(self, hub: Hub) -> None:
        """End those who watch when the server stops, or when they are old."""
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for viewer in tuple(self._viewers):
                viewer.on_tick(now)
                if hub.draining or hub not in all_hubs():
                    viewer.end("draining" if hub.draining else "hub closed")

    def _publish(self, facts: Facts) -> None:
        self._history.append({name: facts[name] for name in NUMBERS})
        self._messages.extend(facts["messages"])
        self._offer(_event("snapshot", facts))

    def _offer(self, chunk: bytes) -> None:
        for viewer in self._viewers:
            viewer.offer(chunk)


# Weak: it goes with its hub, which it does not refer to between its viewers.
_samplers: WeakKeyDictionary[Hub, Sampler] = WeakKeyDictionary()


def _event(type: str, facts: Any) -> bytes:
    return wire.encode(type, json.dumps(facts, separators=(",", ":")))


def _nothing() -> None:
    """Have the hub run on; it closes itself where nobody wants to be woken."""
