"""
The INSERT of messages, in text that is made once.

A model's instance and its save() take 130 µs of CPU, of which 30 are the database's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db import connections, transaction
from django.utils import timezone

from eric_sse_django.log.dialect import Dialect, dialect_of
from eric_sse_django.models import Channel, QueuedMessage

# Rows of one statement on PostgreSQL: it reads the values as a few arrays.
INSERT_BATCH = 5_000

_COLUMNS = (
    *("channel", "listener", "owner", "type", "payload", "sender", "uid"),
    *("perishable", "created_at", "expires_at"),
)


@dataclass(slots=True)
class Draft:
    """A message before its row is there; `listener` and `owner` are keys."""

    channel: int
    kept_s: float
    perishable: bool
    type: str
    payload: str
    listener: Any
    owner: Any
    sender: str | None
    uid: str | None


def insert(using: str, drafts: Sequence[Draft]) -> None:
    """Insert the rows in their order: one statement for one, else all of them or none."""
    connection = connections[using]
    rows = _rows(dialect_of(connection), drafts)
    with transaction.mark_for_rollback_on_error(using), connection.cursor() as cursor:
        if len(rows) == 1:
            cursor.execute(_single(using), rows[0])
            return
        with transaction.atomic(using=using, savepoint=False):
            if not dialect_of(connection).arrays:
                cursor.executemany(_single(using), rows)
                return
            # One statement for many rows; its executemany() sends one for each.
            for first in range(0, len(rows), INSERT_BATCH):
                columns = zip(*rows[first : first + INSERT_BATCH], strict=True)
                cursor.execute(_from_arrays(using), [list(column) for column in columns])


def insert_if_unchanged(
    using: str, draft: Draft, channel: Channel, listener: str | None = None
) -> bool:
    """
    Insert a row if its channel is still as `channel` was read; return whether it was.

    One statement, which looks the channel up by its key: nothing is published into a channel
    that was removed, renamed or given another retention since. With the id of a `listener`
    the message is that listener's, and False also means that there is none. Takes no lock: on
    MariaDB above READ COMMITTED, Django's default, it is two statements for that.
    """
    connection = connections[using]
    dialect = dialect_of(connection)
    [row] = _rows(dialect, [draft])
    lives = channel.retention_s, channel.expires_in_s
    where = _unchanged(using, listener is not None, *(value is not None for value in lives))
    named: list[Any] = [] if listener is None else [listener]
    known = [*named, channel.pk, channel.name, *(value for value in lives if value is not None)]
    with transaction.mark_for_rollback_on_error(using), connection.cursor() as cursor:
        if dialect.insert_select_locks:
            cursor.execute(f"SELECT {'l.id' if named else 'NULL'} {where}", known)
            if (found := cursor.fetchone()) is None:
                return False
            cursor.execute(_single(using), [row[0], *found, *row[2:]])
            return True
        values = row[:1] + row[2:] if named else row
        cursor.execute(f"{_selected(using, bool(named))} {where}", [*values, *known])
        return bool(cursor.rowcount)


def _rows(dialect: Dialect, drafts: Sequence[Draft]) -> list[tuple[Any, ...]]:
    """Return the values in the order of the columns, as the database takes them."""
    now = timezone.now()
    adapt = dialect.time
    expiries = {kept_s: adapt(_later(now, kept_s)) for kept_s in {each.kept_s for each in drafts}}
    created_at = adapt(now)
    return [
        (
            draft.channel,
            draft.listener,
            None if draft.owner is None else dialect.key("owner", draft.owner),
            draft.type,
            draft.payload,
            draft.sender,
            draft.uid,
            draft.perishable,
            created_at,
            expiries[draft.kept_s],
        )
        for draft in drafts
    ]


def _later(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)


@lru_cache
def _single(using: str) -> str:
    places = ", ".join(["%s"] * len(_COLUMNS))
    return f"{_into(using)} VALUES ({places})"


@lru_cache
def _selected(using: str, to_listener: bool) -> str:
    places = ["%s"] * len(_COLUMNS)
    if to_listener:
        places[1] = "l.id"
    return f"{_into(using)} SELECT {', '.join(places)}"


@lru_cache
def _unchanged(using: str, to_listener: bool, retention: bool, lifetime: bool) -> str:
    dialect = dialect_of(connections[using])
    exact = dialect.exact
    join = f" JOIN {dialect.listeners} l ON l.channel_id = c.id AND {exact}l.name = %s"
    known = [
        "c.id = %s",
        f"{exact}c.name = %s",
        f"c.retention_s {'= %s' if retention else 'IS NULL'}",
        f"c.expires_in_s {'= %s' if lifetime else 'IS NULL'}",
    ]
    return f"FROM {dialect.channels} c{join if to_listener else ''} WHERE {' AND '.join(known)}"


@lru_cache
def _from_arrays(using: str) -> str:
    dialect = dialect_of(connections[using])
    arrays = ", ".join(f"(%s)::{dialect.type_of(name)}[]" for name in _COLUMNS)
    return f"{_into(using)} SELECT * FROM UNNEST({arrays})"


def _into(using: str) -> str:
    dialect = dialect_of(connections[using])
    quote = dialect.connection.ops.quote_name
    fields: list[Any] = [QueuedMessage._meta.get_field(name) for name in _COLUMNS]
    columns = ", ".join(quote(field.column) for field in fields)
    return f"INSERT INTO {dialect.log} ({columns})"
