"""Removing what nobody can ask for any more: a removed channel's messages, old revocations."""

from __future__ import annotations

from django.utils import timezone

from eric_sse_django.entry import CONTROLS
from eric_sse_django.log.history import note_removed
from eric_sse_django.log.trim import TRIM_BATCH
from eric_sse_django.models import QueuedMessage, Revocation


def forget(channel: int) -> int:
    """
    Remove a removed channel's messages in batches; return how many.

    What it tells to its open streams stays for them to read, and goes with retention.
    """
    rows = QueuedMessage.objects
    removed, found = 0, TRIM_BATCH
    while found == TRIM_BATCH:  # fewer: the rest is what stale publishers still add
        messages = rows.filter(channel_id=channel).exclude(type__in=CONTROLS)
        pairs = list(messages.values_list("pk", "position")[:TRIM_BATCH])
        keys, found = [pk for pk, _ in pairs], len(pairs)
        # Before they go: who holds rows here, and waits for the head, would be waited for by
        # the sequencer, which holds that.
        note_removed(position for _, position in pairs if position is not None)
        removed += rows.filter(pk__in=keys).delete()[0]
    return removed


def forget_lapsed() -> int:
    """Remove the revocations of what has expired by itself meanwhile; return how many."""
    rows = Revocation.objects.filter(expires_at__lt=timezone.now())
    return rows.delete()[0]
