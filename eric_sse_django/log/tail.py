"""What came last, for all channels at once: read for each wake, so said in text made once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from django.db import connections

from eric_sse_django.entry import Entry
from eric_sse_django.log.alias import database
from eric_sse_django.models import QueuedMessage

# In the order of Entry's arguments.
_FIELDS = (
    *("position", "channel", "listener", "owner", "type", "payload"),
    *("sender", "uid", "created_at", "expires_at"),
)
Convert = Callable[[Any], Any]


def tail(after: int, upto: int, channels: Iterable[int] | None, limit: int) -> list[Entry]:
    """
    Return the entries of some channels (None: all) with after < position <= upto.

    Also those that are expired, until they are removed: ask is_expired() when one goes out.
    """
    using = database()
    among = "" if channels is None else f"AND channel_id IN ({_keys(channels)}) "
    with connections[using].cursor() as cursor:
        cursor.execute(_select(using).format(among=among), [after, upto, limit])
        rows = cursor.fetchall()
    owner_of, time_of = _converter(using, "owner"), _converter(using, "created_at")

    def entry(row: Any) -> Entry:
        *before, owner, type, payload, sender, uid, created_at, expires_at = row
        key = None if owner is None else owner_of(owner)
        ends = None if expires_at is None else time_of(expires_at).timestamp()
        values = *before, key, type, payload, sender, uid, time_of(created_at), ends
        return Entry(*values)

    return [entry(row) for row in rows]


def _keys(channels: Iterable[int]) -> str:
    return ",".join(map(str, map(int, channels))) or "NULL"


@lru_cache
def _select(using: str) -> str:
    quote = connections[using].ops.quote_name
    columns = [quote(_field(name).column) for name in _FIELDS]
    # Null for most: no time to parse a row.
    columns[-1] = f"CASE WHEN perishable THEN {columns[-1]} END"
    return (
        f"SELECT {', '.join(columns)} FROM {quote(QueuedMessage._meta.db_table)} "
        "WHERE position > %s AND position <= %s {among}ORDER BY position LIMIT %s"
    )


def _converter(using: str, name: str) -> Convert:
    """Return what makes Python's value of a column's. Not kept: it is of this thread."""
    connection, column = connections[using], _field(name).get_col(QueuedMessage._meta.db_table)
    steps = [
        *connection.ops.get_db_converters(column),
        *column.get_db_converters(connection),
    ]

    def convert(value: Any) -> Any:
        for step in steps:
            value = step(value, column, connection)
        return value

    return convert


def _field(name: str) -> Any:
    return QueuedMessage._meta.get_field(name)
