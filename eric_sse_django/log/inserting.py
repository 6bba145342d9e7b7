"""
Inserting one message with its position: the INSERT's transaction is the only one.

It saves the sequencer's transaction, and the wait for it: a second commit, and two changes of
thread. Only outside the caller's transactions, where nothing waits for a position and nobody has
locked the head. So a message never comes before one that was committed before it, and no
publisher waits for another. Else the row has no position, and the sequencer gives it one: several
messages at once share its transaction.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import OperationalError, connections, transaction

from eric_sse_django.entry import Entry
from eric_sse_django.log.dialect import ENTRY_FIELDS, Dialect, dialect_of, time_converter
from eric_sse_django.log.protocol import SEGMENT_BYTES, Draft, Known, Segment, segment_of
from eric_sse_django.models import LogHead

# Seconds between two messages of a process, below which they are left to the sequencer: on
# SQLite a publisher at full speed had three quarters of its rate otherwise.
APART_S = 0.005
# Seconds that it may take on SQLite; when exceeded, messages wait for the sequencer for
# PAUSE_S. It keeps the lock for writing between its statements: where threads wait for each
# other or for that, four processes published a fifth of their messages, and some raised
# "database is locked".
SLOW_S = 0.02
PAUSE_S = 5.0

_published_at = _paused_until = float("-inf")
_ONE = f"id = {LogHead.THE_ONE}"
# The columns of mark(), in a statement in which the head's have changed.
OLD_MARK = "before, old_marked, old_mark, old_trimmed, old_identity"


class Insert(NamedTuple):
    """
    The INSERT of one row: its columns, what it selects for these, and `FROM … WHERE …`.

    `values` and `known` are the parameters of the last two, `created_at` is one of `values`.
    """

    into: str
    columns: str
    select: str
    source: str
    values: Sequence[Any]
    known: Sequence[Any]
    created_at: Any


class Insertion(NamedTuple):
    """
    How a larger statement inserts messages: `parts` of its WITH, and their parameters.

    It selects `placed.*` by a LEFT JOIN ON TRUE, for segments_of(). `at` is when they are
    published.
    """

    parts: str
    values: list[Any]
    at: datetime


class Appended(NamedTuple):
    """A message was inserted; `segment` has it where it has a position already."""

    segment: Segment | None = None


def may_place(dialect: Dialect) -> bool:
    """Return whether a row that is inserted now may get its position at once."""
    now = time.monotonic()
    is_apart = now - _published_at > APART_S and now >= _paused_until
    return is_apart and dialect.places and not dialect.is_in_transaction()


def note_published() -> None:
    """Note that this process has inserted a message."""
    global _published_at
    _published_at = time.monotonic()


def insert_row(dialect: Dialect, insert: Insert) -> Appended | None:
    """Insert a row without a position, in the caller's transaction; None if it has no source."""
    sql = f"INSERT INTO {insert.into} ({insert.columns}) SELECT {insert.select} {insert.source}"
    using = dialect.connection.alias
    with transaction.mark_for_rollback_on_error(using), dialect.writer() as cursor:
        cursor.execute(sql, [*insert.values, *insert.known])
        return Appended() if cursor.rowcount else None


def place(dialect: Dialect, insert: Insert) -> Appended | None:
    """
    As insert_row(), with a position if nothing waits for one and the head is free.

    Only where may_place(). Waits for no lock of another publisher or of a sequencer, except on
    SQLite.
    """
    began = time.monotonic()
    try:
        return _place(dialect, insert)
    except OperationalError as error:
        # At an isolation level above READ COMMITTED, the server's own default.
        if not dialect.is_serialization_failure(error):
            raise
    finally:
        if not dialect.writes_in_with:
            _note_duration(began)
    return insert_row(dialect, insert)


def _note_duration(began: float) -> None:
    global _paused_until
    now = time.monotonic()
    if now - began > SLOW_S:
        _paused_until = now + PAUSE_S


def _place(dialect: Dialect, insert: Insert) -> Appended | None:
    using = dialect.connection.alias
    whole: AbstractContextManager[Any] = nullcontext()
    if not dialect.writes_in_with:
        whole = transaction.atomic(using=using, savepoint=False)
    with whole, dialect.writer() as cursor:
        if dialect.writes_in_with:
            values = [*insert.known, insert.created_at, *insert.values, *insert.known]
            cursor.execute(_all_in_one(using, insert[:4]), values)
            row = cursor.fetchone()
        else:
            sql = _inserted(using, insert[:4])
            cursor.execute(sql, [*insert.values, *insert.known])
            row = next(iter(cursor.fetchall()), None)
            if row is not None and row[0] is not None:
                cursor.execute(moved(using), [row[0], row[0], insert.created_at])
    if row is None:
        return None
    if row[0] is None:
        return Appended()
    head, values = row[len(ENTRY_FIELDS) :], row[: len(ENTRY_FIELDS)]
    return Appended(segment_of(head, [values], dialect.entries))


