"""How much belongs to a channel, counted no further than anyone asks."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connections

from eric_sse_django.log.union import union_all
from eric_sse_django.models import Listener, QueuedMessage, database


def count_listeners(channels: Iterable[int], most: int) -> dict[int, int]:
    """Return how many listeners each channel has; `most + 1` means more."""
    return _count(Listener, channels, most)


def count_messages(channels: Iterable[int], most: int) -> dict[int, int]:
    """Return how many messages of each channel are kept; `most + 1` means more."""
    return _count(QueuedMessage, channels, most)


def _count(
    model: type[Listener] | type[QueuedMessage], channels: Iterable[int], most: int
) -> dict[int, int]:
    connection = connections[database()]
    keys = [int(key) for key in channels]
    table = connection.ops.quote_name(model._meta.db_table)

    def counted(key: object) -> str:
        rows = f"SELECT 1 AS one FROM {table} WHERE channel_id = {key} LIMIT {most + 1}"
        return f"SELECT {key}, (SELECT COUNT(*) FROM ({rows}) counted)"

    if keys and connection.vendor == "postgresql":  # for the reason see depth._joined()
        values = ", ".join(f"({key})" for key in keys)
        return dict(union_all([f"{counted('asked')} FROM (VALUES {values}) of_page (asked)"]))
    return dict(union_all([counted(key) for key in keys]))
