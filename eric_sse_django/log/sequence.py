"""Giving committed messages their positions."""

from __future__ import annotations

from django.db import connections, transaction
from django.db.models import Exists, F, Max, QuerySet

from eric_sse_django.log.alias import database
from eric_sse_django.log.order import while_pending
from eric_sse_django.models import LogHead, QueuedMessage

# Rows that get their position in one transaction: long enough to cost little a row
# (49,000 rows/s were measured), short enough that nobody waits for its lock.
SEQUENCE_BATCH = 1_000


def pending() -> QuerySet[QueuedMessage]:
    """Return the committed rows without a position, in the order of publishing."""
    return (
        QueuedMessage.objects.using(database())
        .filter(position__isnull=True)
        .order_by(*while_pending())
    )


def sequence() -> int:
    """
    Give positions to up to SEQUENCE_BATCH pending rows; return how many.

    Waits for another sequencer's transaction at most. The head is locked before the
    rows are read: one that committed meanwhile is then seen.
    """
    using = database()
    if not pending().exists():
        return 0
    found = _sequence(using)
    if found is None:
        _make_head(using)
        found = _sequence(using)
    return found or 0


def _sequence(using: str) -> int | None:
    """Give positions, return how many; None when there is no head to lock."""
    with transaction.atomic(using=using):
        head = _locked_head(using)
        if head is None:
            return None
        ids = list(pending().values_list("id", flat=True)[:SEQUENCE_BATCH])
        if not ids:
            return 0
        offset = head.position + 1 - ids[0]
        # Exact ids, not a range: MariaDB would wait for uncommitted rows inside one.
        QueuedMessage.objects.using(using).filter(id__in=ids).update(position=F("id") + offset)
        head.position = ids[-1] + offset
        head.save(using=using, update_fields=["position"])
    return len(ids)


def _locked_head(using: str) -> LogHead | None:
    heads = LogHead.objects.using(using).filter(pk=LogHead.THE_ONE)
    if connections[using].features.has_select_for_update:
        no_key = connections[using].features.has_select_for_no_key_update
        return heads.select_for_update(no_key=no_key).first()
    # SQLite: to write first takes the write lock, also in a deferred transaction.
    heads.update(position=F("position"))
    return heads.first()


def _make_head(using: str) -> None:
    """
    Make the row that a flushed database (TransactionTestCase) has lost.

    Outside the transaction that locks it: on MariaDB two that insert it share its lock,
    and deadlock when each then asks for it alone.
    """
    highest = QueuedMessage.objects.using(using).aggregate(Max("position"))["position__max"] or 0
    head = LogHead(pk=LogHead.THE_ONE, position=highest)
    LogHead.objects.using(using).bulk_create([head], ignore_conflicts=True)


def head() -> tuple[int, bool]:
    """Return the last position given, and whether rows wait for theirs. One query."""
    heads = LogHead.objects.using(database()).filter(pk=LogHead.THE_ONE)
    found = heads.annotate(waits=Exists(pending())).values_list("position", "waits").first()
    return found or (0, pending().exists())
