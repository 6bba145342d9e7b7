"""Removing the messages of a channel that is no more."""

from __future__ import annotations

from eric_sse_django.entry import CONTROLS
from eric_sse_django.log.alias import database
from eric_sse_django.log.trim import TRIM_BATCH
from eric_sse_django.models import QueuedMessage


def forget(channel: int) -> int:
    """
    Remove a removed channel's messages in batches; return how many.

    What it tells to its open streams stays for them to read, and goes with retention.
    """
    rows = QueuedMessage.objects.using(database())
    removed, found = 0, TRIM_BATCH
    while found == TRIM_BATCH:  # fewer: the rest is what stale publishers still add
        messages = rows.filter(channel_id=channel).exclude(type__in=CONTROLS)
        keys = list(messages.values_list("pk", flat=True)[:TRIM_BATCH])
        found = len(keys)
        removed += rows.filter(pk__in=keys).delete()[0]
    return removed
