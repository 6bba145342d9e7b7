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
    with transaction.atomic(using=using):
        head = _locked_head(using)
        ids = list(pending().values_list("id", flat=True)[:SEQUENCE_BATCH])
        if not ids:
            return 0
        offset = head.position + 1 - ids[0]
        # Exact ids, not a range: MariaDB would wait for uncommitted rows inside one.
        QueuedMessage.objects.using(using).filter(id__in=ids).update(position=F("id") + offset)
        head.position = ids[-1] + offset
        head.save(using=using, update_fields=["position"])
    return len(ids)


def _locked_head(using: str) -> LogHead:
    heads = LogHead.objects.using(using)
    if connections[using].features.has_select_for_update:
        no_key = connections[using].features.has_select_for_no_key_update
        locked = heads.select_for_update(no_key=no_key).filter(pk=LogHead.THE_ONE).first()
    else:
        # SQLite: to write first takes the write lock, also in a deferred transaction.
        heads.filter(pk=LogHead.THE_ONE).update(position=F("position"))
        locked = heads.filter(pk=LogHead.THE_ONE).first()
    if locked is not None:
        return locked
    # A flushed database (TransactionTestCase) has lost the row that the migration made.
    highest = QueuedMessage.objects.using(using).aggregate(Max("position"))["position__max"] or 0
    heads.bulk_create([LogHead(pk=LogHead.THE_ONE, position=highest)], ignore_conflicts=True)
    return _locked_head(using)


def head() -> tuple[int, bool]:
    """Return the last position given, and whether rows wait for theirs. One query."""
    heads = LogHead.objects.using(database()).filter(pk=LogHead.THE_ONE)
    found = heads.annotate(waits=Exists(pending())).values_list("position", "waits").first()
    return found or (0, pending().exists())
