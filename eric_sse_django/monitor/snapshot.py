"""The data of one snapshot: numbers, server processes, open streams, latest messages."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from eric_sse_django import conf, log, reports
from eric_sse_django.models import OpenStream, ServerProcess, Watchers, usernames

# What one snapshot shows: about 50 kB of JSON.
MAX_PROCESSES = 200
MAX_STREAMS_SHOWN = 100
MAX_WATCHED_CHANNELS = 100
MAX_MESSAGES = 50
PAYLOAD_CHARACTERS = 500
# Streams read to count what waits for their listeners.
MAX_STREAMS_READ = 500
# Where counting stops.
MAX_PUBLISHED = 10_000
MAX_WAITING = 1_000
# Seconds, besides CURSOR_WRITE_S, after which a message that was not served counts as waiting: a
# younger message may be on its listener's screen already.
SERVED_IN_S = 1.0
# Seconds between two renewals of a process that delivers. A process without a renewal for
# IDLE_AFTER_S delivers nothing.
RENEWAL_S = 1.0
IDLE_AFTER_S = 2.5

Json = dict[str, Any]


class Observer:
    """
    Takes snapshots and compares each with earlier ones: the first has no rates.

    Use it on the hub's database thread only.
    """

    def __init__(self) -> None:
        self._rates = Rates()
        self._heads: deque[tuple[float, int]] = deque()
        self._pending = 0

    def take(self) -> Json:
        """Return a snapshot, ready for JSON. Eight queries at most, each of them bounded."""
        now, (head, _) = time.monotonic(), log.head()
        processes = live_processes(self._rates, now)
        streams = latest_streams(processes)
        snapshot = {
            "at": timezone.now().isoformat(),
            **_deliveries(processes, first=not self._heads),
            **self._messages(head, now),
            **self._waiting(streams, now),
            "processes": [process.as_json() for process in processes],
            "open_streams": [stream.as_json() for stream in streams[:MAX_STREAMS_SHOWN]],
            "watched": watched_channels(processes),
            "parts": sum(process.subscriptions for process in processes),
        }
        self._remember(head, now)
        return snapshot

    def _messages(self, head: int, now: float) -> Json:
        """Return what was published since the last snapshot; count what has no position yet."""
        at, after = self._heads[-1] if self._heads else (now, head)
        published, self._pending = reports.flow(after, head, MAX_PUBLISHED)
        counted = min(published, MAX_PUBLISHED)
        shown: list[reports.Glance] = []
        if counted or not self._heads:
            since = after if self._heads else 0  # the first snapshot shows the last messages
            shown = reports.latest(since, head, MAX_MESSAGES, PAYLOAD_CHARACTERS)
        return {
            "published_per_s": round(counted / (now - at), 2) if now > at else None,
            "published_is_least": published > MAX_PUBLISHED,
            "messages": [_message(message) for message in shown],
            "skipped": max(0, counted - len(shown)),
        }

    def _waiting(self, streams: Sequence[StreamRow], now: float) -> Json:
        """Return how many messages wait, and None until that is known."""
        served_in_s = _served_in_s()
        upto = next((old for at, old in reversed(self._heads) if now - at >= served_in_s), None)
        if upto is None:
            return {"waiting": None, "waiting_is_least": False}
        waiting, more = reports.backlog([stream.at for stream in streams], upto, MAX_WAITING)
        waiting += self._pending
        more = more or waiting > MAX_WAITING or len(streams) >= MAX_STREAMS_READ
        return {"waiting": min(waiting, MAX_WAITING), "waiting_is_least": more}

    def _remember(self, head: int, now: float) -> None:
        self._heads.append((now, head))
        served_in_s = _served_in_s()
        while len(self._heads) > 1 and now - self._heads[1][0] >= served_in_s:
            self._heads.popleft()


def _served_in_s() -> float:
    return SERVED_IN_S + float(conf.get("CURSOR_WRITE_S"))


def _message(message: reports.Glance) -> Json:
    text, is_cut = reports.readable(message.payload, PAYLOAD_CHARACTERS, message.is_cut)
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


# Server processes -----------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A server process with a valid lease, and its deliveries a second."""

    key: int
    name: str
    started_at: datetime
    streams: int
    subscriptions: int
    per_s: float
    delay_p50_ms: float
    delay_p99_ms: float

    def as_json(self) -> Json:
        return {
            "name": self.name,
            "started_at": self.started_at.isoformat(),
            "streams": self.streams,
            "delivered_per_s": round(self.per_s, 2),
            "delay_p50_ms": round(self.delay_p50_ms, 1),
            "delay_p99_ms": round(self.delay_p99_ms, 1),
        }


