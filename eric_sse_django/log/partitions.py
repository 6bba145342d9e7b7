"""
A log in partitions, on PostgreSQL: when all messages of one have expired, it is dropped.

Partitions are ranges of positions: a look, a read or a sequencing concerns one or two of them. (As
ranges of time, each would concern all: with 30 a sequencing took 5.0 ms, not 0.7.) A message
without a position is in the default partition; its position moves it.
"""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import IntegrityError, OperationalError, ProgrammingError
from django.utils import timezone

from eric_sse_django import conf
from eric_sse_django.entry import RESERVED_PREFIX
from eric_sse_django.log import retention
from eric_sse_django.log.dialect import Dialect, is_partitioned
from eric_sse_django.log.history import connected, note_removed
from eric_sse_django.log.lifetime import UNREAD_S
from eric_sse_django.log.retention import LOCK_TIMEOUT_S, TRIM_BATCH, Lost, raise_floors
from eric_sse_django.log.sequencer import head

logger = logging.getLogger(__name__)

# Seconds after its retention when a message is removed alone: its partition has messages that are
# kept for longer.
ALONE_S = 86_400.0
# Seconds that a change of the partitions waits for the lock of the table, for which publishers
# wait too.
TABLE_LOCK_S = 0.1

_BOUNDS = re.compile(r"FROM \(('(?P<first>\d+)'|MINVALUE)\) TO \('(?P<end>\d+)'\)")


class Partition(NamedTuple):
    """The messages with positions in [first, end); `table` is its name as SQL."""

    table: str
    first: int
    end: int


def partitions_of(dialect: Dialect) -> list[Partition]:
    """Return the partitions without the default one, in order: none for a plain table."""
    if not dialect.partitions:
        return []
    with dialect.connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text, pg_get_expr(relpartbound, oid) FROM pg_inherits "
            "JOIN pg_class ON oid = inhrelid WHERE inhparent = %s::regclass",
            [dialect.log],
        )
        rows = cursor.fetchall()
    bounds = [(table, _BOUNDS.search(text or "")) for table, text in rows]
    found = [
        Partition(table, int(bound["first"] or 0), int(bound["end"]))
        for table, bound in bounds
        if bound is not None
    ]
    return sorted(found, key=lambda each: each.end)


def trim() -> int:
    """
    Remove what has passed its retention: a partition, else as retention.trim().

    In partitions a message is kept until the last one of its partition has passed its retention,
    for ALONE_S at most. Adds the next partition when the last one is in use.
    """
    dialect = connected()
    found = partitions_of(dialect) if is_partitioned(dialect.connection.alias) else []
    if not found:
        return retention.trim()
    try:
        removed = _trim(dialect, found)
    except ProgrammingError:
        if partitions_of(dialect) == found:
            raise
        removed = 0  # another process has added or dropped one meanwhile
    return removed or retention.trim(ALONE_S)


def _trim(dialect: Dialect, found: list[Partition]) -> int:
    position, _ = head()
    _extend(dialect, found, position)
    for each in found:
        if each.end <= position and _is_over(dialect, each):
            removed = _drop(dialect, each)
            if removed:
                return removed
    return 0


def _extend(dialect: Dialect, found: list[Partition], position: int) -> None:
    last = found[-1]
    size = last.end - last.first
    if position < last.first:
        return
    # Positions that were given meanwhile, or of a new history, stay in the default partition.
    first = last.end if position < last.end else position + size // 10
    _change(dialect, partition(dialect, first, first + size))


def partition(dialect: Dialect, first: int, end: int) -> str:
    """Return the SQL of a partition for the positions in [first, end)."""
    name = dialect.connection.ops.quote_name(f"{dialect.log.strip(chr(34))}_{first}")
    return (
        f"CREATE TABLE {name} PARTITION OF {dialect.log} (PRIMARY KEY (id)) "
        f"FOR VALUES FROM ({first}) TO ({end})"
    )


def _is_over(dialect: Dialect, found: Partition) -> bool:
    """Return whether all its messages have passed their retention: also where none is left."""
    over = timezone.now() - timedelta(seconds=UNREAD_S + conf.get("POLL_INTERVAL_S"))
    with dialect.connection.cursor() as cursor:
        cursor.execute(f"SELECT MAX(expires_at) < %s FROM {found.table}", [dialect.time(over)])
        return cursor.fetchone()[0] is not False


