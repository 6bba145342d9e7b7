"""Removing what is past its retention, and leaving word of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from eric_sse_django.entry import RESERVED_PREFIX
from eric_sse_django.log.alias import database
from eric_sse_django.models import Channel, Listener, QueuedMessage

# Rows removed in one transaction: a few milliseconds, so that no publisher waits.
TRIM_BATCH = 1_000


def trim() -> int:
    """
    Remove up to TRIM_BATCH messages past their retention, oldest first; return how many.

    In the same transaction the floors rise of the channels and listeners that may
    have missed them, so that their streams can say so.
    """
    using = database()
    rows: list[Any] = list(
        QueuedMessage.objects.using(using)
        .filter(expires_at__lt=timezone.now(), position__isnull=False)
        .order_by("expires_at")
        .values_list("id", "type", "position", "channel_id", "listener_id", "owner_id")[
            :TRIM_BATCH
        ]
    )
    if not rows:
        return 0
    with transaction.atomic(using=using):
        # The app's own messages to open streams are no loss to who was away.
        _raise_floors(using, [row[2:] for row in rows if not row[1].startswith(RESERVED_PREFIX)])
        ids = [row[0] for row in rows]
        removed, _ = QueuedMessage.objects.using(using).filter(id__in=ids).delete()
    return removed


def _raise_floors(using: str, rows: Iterable[Any]) -> None:
    broadcasts: dict[int, int] = {}
    dispatches: dict[int, int] = {}
    owned: dict[tuple[int, Any], int] = {}
    for position, channel, listener, owner in rows:
        if listener is not None:
            dispatches[listener] = max(position, dispatches.get(listener, 0))
        elif owner is not None:
            owned[channel, owner] = max(position, owned.get((channel, owner), 0))
        else:
            broadcasts[channel] = max(position, broadcasts.get(channel, 0))
    # By key, so that two trims at once take their locks in one order.
    for channel, floor in sorted(broadcasts.items()):
        Channel.objects.using(using).filter(pk=channel, floor__lt=floor).update(floor=floor)
    listeners = Listener.objects.using(using)
    for listener, floor in sorted(_missed(listeners, dispatches, owned).items()):
        listeners.filter(pk=listener, floor__lt=floor).update(floor=floor)


def _missed(
    listeners: QuerySet[Listener],
    dispatches: dict[int, int],
    owned: dict[tuple[int, Any], int],
) -> dict[int, int]:
    """Return the floors of those whose cursor stands before one: mostly none."""
    cursors = listeners.filter(pk__in=dispatches).values_list("pk", "cursor")
    missed = {pk: dispatches[pk] for pk, cursor in cursors if cursor < dispatches[pk]}
    for (channel, owner), floor in owned.items():
        theirs = listeners.filter(channel=channel, owner=owner, cursor__lt=floor)
        for pk in theirs.values_list("pk", flat=True):
            missed[pk] = max(floor, missed.get(pk, 0))
    return missed
