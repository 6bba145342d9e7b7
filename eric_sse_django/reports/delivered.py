"""How many of the listeners that a message is addressed to have been served it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eric_sse_django.log import Address
from eric_sse_django.models import Listener, QueuedMessage

# Listeners read for a page of messages. If its channels have more, nothing is counted.
MAX_LISTENERS_READ = 2_000


@dataclass(frozen=True)
class DeliveredCount:
    """The listeners that a message is addressed to, and those that have been served it."""

    delivered: int
    addressed: int


def count_delivered(message: QueuedMessage, most: int) -> DeliveredCount | None:
    """Return a message's count, up to `most + 1`; None without a position. Two queries."""
    if message.position is None:
        return None
    rows = _address_of(message).listeners().filter(start__lt=message.position)
    served = rows.filter(cursor__gte=message.position)
    return DeliveredCount(served[: most + 1].count(), rows[: most + 1].count())


def count_delivered_page(messages: Sequence[QueuedMessage]) -> dict[int, DeliveredCount]:
    """
    Return the messages' counts by primary key. One query.

    {} if their channels have more than MAX_LISTENERS_READ listeners.
    """
    channels = {message.channel_id for message in messages}
    rows = Listener.objects.filter(channel__in=channels)
    columns = rows.values_list("channel_id", "pk", "owner_id", "start", "cursor")
    found = list(columns[: MAX_LISTENERS_READ + 1])
    if len(found) > MAX_LISTENERS_READ:
        return {}
    listeners: dict[int, list[Any]] = defaultdict(list)
    for channel, *listener in found:
        listeners[channel].append(listener)
    return {
        message.pk: _count_among(listeners[message.channel_id], message, message.position)
        for message in messages
        if message.position is not None
    }


def _count_among(listeners: list[Any], message: QueuedMessage, position: int) -> DeliveredCount:
    to = _address_of(message)
    cursors = [
        cursor
        for pk, owner, start, cursor in listeners
        if start < position and to.addressed(pk, owner)
    ]
    return DeliveredCount(sum(cursor >= position for cursor in cursors), len(cursors))


def _address_of(message: QueuedMessage) -> Address:
    return Address(message.channel_id, message.listener_id, message.owner_id)
