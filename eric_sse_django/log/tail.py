"""What came last, for all channels at once: read for each wake, so said in text made once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from django.db import connections

from eric_sse_django.entry import Entry
from eric_sse_django.log.alias import database
from eric_sse_django.log.entries import columns, entries, table
from eric_sse_django.log.sequence import head


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
    return entries(using, rows)


def look(after: int, channels: Iterable[int] | None, limit: int) -> tuple[int, bool, list[Entry]]:
    """Return what head() does, and the tail() up to there: one call of the hub's thread."""
    upto, waits = head()
    return upto, waits, tail(after, upto, channels, limit) if after < upto else []


def _keys(channels: Iterable[int]) -> str:
    return ",".join(map(str, map(int, channels))) or "NULL"


@lru_cache
def _select(using: str) -> str:
    return (
        f"SELECT {columns(using)} FROM {table(using)} "
        "WHERE position > %s AND position <= %s {among}ORDER BY position LIMIT %s"
    )
