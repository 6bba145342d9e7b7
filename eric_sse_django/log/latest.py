"""The last messages of the log, as somebody looks at them who does not listen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models.functions import Left

from eric_sse_django.entry import CONTROLS
from eric_sse_django.models import QueuedMessage, usernames

# Where latest() has the owner's key in a row.
OWNER = 5


@dataclass(frozen=True)
class Glance:
    """
    One message, with names instead of keys, None for who it was not addressed to.

    `payload` is the beginning of its JSON text; `is_cut` tells that there is more.
    """

    key: int
    position: int
    at: datetime
    channel: str
    listener: str | None
    owner: str | None
    type: str
    payload: str
    is_cut: bool


def latest(after: int, upto: int, most: int, characters: int) -> list[Glance]:
    """
    Return the last `most` messages in (after, upto], oldest first.

    One query by the index eric_log_tail, which brings `characters` of each payload, and one
    for the names of owners.
    """
    columns = (
        *("pk", "position", "created_at", "channel__name", "listener__name"),
        *("owner_id", "type", "beginning"),
    )
    rows = (
        QueuedMessage.objects.filter(position__gt=after, position__lte=upto)
        .exclude(type__in=CONTROLS)
        .annotate(beginning=Left("payload", characters + 1))
        .order_by("-position", "-id")
        .values_list(*columns)[:most]
    )
    found = list(reversed(rows))
    owners = usernames(row[OWNER] for row in found)
    return [_glance(row, owners, characters) for row in found]


def _glance(row: tuple[Any, ...], owners: dict[Any, str], characters: int) -> Glance:
    key, position, at, channel, listener, owner, type, text = row
    is_cut = len(text) > characters
    text = text[:characters]
    return Glance(key, position, at, channel, listener, owners.get(owner), type, text, is_cut)
