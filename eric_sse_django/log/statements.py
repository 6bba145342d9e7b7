"""
What is said to the database for each message, as text that is made once.

Django's query language takes several times as long to say these as the databases to do
them: 1,100 µs of CPU to sequence one row on SQLite, of which 130 µs are the database's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from django.db import connections

from eric_sse_django.log.dialect import Dialect, dialect_of
from eric_sse_django.models import LogHead


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
    dialect = dialect_of(connections[using])
    log, heads = dialect.log, dialect.heads
    one = f"WHERE id = {LogHead.THE_ONE}"
    waits = _waits(log)
    return Statements(
        waits=waits,
        head=f"SELECT position, EXISTS({waits}) FROM {heads} {one}",
        lock=_lock(dialect, one),
        pending=(
            f"SELECT id FROM {log} WHERE position IS NULL "
            f"ORDER BY {', '.join(dialect.pending_order)} LIMIT {most}"
        ),
        # Without the second condition a snapshot of before another's commit, which MariaDB's
        # REPEATABLE READ keeps, gave a message a second position. A sum, for no planner is to
        # go by it: MariaDB would wait for the uncommitted rows in that range of the index.
        give=f"UPDATE {log} SET position = id + %s WHERE id IN ({{}}) AND position + 0 IS NULL",
        move=(
            f"UPDATE {heads} SET position = %s, marked = %s, "
            f"marked_at = (SELECT created_at FROM {log} WHERE id = %s) {one}"
        ),
        at_once=_at_once(dialect, waits, most) if dialect.one_call else "",
    )


@lru_cache
def see_statement(using: str) -> str:
    """
    Return the SELECT of the head, of whether rows wait, and of what tells its history.

    Stamps are numbers on PostgreSQL, as those of entries.
    """
    dialect = dialect_of(connections[using])
    waits, marked_at = _waits(dialect.log), dialect.stamp("marked_at")
    return (
        f"SELECT position, EXISTS({waits}), trimmed, marked, {marked_at} "
        f"FROM {dialect.heads} WHERE id = {LogHead.THE_ONE}"
    )


def _waits(log: str) -> str:
    return f"SELECT 1 FROM {log} WHERE position IS NULL LIMIT 1"


def _at_once(dialect: Dialect, waits: str, most: int) -> str:
    """
    Return what locks the head if something waits, and, if it did, gives the positions.

    Two statements, so that the second sees what was committed before the first had the lock.
    Whether that locked is told by the transaction's number, which comes with its first lock
    or write: a transaction that has locked nothing also has nothing to sync. An array of the
    ids, for where statistics say that many wait, a join with them reads the whole table.
    """
    log, heads, order = dialect.log, dialect.heads, ", ".join(dialect.pending_order)
    one = f"id = {LogHead.THE_ONE}"
    (lock,) = _lock(dialect, f"WHERE {one} AND EXISTS({waits})")
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


def _lock(dialect: Dialect, one: str) -> tuple[str, ...]:
    read = f"SELECT position FROM {dialect.heads} {one}"
    if not dialect.for_update:
        # SQLite: to write first takes the write lock, also in a deferred transaction.
        lock = f"UPDATE {dialect.heads} SET position = position {one}"
        # From 3.35 on each statement that writes can return rows.
        if dialect.connection.features.can_return_columns_from_insert:
            return (f"{lock} RETURNING position",)
        return lock, read
    return (f"{read} {dialect.for_update}",)
