"""Removing listeners and channels, however many rows go with them."""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet

from eric_sse_django import log
from eric_sse_django.database import operations
from eric_sse_django.entry import STOP
from eric_sse_django.models import Channel, Listener

# Listeners removed, and told, in one go: what is kept in memory at once.
BATCH = 1_000


class _Batch(QuerySet[Listener]):
    """Listeners that are removed together, and whose streams are told in one INSERT."""


def remove_channel(row: Channel) -> None:
    """
    Remove a channel with its listeners; their streams end. Holds BATCH rows in memory at most.

    Its messages go after the commit, see on_channel_deleted(). Takes about 0.1 ms a listener.
    """
    using = log.database()
    listeners = Listener.objects.using(using).filter(channel=row).order_by("pk")
    with transaction.atomic(using=using):
        while batch := list(listeners[:BATCH]):
            keys = [listener.pk for listener in batch]
            _Batch(Listener, using=using).filter(pk__in=keys).delete()
            operations.tell(batch, STOP)
        row.delete(using=using)


def on_listener_deleted(instance: Listener, origin: object = None, **_: object) -> None:
    """Have the streams of a deleted listener end. Connected to post_delete."""
    if not isinstance(origin, _Batch):
        operations.tell([instance], STOP)


def on_channel_deleted(instance: Channel, **_: object) -> None:
    """
    Have a deleted channel's messages removed after the commit. Connected to post_delete.

    Not with it: one statement for a million rows holds locks that publishers to other
    channels wait for (MariaDB), and what is left by a crash goes with retention.
    """
    channel = instance.pk
    transaction.on_commit(lambda: log.forget(channel), using=log.database(), robust=True)
