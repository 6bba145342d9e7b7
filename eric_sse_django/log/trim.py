"""Removing what is past its retention, and leaving word of it."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from eric_sse_django.entry import RESERVED_PREFIX
from eric_sse_django.log.alias import database
from eric_sse_django.log.floors import Lost, raise_floors
from eric_sse_django.models import QueuedMessage

# Rows removed in one transaction: a few milliseconds, so that no publisher waits.
TRIM_BATCH = 1_000


def trim() -> int:
    """
    Remove up to TRIM_BATCH messages past their retention, oldest first; return how many.

    In the same transaction the floors rise of the channels and listeners that may
    have missed them, so that their streams can say so. Nobody misses a message whose own
    lifetime is over. A message stays, until the next time, while a transaction of others
    has locked a listener that is to be told.
    """
    using = database()
    rows = list(
        QueuedMessage.objects.using(using)
        .filter(expires_at__lt=timezone.now(), position__isnull=False)
        .order_by("expires_at")
        .values_list(*Lost._fields, "type", "perishable")[:TRIM_BATCH]
    )
    if not rows:
        return 0
    with transaction.atomic(using=using):
        # The app's own messages to open streams are no loss to who was away.
        stay = raise_floors(
            Lost(*lost)
            for *lost, type, perishable in rows
            if not (perishable or type.startswith(RESERVED_PREFIX))
        )
        ids = [row[0] for row in rows if row[0] not in stay]
        removed, _ = QueuedMessage.objects.using(using).filter(id__in=ids).delete()
    return removed
