"""The messages around a listener's cursor."""

from __future__ import annotations

from eric_sse_django.log.ranges import in_order, ranges_of
from eric_sse_django.log.union import union_all
from eric_sse_django.models import Listener, QueuedMessage


def glimpse(listener: Listener, most: int = 20) -> tuple[list[QueuedMessage], list[QueuedMessage]]:
    """
    Return the first that wait, oldest first, and the last served, newest first.

    At most `most` of each. Two queries.
    """
    after, upto = listener.cursor, max(listener.cursor, listener.start)
    sought = [(part, "ASC") for part in ranges_of(listener, after)]
    sought += [(part, "DESC") for part in ranges_of(listener, listener.start, upto)]
    branches = [
        f"SELECT id FROM (SELECT id {part.rows()} {in_order(direction)} LIMIT {most}) part"
        for part, direction in sought
    ]
    keys = [key for (key,) in union_all(branches, [part.params() for part, _ in sought])]
    rows = QueuedMessage.objects.filter(pk__in=keys).order_by("position")
    waiting: list[QueuedMessage] = []
    served: list[QueuedMessage] = []
    for row in rows:
        (waiting if (row.position or 0) > after else served).append(row)
    return waiting[:most], served[::-1][:most]
