"""The rows that several pairs of ids name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

from django.db.models import Q

from eric_sse_django import log
from eric_sse_django.database.rows import could_be_id
from eric_sse_django.models import Channel, Listener

# The ids of a channel and of a listener of it, or None for the channel alone.
Ids = tuple[str, "str | None"]
Place = tuple[Channel, "Listener | None"]


def places(ids: Sequence[Ids]) -> list[Place | None]:
    """Return what the ids name, None for what there is not. Two queries at most."""
    # No query for what cannot be an id: PostgreSQL raises ValueError for a NUL.
    asked = [(channel, listener) for channel, listener in ids if _may_be(channel, listener)]
    found: dict[Ids, Place] = {}
    if named := {channel for channel, listener in asked if listener is None}:
        for channel in Channel.objects.using(log.database()).filter(name__in=named):
            found[channel.name, None] = channel, None
    if pairs := [Q(channel__name=one, name=other) for one, other in asked if other is not None]:
        rows = Listener.objects.using(log.database()).select_related("channel")
        for listener in rows.filter(reduce(or_, pairs)):
            found[listener.channel.name, listener.name] = listener.channel, listener
    # By the exact ids: MariaDB's usual collations find "orders" by "ORDERS".
    return [found.get(pair) for pair in ids]


def _may_be(channel: str, listener: str | None) -> bool:
    return could_be_id(channel) and (listener is None or could_be_id(listener))