def live_processes(rates: Rates, now: float) -> list[Process]:
    """Return the processes with a valid lease, by name. One query."""
    rows = ServerProcess.objects.alive().order_by("-renewed_at")
    found = [
        Process(
            row.pk,
            row.name,
            row.started_at,
            row.streams,
            row.parts,
            rates.update(
                row.pk, DeliveryCount(row.started_at, row.renewed_at, row.delivered), now
            ),
            row.delay_p50_ms,
            row.delay_p99_ms,
        )
        for row in rows[:MAX_PROCESSES]
    ]
    return sorted(found, key=lambda process: (process.name, process.key))


def _deliveries(processes: Sequence[Process], first: bool) -> Json:
    """Return the sums, and the delays of the processes that have just delivered."""
    busy = [process for process in processes if process.per_s]
    total = sum(process.per_s for process in busy)
    p50 = sum(process.delay_p50_ms * process.per_s for process in busy) / total if busy else None
    return {
        "delivered_per_s": None if first else round(total, 2),
        "streams": sum(process.streams for process in processes),
        # The mean of the medians, weighted by deliveries; the highest of the 99th percentiles.
        "delay_p50_ms": None if p50 is None else round(p50, 1),
        "delay_p99_ms": max((round(process.delay_p99_ms, 1) for process in busy), default=None),
    }


@dataclass(frozen=True)
class DeliveryCount:
    """What a process had delivered when it last renewed its lease."""

    started_at: datetime
    renewed_at: datetime
    delivered: int


@dataclass(frozen=True)
class _Seen:
    count: DeliveryCount
    at: float
    per_s: float


class Rates:
    """
    The deliveries a second of each process, from the last two counts that it wrote.

    Rates use the times of the renewals, because between two snapshots there are none, one or two.
    A process that delivers nothing renews seldom: what its next count adds was delivered in the
    last second.
    """

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def update(self, key: int, count: DeliveryCount, now: float) -> float:
        """Return a process's deliveries a second at time.monotonic() `now`."""
        seen = self._seen.get(key)
        if seen is not None and seen.count == count:
            return seen.per_s if now - seen.at <= IDLE_AFTER_S else 0.0
        per_s = _rate(_base_of_first(count) if seen is None else seen.count, count)
        self._seen[key] = _Seen(count, now, per_s)
        return per_s


def _base_of_first(count: DeliveryCount) -> DeliveryCount:
    """Return what a first count is compared with: itself, or zero if the process is young."""
    age_s = (count.renewed_at - count.started_at).total_seconds()
    young = age_s <= IDLE_AFTER_S
    return DeliveryCount(count.started_at, count.started_at, 0) if young else count


def _rate(before: DeliveryCount, after: DeliveryCount) -> float:
    passed = (after.renewed_at - before.renewed_at).total_seconds()
    if not RENEWAL_S / 2 <= passed <= IDLE_AFTER_S:
        passed = RENEWAL_S
    return max(0, after.delivered - before.delivered) / passed


# Open streams ---------------------------------------------------------------------


@dataclass(frozen=True)
class StreamRow:
    """A listener's open stream, with its listener's cursor."""

    at: reports.ListenerCursor
    listener: str
    channel: str
    owner: str | None
    process: str
    opened_at: datetime

    def as_json(self) -> Json:
        return {
            "id": self.at.listener,
            "listener": self.listener,
            "channel": self.channel,
            "owner": self.owner,
            "process": self.process,
            "opened_at": self.opened_at.isoformat(),
        }


def latest_streams(live: Iterable[Process]) -> list[StreamRow]:
    """
    Return at most MAX_STREAMS_READ streams of live processes, the latest first.

    One query, and one for the names of owners. If there are more streams, these are the same
    ones each time: the first by their random keys. (Processes are not joined: MariaDB would
    sort all streams first.)
    """
    columns = (
        *("listener_id", "listener__channel_id", "listener__owner_id", "listener__cursor"),
        *("listener__name", "listener__channel__name", "process_id", "opened_at"),
    )
    names = {process.key: process.name for process in live}
    rows = OpenStream.objects.order_by("pk")
    found = [
        (reports.ListenerCursor(*row[:4]), *row[4:])
        for row in rows.values_list(*columns)[:MAX_STREAMS_READ]
        if row[6] in names  # the lease of the others has expired
    ]
    owners = usernames(at.owner for at, *_ in found)
    shown = [
        StreamRow(at, listener, channel, owners.get(at.owner), names[process], opened_at)
        for at, listener, channel, process, opened_at in found
    ]
    return sorted(shown, key=lambda stream: stream.opened_at, reverse=True)


def watched_channels(live: Iterable[Process]) -> list[Json]:
    """Return how many streams of a process watch a channel, the most first. One query."""
    names = {process.key: process.name for process in live}
    rows = (
        Watchers.objects.filter(process__in=names)
        .order_by("-streams", "pk")
        .values_list("channel__name", "process_id", "streams")[:MAX_WATCHED_CHANNELS]
    )
    return [
        {"channel": name, "process": names[key], "streams": streams}
        for name, key, streams in rows
        if name  # a channel that was removed has no name, and its streams end soon
    ]
