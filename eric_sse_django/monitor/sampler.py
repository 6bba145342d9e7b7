"""Takes one snapshot a second for all viewers of one event loop, and none without viewers."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import time
from collections import deque
from collections.abc import Iterator
from weakref import WeakKeyDictionary

from eric_sse_django import wire
from eric_sse_django.hub import End, Hub, all_hubs
from eric_sse_django.monitor.snapshot import MAX_MESSAGES, Json, Observer
from eric_sse_django.monitor.viewer import Viewer
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
# Snapshots whose numbers are kept: two minutes.
MAX_SAMPLES = 120
# Seconds between two checks of whether the server is stopping.
VIEWERS_CHECK_S = 0.05

NUMBERS = (
    *("at", "published_per_s", "delivered_per_s", "streams", "waiting"),
    *("delay_p50_ms", "delay_p99_ms"),
)


class Sampler:
    """
    Takes the snapshots on the hub's database thread. Get it with `Sampler.of(hub)`.

    Keeps the numbers of the last two minutes, which a new viewer gets first.
    """

    def __init__(self) -> None:
        self._samples: deque[Json] = deque(maxlen=MAX_SAMPLES)
        self._messages: deque[Json] = deque(maxlen=MAX_MESSAGES)
        self._viewers: set[Viewer] = set()
        self._task: asyncio.Task[None] | None = None

    @staticmethod
    def of(hub: Hub) -> Sampler:
        """Return the sampler of the hub; it lives as long as the hub."""
        return _samplers.setdefault(hub, Sampler())

    @contextlib.contextmanager
    def watched_by(self, viewer: Viewer, hub: Hub) -> Iterator[None]:
        """Offer the viewer the last two minutes, and each snapshot until the block ends."""
        viewer.offer(_event("history", self._history()))
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

    def _history(self) -> Json:
        samples = [[sample[name] for name in NUMBERS] for sample in self._samples]
        return {"names": NUMBERS, "samples": samples, "messages": list(self._messages)}

    async def _run(self, hub: Hub) -> None:
        """Take snapshots until cancelled."""
        observer, outage = Observer(), Outage(logger, "taking the monitor's snapshots")
        stop_waker = hub.add_waker(_keep_open)
        timer = asyncio.ensure_future(self._end_viewers(hub))
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
            stop_waker()

    async def _end_viewers(self, hub: Hub) -> None:
        """End the viewers when the server stops, or when they reach their maximum age."""
        while True:
            await asyncio.sleep(VIEWERS_CHECK_S)
            now = time.monotonic()
            for viewer in tuple(self._viewers):
                viewer.on_tick(now)
                if hub.draining or hub not in all_hubs():
                    viewer.end(End.DRAINING if hub.draining else End.HUB_CLOSED)

    def _publish(self, snapshot: Json) -> None:
        self._samples.append({name: snapshot[name] for name in NUMBERS})
        self._messages.extend(snapshot["messages"])
        self._offer(_event("snapshot", snapshot))

    def _offer(self, chunk: bytes) -> None:
        for viewer in self._viewers:
            viewer.offer(chunk)


# Weak, so that a sampler is freed with its hub: without viewers it does not refer to the hub.
_samplers: WeakKeyDictionary[Hub, Sampler] = WeakKeyDictionary()


def _event(type: str, data: Json) -> bytes:
    return wire.encode(type, json.dumps(data, separators=(",", ":")))


def _keep_open() -> None:
    """Do nothing: a hub that has a waker does not close itself."""
