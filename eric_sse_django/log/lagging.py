"""Who falls behind."""

from __future__ import annotations

from datetime import datetime

from django.db import connections
from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from eric_sse_django.entry import CONTROLS
from eric_sse_django.models import Listener, QueuedMessage, database

_ADDRESSES = {
    "_to_all": Q(listener__isnull=True, owner__isnull=True),
    "_to_it": Q(listener=OuterRef("pk"), owner__isnull=True) & ~Q(type__in=CONTROLS),
    "_to_owner": Q(listener__isnull=True, owner=OuterRef("owner")),
}
_IN_ORDER = ("listener_id", "owner_id", "position")


def lagging(listeners: QuerySet[Listener], since: datetime) -> QuerySet[Listener]:
    """
    Return those for whom something waits that was published before `since`.

    Two or three steps into an index for each listener that is looked at.
    """
    if connections[database()].vendor == "mysql":
        # It cannot begin after an outer row's cursor, and would walk there from the first
        # message: so it goes back from the last, over what is younger.
        order = [f"-{column}" for column in _IN_ORDER]
        rows = QueuedMessage.objects.filter(created_at__lt=since, position__isnull=False)
        late = Q(**{f"{name}__gt": F("cursor") for name in _ADDRESSES}, _connector=Q.OR)
        return _alias(listeners, rows, order, "position").filter(late)
    rows = QueuedMessage.objects.filter(position__gt=OuterRef("cursor"))
    late = Q(**{f"{name}__lt": since for name in _ADDRESSES}, _connector=Q.OR)
    return _alias(listeners, rows, list(_IN_ORDER), "created_at").filter(late)


def _alias(
    listeners: QuerySet[Listener], rows: QuerySet[QueuedMessage], order: list[str], column: str
) -> QuerySet[Listener]:
    """Give each listener the first row's column in each way of being addressed."""
    rows = rows.filter(channel=OuterRef("channel")).order_by(*order)
    return listeners.alias(
        **{
            name: Subquery(rows.filter(address).values(column)[:1])
            for name, address in _ADDRESSES.items()
        }
    )
