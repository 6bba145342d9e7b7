"""The clocks: this machine's, the database's, and those of the processes that serve streams."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from datetime import timezone as zones

from django.db import connections
from django.utils import timezone

from eric_sse_django.conf import database
from eric_sse_django.doctor.databases import clock_of
from eric_sse_django.doctor.finding import Finding, good, warning
from eric_sse_django.models import ServerProcess

# Seconds by which clocks may differ: tickets allow 5, and a look takes some time.
MAX_SKEW_S = 2.0

NTP = 'Synchronize the clocks, by NTP: see "Clocks" in docs/operations.md.'


def examine() -> Iterator[Finding]:
    found = [*_of_database(), *_of_processes()]
    yield from found or [good("clocks.agree", "The clocks agree.")]


def _of_database() -> Iterator[Finding]:
    before = datetime.now(zones.utc)
    theirs = clock_of(connections[database()])
    if theirs is not None and (skew := _skew_s(theirs, before)):
        yield warning(
            "clocks.database",
            f"The database's clock is {skew:+.1f} s from that of this machine.",
            NTP,
        )


def _of_processes() -> Iterator[Finding]:
    ahead = timezone.now() + timedelta(seconds=MAX_SKEW_S)
    for row in ServerProcess.objects.filter(renewed_at__gt=ahead):
        seconds = (row.renewed_at - timezone.now()).total_seconds()
        yield warning(
            "clocks.process",
            f"The clock of the process {row.name} is {seconds:.0f} s ahead of this machine's.",
            NTP,
        )


def _skew_s(theirs: datetime, before: datetime) -> float:
    """Return by how much a clock is off that was read since `before`, 0.0 if that is little."""
    after = datetime.now(zones.utc)
    if theirs < before - timedelta(seconds=MAX_SKEW_S):
        return (theirs - before).total_seconds()
    if theirs > after + timedelta(seconds=MAX_SKEW_S):
        return (theirs - after).total_seconds()
    return 0.0


def of_response(date: datetime, before: datetime) -> Iterator[Finding]:
    """Yield what the `Date` of a response shows, which has whole seconds."""
    skew = _skew_s(date, before - timedelta(seconds=1))
    if skew:
        yield warning(
            "clocks.server",
            f"The clock of the server that answers is {skew:+.0f} s from that of this machine.",
            NTP,
        )
