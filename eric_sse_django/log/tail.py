"""The log's tail for all channels at once. It is read for each wake: SQL text is built once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any

from django.db import connections

from eric_sse_django.log.address import END
from eric_sse_django.log.dialect import dialect_of
from eric_sse_django.log.entries import CREATED_AT, PAYLOAD, columns, entries_of
from eric_sse_django.log.history import (
    Seen,
    begin_history,
    highest,
    is_same,
    is_this_database,
    make_head,
    see,
    see_by,
    see_statement,
    seen_of,
)
from eric_sse_django.log.protocol import Known, Look
from eric_sse_django.log.sequencer import head
from eric_sse_django.models import LogHead, database

SEEN = 5  # columns of see_statement()
ORDER = "ORDER BY position LIMIT %s"


def follow(seen: int | None = None) -> Known:
    """
    Return the log's head, from which a reader follows it: see Log.follow().

    The head of a new history also where the database is not the one that the head names.
    """
    if seen is not None:
        return begin_history(seen)
    using = database()
    is_this, found = is_this_database(using), see(using)
    if found is None and highest():
        # It was lost, as by a TRUNCATE. Created with the next message it would end all streams.
        make_head(using)
        found = see(using)
    if found is None:
        return Known(0)
    return found.head if is_this else begin_history(found.head.position)


def look(known: Known, channels: Iterable[int] | None, limit: int) -> Look:
    """
    Return what follows a reader's position: see Log.look().

    For a new connection it also checks which database that is.
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
    # The message at the known position comes with those after it, from one reading.
    has_past = bool(rows) and rows[0][0] == known.position
    past = rows[0][CREATED_AT] if has_past else None
    if not is_this or not is_same(known, seen.head, past):
        return Look(seen.head, seen.waits, [], False)
    found = rows[1:] if has_past else rows[:limit]
    return Look(seen.head, seen.waits, entries_of(using, found))


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
    # One more call took 0.4 ms of the 4.5 that a message takes through idle servers.
    statement = _both(using).format(among=_among(channels))
    cursor.execute(statement, [after, after, after, limit])
    rows = cursor.fetchall()
    if not rows:
        return None, []
    found = [row[SEEN:] for row in rows if row[SEEN] is not None]
    found.sort(key=itemgetter(0))  # by position: a join has no order
    return seen_of(rows[0][:SEEN]), found


def _among(channels: Iterable[int] | None) -> str:
    """Return the condition of rows of these channels, of all for None."""
    if channels is None:
        return "TRUE"
    keys = ",".join(map(str, map(int, channels))) or "NULL"
    return f"channel_id IN ({keys})"


@lru_cache
def _from_past(using: str, instead: str = "NULL") -> str:
    # With the message at the position itself, of any channel; without its payload.
    payload = f"CASE WHEN position > %s THEN payload ELSE {instead} END"
    dialect = dialect_of(connections[using])
    return (
        f"SELECT {columns(dialect, payload)} FROM {dialect.log} "
        f"WHERE position >= %s AND (position = %s OR {{among}})"
    )


@lru_cache
def _both(using: str) -> str:
    # One statement sees no position over the head, and a condition for that would hide from the
    # planner how few rows there are. But the range needs an end: else it includes the rows without
    # a position, also dead ones that an old snapshot keeps (3 ms for 60,000).
    past = f"{_from_past(using)} AND position <= {END}"
    return (
        f"SELECT head.*, new.* FROM ({see_statement(using)}) AS head "
        f"LEFT JOIN ({past} {ORDER}) AS new ON TRUE"
    )
