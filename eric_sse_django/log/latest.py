"""The last messages of the log, as somebody looks at them who does not listen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models.functions import Left

from eric_sse_django.entry import CONTROLS
from eric_sse_django.log.alias import database
from eric_sse_django.models import QueuedMessage


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

    One query by the index eric_log_tail; it brings `characters` of each payload.
    """
    columns = (
        *("pk", "position", "created_at", "channel__name", "listener__name"),
        *(f"owner__{get_user_model().USERNAME_FIELD}", "type", "beginning"),
    )
    rows = (
        QueuedMessage.objects.using(database())
        .filter(position__gt=after, position__lte=upto)
        .exclude(type__in=CONTROLS)
        .annotate(beginning=Left("payload", characters + 1))
        .order_by("-position", "-id")
        .values_list(*columns)[:most]
    )
    return [_glance(row, characters) for row in reversed(rows)]


def _glance(row: tuple[Any, ...], characters: int) -> Glance:
    key, position, at, channel, listener, owner, type, text = row
    is_cut = len(text) > characters
    text = text[:characters]
    return Glance(key, position, at, channel, listener, owner, type, text, is_cut)
