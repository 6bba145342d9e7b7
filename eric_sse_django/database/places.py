"""The rows that several pairs of ids name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Exists, Q, QuerySet

from eric_sse_django.models import Channel, Listener, Revocation, could_be_id

# The ids of a channel and of a listener of it, or None for the channel alone.
Ids = tuple[str, "str | None"]
Place = tuple[Channel, "Listener | None"]


def places(
    ids: Sequence[Ids], subjects: Collection[str] = ()
) -> tuple[dict[Ids, Place | None], bool]:
    """
    Return what the ids name, None for what there is not, in their order; two queries at most.

    And whether the revocation of one of some subjects is remembered, which the same queries
    find; False where the ids name nothing.
    """
    # No query for what cannot be an id: PostgreSQL raises ValueError for a NUL.
    asked = [(channel, listener) for channel, listener in ids if _may_be(channel, listener)]
    found: dict[Ids, Place] = {}
    rows: list[Any] = []
    if named := {channel for channel, listener in asked if listener is None}:
        for channel in _watched(Channel.objects.filter(name__in=named), subjects):
            found[channel.name, None] = channel, None
            rows.append(channel)
    if pairs := [Q(channel__name=one, name=other) for one, other in asked if other is not None]:
        listeners = Listener.objects.select_related("channel").filter(reduce(or_, pairs))
        for listener in _watched(listeners, subjects):
            found[listener.channel.name, listener.name] = listener.channel, listener
            rows.append(listener)
    # By the exact ids: MariaDB's usual collations find "orders" by "ORDERS".
    return {pair: found.get(pair) for pair in ids}, any(
        getattr(row, "is_revoked", False) for row in rows
    )


def _watched(rows: QuerySet[Any], subjects: Collection[str]) -> QuerySet[Any]:
    """Return the rows, each with whether the revocation of a subject is remembered."""
    if not subjects:
        return rows
    found: QuerySet[Any] = rows.annotate(
        is_revoked=Exists(Revocation.objects.filter(subject__in=subjects))
    )
    return found


def _may_be(channel: str, listener: str | None) -> bool:
    return could_be_id(channel) and (listener is None or could_be_id(listener))
