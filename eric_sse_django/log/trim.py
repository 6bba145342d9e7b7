"""Removing what is past its retention, and leaving word of it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from eric_sse_django import conf
from eric_sse_django.entry import RESERVED_PREFIX
from eric_sse_django.log.dialect import log_dialect
from eric_sse_django.log.floors import Lost, raise_floors
from eric_sse_django.log.history import note_removed
from eric_sse_django.log.identity import connected
from eric_sse_django.models import QueuedMessage, database

# Rows removed in one transaction: a few milliseconds, so that no publisher waits.
TRIM_BATCH = 1_000
# Seconds that a statement waits for a lock of others.
LOCK_TIMEOUT_S = 2
# Seconds for which the next batch goes on where a full one ended. PostgreSQL's index keeps what
# was removed until a vacuum: to find the oldest took 2 ms at first, 16 after 1,000,000 rows.
GO_ON_S = 5.0

# Seconds for which a message stays after its lifetime, beside the poll interval. What is removed
# before a hub has looked has that hub's streams read the log, for it might be a loss: with
# lifetimes of seconds and no layer each trim did that to all streams.
UNREAD_S = 60.0

_ended: dict[str, tuple[float, datetime]] = {}  # by database: until when, and where


def trim() -> int:
    """
    Remove up to TRIM_BATCH messages past their retention, oldest first; return how many.

    One with a lifetime stays a little longer than that, though nobody gets it any more.

    A run of full batches goes through once, and those that were left behind come at its end.

    In the same transaction the floors rise of the channels and listeners that may
    have missed them, so that their streams can say so. Nobody misses a message whose own
    lifetime is over. A message stays, until the next time, while a transaction of others
    has locked its channel, or a listener that is to be told. It waits LOCK_TIMEOUT_S for
    other locks, and raises OperationalError then (on SQLite as its settings say).
    """
    connected()
    using = database()
    while rows := _oldest(using):
        with log_dialect().impatient(LOCK_TIMEOUT_S):
            removed = _remove(rows)
        # A full batch of which all stays is no reason to leave what comes behind it.
        is_behind = len(rows) == TRIM_BATCH and rows[0][-1] < rows[-1][-1]
        if removed or not is_behind:
            return removed
    return 0


def _remove(rows: list[Any]) -> int:
    # The app's own messages to open streams are no loss to who was away.
    stay = raise_floors(
        Lost(*lost)
        for *lost, type, perishable, _ in rows
        if not (perishable or type.startswith(RESERVED_PREFIX))
    )
    gone = [row for row in rows if row[0] not in stay]
    ids = [row[0] for row in gone]
    removed, _ = QueuedMessage.objects.filter(id__in=ids).delete()
    note_removed(row[1] for row in gone)
    return removed


def _oldest(using: str) -> list[Any]:
    """Return the next rows to remove: those of a Lost, type, perishable and expires_at."""
    now = timezone.now()
    unread = now - timedelta(seconds=UNREAD_S + conf.get("POLL_INTERVAL_S"))
    rows = (
        QueuedMessage.objects.filter(expires_at__lt=now, position__isnull=False)
        .filter(Q(perishable=False) | Q(expires_at__lt=unread))
        .order_by("expires_at")
        .values_list(*Lost._fields, "type", "perishable", "expires_at")
    )
    until, where = _ended.pop(using, (0.0, None))
    found: list[Any] = []
    if where is not None and time.monotonic() < until:
        found = list(rows.filter(expires_at__gte=where)[:TRIM_BATCH])
    found = found or list(rows[:TRIM_BATCH])
    if len(found) == TRIM_BATCH:
        _ended[using] = time.monotonic() + GO_ON_S, found[-1][-1]
    return found
