"""
What is said to the database for each message, as text that is made once.

Django's query language takes several times as long to say these as the databases to do
them: 1,100 µs of CPU to sequence one row on SQLite, of which 130 µs are the database's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from django.db import connections

from eric_sse_django.log.order import while_pending
from eric_sse_django.models import LogHead, QueuedMessage


@dataclass(frozen=True)
class Statements:
    """
    Of one database. `{}` in `give` is the place of the ids; `lock` reads the head last.

    `at_once` is all but `head` in one call, for a database that takes several statements in
    one, else "".
    """

    waits: str
    head: str
    lock: tuple[str, ...]
    pending: str
    give: str
    move: str
    at_once: str


@lru_cache
def statements(using: str, most: int) -> Statements:
    """Return a database's statements; `most` rows at once are pending to them."""
    quote = connections[using].ops.quote_name
    log, heads = (quote(model._meta.db_table) for model in (QueuedMessage, LogHead))
    one = f"WHERE id = {LogHead.THE_ONE}"
    waits = _waits(log)
    return Statements(
        waits=waits,
        head=f"SELECT position, EXISTS({waits}) FROM {heads} {one}",
        lock=_lock(using, heads, one),
        pending=(
            f"SELECT id FROM {log} WHERE position IS NULL "
            f"ORDER BY {', '.join(while_pending())} LIMIT {most}"
        ),
        # Without the second condition a snapshot of before another's commit, which MariaDB's
        # REPEATABLE READ keeps, gave a message a second position. A sum, for no planner is to
        # go by it: MariaDB would wait for the uncommitted rows in that range of the index.
        give=f"UPDATE {log} SET position = id + %s WHERE id IN ({{}}) AND position + 0 IS NULL",
        move=(
            f"UPDATE {heads} SET position = %s, marked = %s, "
            f"marked_at = (SELECT created_at FROM {log} WHERE id = %s) {one}"
        ),
        at_once=_at_once(using, log, heads, waits, most),
    )


@lru_cache
def see_statement(using: str) -> str:
    """
    Return the SELECT of the head, of whether rows wait, and of what tells its history.

    Stamps are numbers on PostgreSQL, as those of entries.
    """
    quote = connections[using].ops.quote_name
    log, heads = (quote(model._meta.db_table) for model in (QueuedMessage, LogHead))
    return (
        f"SELECT position, EXISTS({_waits(log)}), trimmed, marked, {stamp(using, 'marked_at')} "
        f"FROM {heads} WHERE id = {LogHead.THE_ONE}"
    )


def stamp(using: str, column: str) -> str:
    """Return what to select for a moment: psycopg takes 4 µs to make a datetime."""
    if connections[using].vendor == "postgresql":
        return f"EXTRACT(EPOCH FROM {column})::float8"
    return column


def _waits(log: str) -> str:
    return f"SELECT 1 FROM {log} WHERE position IS NULL LIMIT 1"


def _at_once(using: str, log: str, heads: str, waits: str, most: int) -> str:
    """
    Return what locks the head if something waits, and, if it did, gives the positions.

    Two statements, so that the second sees what was committed before the first had the lock.
    Whether that locked is told by the transaction's number, which comes with its first lock
    or write: a transaction that has locked nothing also has nothing to sync. An array of the
    ids, for where statistics say that many wait, a join with them reads the whole table.
    """
    if connections[using].vendor != "postgresql":
        return ""
    order = ", ".join(while_pending())
    one = f"id = {LogHead.THE_ONE}"
    (lock,) = _lock(using, heads, f"WHERE {one} AND EXISTS({waits})")
    return f"""
        {lock};
        WITH pending AS (
            SELECT id FROM {log}
            WHERE position IS NULL AND pg_current_xact_id_if_assigned() IS NOT NULL
            ORDER BY {order} LIMIT {most}
        ),
        moved AS (
            UPDATE {heads} SET
                position = position + 1 - first + last,
                marked = position + 1 - first + last,
                marked_at = (SELECT created_at FROM {log} WHERE id = last)
            FROM (SELECT MIN(id) AS first, MAX(id) AS last FROM pending) AS ends
            WHERE {one} AND first IS NOT NULL RETURNING position - last AS by
        )
        UPDATE {log} SET position = id + by FROM moved
        WHERE id = ANY(ARRAY(SELECT id FROM pending))
    """


def _lock(using: str, heads: str, one: str) -> tuple[str, ...]:
    features = connections[using].features
    read = f"SELECT position FROM {heads} {one}"
    if not features.has_select_for_update:
        # SQLite: to write first takes the write lock, also in a deferred transaction.
        lock = f"UPDATE {heads} SET position = position {one}"
        if features.can_return_columns_from_insert:  # from 3.35 on, of each statement that writes
            return (f"{lock} RETURNING position",)
        return lock, read
    no_key = "NO KEY " if features.has_select_for_no_key_update else ""
    return (f"{read} FOR {no_key}UPDATE",)