def segments_of(
    dialect: Dialect, placed: Sequence[Any], drafts: Sequence[Draft], at: datetime
) -> list[Segment]:
    """
    Return the segments of messages that an Insertion gave positions to, in their order.

    `drafts` are those that were inserted, `placed` is what the statement returned. Returns no
    segments if that is of another number of messages.
    """
    position, marked, stamp, trimmed, identity, total, new_stamp = placed
    if total != len(drafts):
        return []
    time_of, moment = time_converter(dialect.connection.alias), at.timestamp()
    before = Known(position, stamp if marked == position else None, trimmed, identity)
    found: list[Segment] = []
    some: list[Entry] = []
    size = 0
    for number, draft in enumerate(drafts, start=position + 1):
        entry = Entry(
            *(number, draft.channel, draft.listener, draft.owner, draft.type, draft.payload),
            *(draft.sender, draft.uid, new_stamp),
            moment + draft.kept_s if draft.perishable else None,
            time_of,
        )
        if some and size + entry.size > SEGMENT_BYTES:
            found.append(_segment(before, some, size))
            before, some, size = found[-1].known, [], 0
        some.append(entry)
        size += entry.size
    return [*found, _segment(before, some, size)]


def _segment(before: Known, entries: list[Entry], size: int) -> Segment:
    last = entries[-1]
    known = before._replace(position=last.position, stamp=last.stamp)
    channels = frozenset([entry.channel for entry in entries])
    return Segment(before, known, channels, entries if size <= SEGMENT_BYTES else None)


# Statements -------------------------------------------------------------------------


def placing_many(dialect: Dialect, into: tuple[str, str], messages: str, places: bool) -> str:
    """
    Return what inserts messages and moves the head, as _all_in_one(): parts of a WITH.

    `into` is the table and its columns. `messages` selects these and `nth`, from 1 on. Its
    parameters are followed by the time at which they are published.
    """
    table, columns = into
    free = f"{_ONE} AND NOT EXISTS({dialect.waits})" if places else "FALSE"
    return f"""
        messages AS ({messages}),
        free_head AS (
            SELECT id, {mark(dialect)} FROM {dialect.heads} WHERE {free}
            FOR NO KEY UPDATE SKIP LOCKED
        ),
        placed ({OLD_MARK}, total, stamp) AS (
            UPDATE {dialect.heads} AS head
            SET position = head.position + total, marked = head.position + total, marked_at = %s
            FROM free_head AS free_head (id, {OLD_MARK}),
                (SELECT COUNT(*) AS total FROM messages) AS counted
            WHERE head.id = free_head.id AND total > 0
            RETURNING {OLD_MARK}, total, {dialect.stamp("head.marked_at")}
        ),
        inserted AS (
            INSERT INTO {table} ({columns}, position)
            SELECT {columns}, (SELECT before FROM placed) + nth FROM messages ORDER BY nth
        )
    """


def mark(dialect: Dialect) -> str:
    """Return the columns that identify the history of a head: see Known."""
    return f"position, marked, {dialect.stamp('marked_at')}, trimmed, identity"


@lru_cache
def _all_in_one(using: str, insert: tuple[str, str, str, str]) -> str:
    """
    Return one statement that also moves the head, if that is free and nothing waits.

    All of it has one snapshot. What was committed before that either waits there, or has a
    position that the locked head includes. The head's lock is skipped where another has it:
    publishers at the same time leave their rows to the sequencer, and share its commit.
    """
    dialect = dialect_of(connections[using])
    into, columns, select, source = insert
    exists = f"AND EXISTS(SELECT 1 {source})" if source else ""
    return f"""
        WITH free AS (
            SELECT id, {mark(dialect)} FROM {dialect.heads}
            WHERE {_ONE} AND NOT EXISTS({dialect.waits}) {exists}
            FOR NO KEY UPDATE SKIP LOCKED
        ),
        moved ({OLD_MARK}, position) AS (
            UPDATE {dialect.heads} AS head
            SET position = head.position + 1, marked = head.position + 1, marked_at = %s
            FROM free AS free (id, {OLD_MARK}) WHERE head.id = free.id
            RETURNING {OLD_MARK}, head.position
        ),
        inserted AS (
            INSERT INTO {into} ({columns}, position)
            SELECT {select}, (SELECT position FROM moved) {source}
            RETURNING {_returned(dialect)}
        )
        SELECT inserted.*, {OLD_MARK} FROM inserted LEFT JOIN moved ON TRUE
    """


@lru_cache
def _inserted(using: str, insert: tuple[str, str, str, str]) -> str:
    """Return the INSERT with the next position, null where another message waits for one."""
    dialect = dialect_of(connections[using])
    into, columns, select, source = insert
    heads = dialect.heads
    marks = ", ".join(
        f"(SELECT {column} FROM {heads} AS head WHERE {_ONE})"
        for column in mark(dialect).split(", ")
    )
    position = f"(SELECT position + 1 FROM {heads} WHERE {_ONE} AND NOT EXISTS({dialect.waits}))"
    return (
        f"INSERT INTO {into} ({columns}, position) SELECT {select}, {position} {source} "
        f"RETURNING {_returned(dialect)}, {marks}"
    )


@lru_cache
def moved(using: str) -> str:
    """Return what moves the head: its parameters are position, marked and marked_at."""
    heads = dialect_of(connections[using]).heads
    return f"UPDATE {heads} SET position = %s, marked = %s, marked_at = %s WHERE {_ONE}"


@lru_cache
def unless_waiting(using: str) -> str:
    """Return what selects the head's mark(), nothing if a message waits for its position."""
    dialect = dialect_of(connections[using])
    return (
        f"SELECT {mark(dialect)} FROM {dialect.heads} WHERE {_ONE} AND NOT EXISTS({dialect.waits})"
    )


def _returned(dialect: Dialect) -> str:
    return dialect.columns(f"CASE WHEN {dialect.size} <= {SEGMENT_BYTES} THEN payload END")
