"""Removing listeners and channels, however many rows go with them."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from eric_sse_django import log
from eric_sse_django.database import operations
from eric_sse_django.entry import STOP
from eric_sse_django.models import Channel, Listener, OpenStream, deleted_with, note_deletion

# Listeners removed, and told, in one go: what is kept in memory at once.
BATCH = 1_000


def remove_channel(row: Channel) -> None:
    """
    Remove a channel with its listeners; their streams end. Holds BATCH rows in memory at most.

    Its messages go after the commit, see on_channel_deleted(). Takes about 0.1 ms a listener.
    """
    with transaction.atomic(using=log.database()):
        remove_listeners(Listener.objects.filter(channel=row))
        row.delete()


def away(since: datetime, channel_id: str | None = None) -> QuerySet[Listener]:
    """
    Return the listeners, of one channel or of all, that have no open stream and were away.

    Away is a listener that was made before that time, and to which nothing was delivered, and
    for which nobody called listen(), since.
    """
    online = OpenStream.objects.online().exclude(listener=None).values("listener")
    rows = Listener.objects.filter(created_at__lt=since)
    rows = rows.filter(Q(last_seen=None) | Q(last_seen__lt=since)).exclude(pk__in=online)
    return rows if channel_id is None else rows.filter(channel__name=channel_id)


def remove_away(since: datetime, channel_id: str | None = None) -> int:
    """Remove the listeners that were away(), BATCH in one transaction; return how many."""
    return remove_listeners(away(since, channel_id))


def remove_listeners(rows: QuerySet[Listener]) -> int:
    """Remove listeners, BATCH in one transaction; their streams end. Return how many."""
    using, count = log.database(), 0
    ordered = rows.order_by("pk").values_list("pk", flat=True)
    while keys := list(ordered[:BATCH]):
        with transaction.atomic(using=using):
            Listener.objects.filter(pk__in=keys).delete()
        count += len(keys)
    return count


def before_listener_deleted(instance: Listener, origin: object = None, **_: object) -> None:
    """Connected to pre_delete."""
    note_deletion(instance, origin)


def on_listener_deleted(instance: Listener, origin: object = None, **_: object) -> None:
    """Have the streams of deleted listeners end, in one INSERT. Connected to post_delete."""
    operations.tell(deleted_with(instance, origin), STOP)


def on_channel_deleted(instance: Channel, **_: object) -> None:
    """
    Have a deleted channel's messages removed after the commit. Connected to post_delete.

    Not with it: one statement for a million rows holds locks that publishers to other
    channels wait for (MariaDB), and what is left by a crash goes with retention.
    """
    channel = instance.pk
    transaction.on_commit(lambda: log.forget(channel), using=log.database(), robust=True)
