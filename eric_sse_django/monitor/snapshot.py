"""One look at everything: the numbers, the open streams, the latest messages."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from eric_sse_django import log, reports
from eric_sse_django.monitor import payload, presence
from eric_sse_django.monitor.presence import Process, Stream
from eric_sse_django.monitor.rates import Rates

# What one snapshot shows at most: some 50 kB of JSON.
MOST_STREAMS = 100
MOST_MESSAGES = 50
PAYLOAD_CHARACTERS = 500
# Where counting stops.
MOST_PUBLISHED = 10_000
MOST_WAITING = 1_000
# Seconds after which a message that was not served counts as waiting. Cursors are written
# once a second: a younger one may long be on its listener's screen.
GRACE_S = 2.0

Facts = dict[str, Any]


class Observer:
    """
    Takes snapshots, each compared with those before: the first has no rates.

    Only for the hub's database thread.
    """

    def __init__(self) -> None:
        self._rates = Rates()
        self._heads: deque[tuple[float, int]] = deque()
        self._pending = 0

    def take(self) -> Facts:
        """Return a snapshot, ready for JSON. Seven queries at most, each of them bounded."""
        now, (head, _) = time.monotonic(), log.head()
        processes = presence.processes(self._rates, now)
        streams = presence.streams(processes)
        facts = {
            "at": timezone.now().isoformat(),
            **_deliveries(processes, first=not self._heads),
            **self._messages(head, now),
            **self._waiting(streams, now),
            "processes": [process.facts() for process in processes],
            "open_streams": [stream.facts() for stream in streams[:MOST_STREAMS]],
            "watched": [watched.facts() for watched in presence.watched(processes)],
            "parts": sum(process.parts for process in processes),
        }
        self._remember(head, now)
        return facts

    def _messages(self, head: int, now: float) -> Facts:
        """Return what was published since the last snapshot, and what has no position yet."""
        at, after = self._heads[-1] if self._heads else (now, head)
        published, self._pending = reports.flow(after, head, MOST_PUBLISHED)
        counted = min(published, MOST_PUBLISHED)
        shown: list[reports.Glance] = []
        if counted or not self._heads:
            since = after if self._heads else 0  # at first: the last there are
            shown = reports.latest(since, head, MOST_MESSAGES, PAYLOAD_CHARACTERS)
        return {
            "published_per_s": round(counted / (now - at), 2) if now > at else None,
            "published_is_least": published > MOST_PUBLISHED,
            "messages": [_message(message) for message in shown],
            "skipped": max(0, counted - len(shown)),
        }

    def _waiting(self, streams: Sequence[Stream], now: float) -> Facts:
        """Return how much waits: without a position, or for GRACE_S; at first nobody knows."""
        upto = next((old for at, old in reversed(self._heads) if now - at >= GRACE_S), None)
        if upto is None:
            return {"waiting": None, "waiting_is_least": False}
        waiting, more = reports.backlog([stream.at for stream in streams], upto, MOST_WAITING)
        waiting += self._pending
        more = more or waiting > MOST_WAITING or len(streams) >= presence.MOST_STREAMS
        return {"waiting": min(waiting, MOST_WAITING), "waiting_is_least": more}

    def _remember(self, head: int, now: float) -> None:
        self._heads.append((now, head))
        while len(self._heads) > 1 and now - self._heads[1][0] >= GRACE_S:
            self._heads.popleft()


def _deliveries(processes: Sequence[Process], first: bool) -> Facts:
    """Return the sums, and the delays of those processes that have just delivered."""
    busy = [process for process in processes if process.per_s]
    total = sum(process.per_s for process in busy)
    p50 = sum(process.delay_p50_ms * process.per_s for process in busy) / total if busy else None
    return {
        "delivered_per_s": None if first else round(total, 2),
        "streams": sum(process.streams for process in processes),
        # The mean of the medians, by deliveries; and the worst of the 99th percentiles.
        "delay_p50_ms": None if p50 is None else round(p50, 1),
        "delay_p99_ms": max((round(process.delay_p99_ms, 1) for process in busy), default=None),
    }


def _message(message: reports.Glance) -> Facts:
    text, is_cut = payload.shown(message.payload, PAYLOAD_CHARACTERS, message.is_cut)
    return {
        "id": message.key,
        "position": message.position,
        "at": message.at.isoformat(),
        "channel": message.channel,
        "type": message.type,
        "listener": message.listener,
        "owner": message.owner,
        "payload": text,
        "is_cut": is_cut,
    }