def _drop(dialect: Dialect, found: Partition) -> int:
    """
    Drop a partition, or let it stay until the next trim; return how many messages were removed.

    The floors rise before, in batches: for a moment streams get a reset beside the messages. No
    message joins it meanwhile, as all its positions are given.
    """
    total, top, lost = _contents(dialect, found)
    for first in range(0, len(lost), TRIM_BATCH):
        with dialect.impatient(LOCK_TIMEOUT_S):
            if raise_floors(lost[first : first + TRIM_BATCH]):
                return 0  # others have locked a recipient
    # Committed before: a sequencer that has locked the head waits for the table.
    note_removed([top])
    return total if _change(dialect, f"DROP TABLE {found.table}") else 0


def _change(dialect: Dialect, statement: str) -> bool:
    """
    Change the partitions; return False if others use the table: the next trim tries again.

    Also where the default one has messages of a range, whose positions were given meanwhile.
    """
    try:
        with dialect.impatient(TABLE_LOCK_S), dialect.connection.cursor() as cursor:
            cursor.execute(statement)
    except (OperationalError, IntegrityError) as error:
        logger.info("the log's partitions could not be changed, others use the table: %s", error)
        return False
    return True


def _contents(dialect: Dialect, found: Partition) -> tuple[int, int, list[Lost]]:
    """Return how many messages it has, the last position, and the last loss of each address."""
    owner_of = dialect.converter("owner")
    with dialect.connection.cursor() as cursor:
        cursor.execute(
            "SELECT channel_id, listener_id, owner_id, COUNT(*), MAX(position), MAX(position) "
            "FILTER (WHERE NOT perishable AND NOT starts_with(type, %s)) "
            f"FROM {found.table} GROUP BY channel_id, listener_id, owner_id",
            [RESERVED_PREFIX],
        )
        rows: list[Any] = cursor.fetchall()
    lost = [
        Lost(number, position, channel, listener, None if owner is None else owner_of(owner))
        for number, (channel, listener, owner, _, _, position) in enumerate(rows)
        if position is not None
    ]
    return sum(row[3] for row in rows), max((row[4] for row in rows), default=0), lost


def conversion(dialect: Dialect, size: int) -> list[str]:
    """
    Return the statements of one transaction that put the log's table into partitions.

    The table becomes the first one, so no message is copied; to attach it PostgreSQL reads it
    once. Raises ValueError for a database or a table that cannot be converted.
    """
    if not dialect.partitions:
        raise ValueError("Only PostgreSQL's tables can be in partitions.")
    if partitions_of(dialect):
        raise ValueError("The table is in partitions already.")
    quote, log = dialect.connection.ops.quote_name, dialect.log
    name = log.strip('"')
    old, others, numbers = (quote(f"{name}_{each}") for each in ("first", "others", "ids"))
    position, _ = head()
    indexes = _indexes(dialect)
    end = position + size
    return [
        f"LOCK TABLE {log} IN ACCESS EXCLUSIVE MODE",
        f"CREATE SEQUENCE {numbers}",
        f"SELECT setval('{numbers}', nextval(pg_get_serial_sequence('{log}', 'id')), false)",
        f"ALTER TABLE {log} ALTER COLUMN id DROP IDENTITY",
        f"ALTER TABLE {log} RENAME TO {old}",
        *(f"ALTER INDEX {quote(each)} RENAME TO {quote(f'{each}_first')}" for each in indexes),
        f"CREATE TABLE {log} (LIKE {old} INCLUDING DEFAULTS INCLUDING CONSTRAINTS "
        "INCLUDING STORAGE) PARTITION BY RANGE (position)",
        f"ALTER TABLE {log} ALTER COLUMN id SET DEFAULT nextval('{numbers}')",
        f"ALTER SEQUENCE {numbers} OWNED BY {log}.id",
        *indexes.values(),
        f"CREATE TABLE {others} PARTITION OF {log} (PRIMARY KEY (id)) DEFAULT",
        f"INSERT INTO {others} SELECT * FROM {old} WHERE position IS NULL",
        f"DELETE FROM {old} WHERE position IS NULL",
        f"ALTER TABLE {log} ATTACH PARTITION {old} FOR VALUES FROM (MINVALUE) TO ({end})",
        partition(dialect, end, end + size),
    ]


def _indexes(dialect: Dialect) -> dict[str, str]:
    """Return the CREATE INDEX of each index that is not the primary key's, by its name."""
    with dialect.connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_get_indexdef(indexrelid) FROM pg_index "
            "JOIN pg_class ON oid = indexrelid WHERE indrelid = %s::regclass AND NOT indisprimary",
            [dialect.log],
        )
        return dict(cursor.fetchall())
