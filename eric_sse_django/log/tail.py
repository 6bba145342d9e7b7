"""What came last, for all channels at once: read for each wake, so said in text made once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from django.db import connections

from eric_sse_django.entry import Entry
from eric_sse_django.log.alias import database
from eric_sse_django.log.entries import columns, entries, table
from eric_sse_django.log.history import (
    Known,
    Seen,
    begin_history,
    is_same,
    is_this_database,
    see,
    seen_of,
)
from eric_sse_django.log.sequence import pending
from eric_sse_django.log.statements import see_statement

SEEN = 6  # columns of see_statement()


def tail(after: int, upto: int, channels: Iterable[int] | None, limit: int) -> list[Entry]:
    """
    Return the entries of some channels (None: all) with after < position <= upto.

    Also those that are expired, until they are removed: ask is_expired() when one goes out.
    """
    using = database()
    with connections[using].cursor() as cursor:
        cursor.execute(_tail(using).format(among=_among(channels)), [after, upto, limit])
        rows = cursor.fetchall()
    return entries(using, rows)


class Look(NamedTuple):
    """
    What the log has now: its head, whether rows wait for a position, and the tail up to there.

    `is_same` tells whether this is the history that the reader knows; else it has no entries.
    """

    head: Known
    waits: bool
    entries: list[Entry]
    is_same: bool = True


def first_look() -> Known:
    """Return the log's head; where the database is not the one that it names, of a new history."""
    is_this, seen = is_this_database(), see(0)
    if seen is None:
        return Known(0)
    return seen.head if is_this else begin_history(seen.head.position)


def look(known: Known, channels: Iterable[int] | None, limit: int) -> Look:
    """
    Return what came after a position, and whether it is after what the reader knows of it.

    One call of the hub's thread. Also asks a new connection which database it is to.
    """
    using = database()
    is_this = is_this_database()
    at_once = connections[using].vendor == "postgresql"
    seen, found = (_look_at_once if at_once else _look)(known.position, channels, limit)
    if seen is None:  # the head is lost: see sequence()
        return Look(Known(0), pending().exists(), [], is_this and not known.position)
    same = is_this and is_same(known, seen)
    return Look(seen.head, seen.waits, found if same else [], same)


def _look(
    after: int, channels: Iterable[int] | None, limit: int
) -> tuple[Seen | None, list[Entry]]:
    seen = see(after)
    if seen is None or seen.head.position <= after:
        return seen, []
    return seen, tail(after, seen.head.position, channels, limit)


def _look_at_once(
    after: int, channels: Iterable[int] | None, limit: int
) -> tuple[Seen | None, list[Entry]]:
    # A call more took 0.4 ms of the 4.5 that a message has on its way through idle servers.
    using = database()
    with connections[using].cursor() as cursor:
        cursor.execute(_both(using).format(among=_among(channels)), [after, after, after, limit])
        rows = cursor.fetchall()
    if not rows:
        return None, []
    rows.sort(key=itemgetter(SEEN))  # by position: a join owes no order
    found = [row[SEEN:] for row in rows if row[SEEN] is not None]
    return seen_of(rows[0][:SEEN]), entries(using, found)


def _among(channels: Iterable[int] | None) -> str:
    if channels is None:
        return ""
    keys = ",".join(map(str, map(int, channels))) or "NULL"
    return f"AND channel_id IN ({keys})"


@lru_cache
def _tail(using: str, bound: str = "AND position <= %s") -> str:
    return (
        f"SELECT {columns(using)} FROM {table(using)} "
        f"WHERE position > %s {bound} {{among}} ORDER BY position LIMIT %s"
    )


@lru_cache
def _both(using: str) -> str:
    # One statement sees no position beyond the head; to say so hid from the planner how few
    # rows there are.
    return (
        f"SELECT head.*, new.* FROM ({see_statement(using)}) AS head "
        f"LEFT JOIN ({_tail(using, bound='')}) AS new ON TRUE"
    )
