"""How many of those a message was addressed to have it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from eric_sse_django.admin.words import MOST
from eric_sse_django.models import Listener, QueuedMessage

# Listeners read for a page of messages; where its channels have more, the list says
# nothing, and a message's own page counts.
MOST_READ = 2_000


@dataclass(frozen=True)
class Reach:
    """Listeners that a message was for, and how many of them have been served past it."""

    delivered: int
    addressed: int


def reach_of_one(message: QueuedMessage) -> Reach | None:
    """Return a message's reach, counted to MOST + 1; None while it has no position."""
    if message.position is None:
        return None
    rows = Listener.objects.filter(channel=message.channel_id)
    rows = rows.filter(start__lt=message.position)
    if message.listener_id is not None:
        rows = rows.filter(pk=message.listener_id)
    elif message.owner_id is not None:
        rows = rows.filter(owner=message.owner_id)
    return Reach(_count(rows.filter(cursor__gte=message.position)), _count(rows))


def _count(rows: QuerySet[Listener]) -> int:
    return rows[: MOST + 1].count()


def reach_of_page(messages: Sequence[QueuedMessage]) -> dict[int, Reach]:
    """Return the reach of each message, by primary key; {} where that is too much to read."""
    channels = {message.channel_id for message in messages}
    rows = Listener.objects.filter(channel__in=channels)
    columns = rows.values_list("channel_id", "pk", "owner_id", "start", "cursor")
    found = list(columns[: MOST_READ + 1])
    if len(found) > MOST_READ:
        return {}
    listeners: dict[int, list[Any]] = defaultdict(list)
    for channel, *facts in found:
        listeners[channel].append(facts)
    return {
        message.pk: _reach(message, message.position, listeners[message.channel_id])
        for message in messages
        if message.position is not None
    }


def _reach(message: QueuedMessage, position: int, listeners: list[Any]) -> Reach:
    cursors = [
        cursor
        for pk, owner, start, cursor in listeners
        if start < position
        and message.listener_id in (None, pk)
        and message.owner_id in (None, owner)
    ]
    return Reach(sum(cursor >= position for cursor in cursors), len(cursors))
