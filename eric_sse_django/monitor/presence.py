"""The live server processes, and the streams that they have open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from eric_sse_django.models import OpenStream, ServerProcess, Watchers, usernames
from eric_sse_django.models.presence import LEASE_S
from eric_sse_django.monitor.rates import Count, Rates
from eric_sse_django.reports import ListenerCursor

# Rows read for one snapshot at most.
MOST_PROCESSES = 200
MOST_STREAMS = 500
MOST_WATCHED = 100


@dataclass(frozen=True)
class Process:
    """A server process whose lease holds, with its deliveries a second."""

    key: int
    name: str
    started_at: datetime
    streams: int
    parts: int
    per_s: float
    delay_p50_ms: float
    delay_p99_ms: float

    def facts(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "started_at": self.started_at.isoformat(),
            "streams": self.streams,
            "delivered_per_s": round(self.per_s, 2),
            "delay_p50_ms": round(self.delay_p50_ms, 1),
            "delay_p99_ms": round(self.delay_p99_ms, 1),
        }


@dataclass(frozen=True)
class Stream:
    """A listener's open stream, with its listener's place in the log."""

    at: ListenerCursor
    listener: str
    channel: str
    owner: str | None
    process: str
    opened_at: datetime

    def facts(self) -> dict[str, Any]:
        return {
            "id": self.at.listener,
            "listener": self.listener,
            "channel": self.channel,
            "owner": self.owner,
            "process": self.process,
            "opened_at": self.opened_at.isoformat(),
        }


def processes(rates: Rates, now: float) -> list[Process]:
    """Return those whose lease holds, by name. One query."""
    since = timezone.now() - timedelta(seconds=LEASE_S)
    rows = ServerProcess.objects.filter(renewed_at__gt=since).order_by("-renewed_at")[
        :MOST_PROCESSES
    ]
    found = [
        Process(
            row.pk,
            row.name,
            row.started_at,
            row.streams,
            row.parts,
            rates.update(row.pk, Count(row.started_at, row.renewed_at, row.delivered), now),
            row.delay_p50_ms,
            row.delay_p99_ms,
        )
        for row in rows
    ]
    return sorted(found, key=lambda process: (process.name, process.key))


def streams(live: Iterable[Process]) -> list[Stream]:
    """
    Return MOST_STREAMS of the streams of live processes, the latest of them first.

    One query, and one for the names of owners. Where there are more, it is the same ones each
    time: by key, which was drawn at random. (Processes are not joined: MariaDB would then sort
    all streams first.)
    """
    columns = (
        *("listener_id", "listener__channel_id", "listener__owner_id", "listener__cursor"),
        *("listener__name", "listener__channel__name", "process_id", "opened_at"),
    )
    names = {process.key: process.name for process in live}
    rows = OpenStream.objects.order_by("pk")
    found = [
        (ListenerCursor(*row[:4]), *row[4:])
        for row in rows.values_list(*columns)[:MOST_STREAMS]
        if row[6] in names  # the others died without a word
    ]
    owners = usernames(place.owner for place, *_ in found)
    shown = [
        Stream(place, listener, channel, owners.get(place.owner), names[process], opened_at)
        for place, listener, channel, process, opened_at in found
    ]
    return sorted(shown, key=lambda stream: stream.opened_at, reverse=True)


@dataclass(frozen=True)
class Watched:
    """A channel, and how many streams of a process watch it."""

    channel: str
    process: str
    streams: int

    def facts(self) -> dict[str, Any]:
        return {"channel": self.channel, "process": self.process, "streams": self.streams}


def watched(live: Iterable[Process]) -> list[Watched]:
    """Return MOST_WATCHED of the channels that are watched, the most first. One query."""
    names = {process.key: process.name for process in live}
    rows = (
        Watchers.objects.filter(process__in=names)
        .order_by("-streams", "pk")
        .values_list("channel__name", "process_id", "streams")[:MOST_WATCHED]
    )
    # A channel that was removed has no name, and no stream for long.
    return [Watched(name, names[key], streams) for name, key, streams in rows if name]
