"""What came last, for all channels at once: read for each wake, so said in text made once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any

from django.db import connections

from eric_sse_django.entry import Entry
from eric_sse_django.log.dialect import dialect_of
from eric_sse_django.log.entries import CREATED_AT, PAYLOAD, columns, entries
from eric_sse_django.log.history import (
    Seen,
    begin_history,
    highest,
    is_same,
    is_this_database,
    make_head,
    see,
    see_by,
    seen_of,
)
from eric_sse_django.log.protocol import Known, Look
from eric_sse_django.log.ranges import END
from eric_sse_django.log.sequence import head
from eric_sse_django.log.statements import see_statement
from eric_sse_django.models import LogHead, database

SEEN = 5  # columns of see_statement()
ORDER = "ORDER BY position LIMIT %s"


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


def first_look() -> Known:
    """Return the log's head; where the database is not the one that it names, of a new history."""
    using = database()
    is_this, seen = is_this_database(using), see(using)
    if seen is None and highest():
        # It was lost, as by a TRUNCATE. Made with the next message it would end all streams.
        make_head(using)
        seen = see(using)
    if seen is None:
        return Known(0)
    return seen.head if is_this else begin_history(seen.head.position)


def follow(seen: int | None = None) -> Known:
    """Return the head, from which a reader begins: see Log.follow()."""
    return first_look() if seen is None else begin_history(seen)


def look(known: Known, channels: Iterable[int] | None, limit: int) -> Look:
    """
    Return what came after a position, and whether it is after what the reader knows of it.

    One call of the hub's thread. Also asks a new connection which database it is to.
    """
    using = database()
    connection = connections[using]
    is_this = is_this_database(using, connection)
    ask = _look_at_once if dialect_of(connection).joins_head else _look
    with connection.cursor() as cursor:
        seen, rows = ask(cursor, using, known.position, channels, limit + 1)
    if seen is None:  # the head is lost: see sequence()
        position, waits = head()
        return Look(Known(position), waits, [], is_this and not known.position)
    # What stands at the known position comes with what is after it, in one reading.
    has_past = bool(rows) and rows[0][0] == known.position
    past = rows[0][CREATED_AT] if has_past else None
    if not is_this or not is_same(known, seen.head, past):
        return Look(seen.head, seen.waits, [], False)
    found = rows[1:] if has_past else rows[:limit]
    return Look(seen.head, seen.waits, entries(using, found))


def _look(
    cursor: Any, using: str, after: int, channels: Iterable[int] | None, limit: int
) -> tuple[Seen | None, list[Any]]:
    seen = see_by(cursor, using)
    if seen is None or seen.head.position <= after:
        return seen, []
    statement = _after(using).format(among=_among(channels))
    cursor.execute(statement, [after, after, after, seen.head.position, limit])
    rows = cursor.fetchall()
    # As of the rows: what was removed since the head was read is not among them.
    if rows and rows[0][0] == after:
        trimmed = int(rows[0][PAYLOAD])
    else:
        again = see_by(cursor, using)
        trimmed = again.head.trimmed if again is not None else 0
    head = seen.head._replace(trimmed=max(seen.head.trimmed, trimmed))
    return Seen(head, seen.waits), rows


@lru_cache
def _after(using: str) -> str:
    heads = dialect_of(connections[using]).heads
    trimmed = f"(SELECT trimmed FROM {heads} WHERE id = {LogHead.THE_ONE})"
    return f"{_from_past(using, trimmed)} AND position <= %s {ORDER}"


def _look_at_once(
    cursor: Any, using: str, after: int, channels: Iterable[int] | None, limit: int
) -> tuple[Seen | None, list[Any]]:
    # A call more took 0.4 ms of the 4.5 that a message has on its way through idle servers.
    statement = _both(using).format(among=_among(channels))
    cursor.execute(statement, [after, after, after, limit])
    rows = cursor.fetchall()
    if not rows:
        return None, []
    found = [row[SEEN:] for row in rows if row[SEEN] is not None]
    found.sort(key=itemgetter(0))  # by position: a join owes no order
    return seen_of(rows[0][:SEEN]), found


def _among(channels: Iterable[int] | None) -> str:
    """Return a condition that rows of these channels meet, of all where that is None."""
    if channels is None:
        return "TRUE"
    keys = ",".join(map(str, map(int, channels))) or "NULL"
    return f"channel_id IN ({keys})"


@lru_cache
def _tail(using: str) -> str:
    dialect = dialect_of(connections[using])
    return (
        f"SELECT {columns(dialect)} FROM {dialect.log} "
        f"WHERE position > %s AND position <= %s AND {{among}} {ORDER}"
    )


@lru_cache
def _from_past(using: str, instead: str = "NULL") -> str:
    # With what stands at the position itself, of whatever channel; not its payload.
    payload = f"CASE WHEN position > %s THEN payload ELSE {instead} END"
    dialect = dialect_of(connections[using])
    return (
        f"SELECT {columns(dialect, payload)} FROM {dialect.log} "
        f"WHERE position >= %s AND (position = %s OR {{among}})"
    )


@lru_cache
def _both(using: str) -> str:
    # One statement sees no position beyond the head; to say so hid from the planner how few
    # rows there are. But an end there must be: else it walks over all without a position, also
    # the dead ones that an old snapshot keeps (3 ms of 60,000).
    past = f"{_from_past(using)} AND position <= {END}"
    return (
        f"SELECT head.*, new.* FROM ({see_statement(using)}) AS head "
        f"LEFT JOIN ({past} {ORDER}) AS new ON TRUE"
    )
