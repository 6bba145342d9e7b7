"""Entries out of the log's rows, by statements that are made once, within a bound of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

from django.db import connections

from eric_sse_django.entry import Entry
from eric_sse_django.log.dialect import Dialect, dialect_of
from eric_sse_django.log.moment import moment_of
from eric_sse_django.log.page import Page
from eric_sse_django.models import QueuedMessage, database

# Bytes of payloads read at once, were they as large as they may: 1,000 of 256 KB would be
# 256 MB for a moment. As many as a thousand of the usual size have, and no stream's buffer.
READ_BYTES = 4_194_304

# In the order of Entry's arguments; the last of these, what makes datetimes, is not a column.
_FIELDS = (
    *("position", "channel", "listener", "owner", "type", "payload"),
    *("sender", "uid", "created_at", "expires_at"),
)
_OWNER, PAYLOAD = _FIELDS.index("owner"), _FIELDS.index("payload")
CREATED_AT, _EXPIRES_AT = _FIELDS.index("created_at"), _FIELDS.index("expires_at")

# Not expired at the time that is its parameter: what retention is to remove is alive till then.
ALIVE = "(NOT perishable OR expires_at > %s)"

Row = tuple[Any, ...]
Convert = Callable[[Any], Any]


def page_of(
    channel: int, listener: int | None, owner: Any, after: int, upto: int, limit: int
) -> Page:
    """
    Return what is addressed to just these, in (after, upto] and not expired: the first of it.

    `limit` entries and READ_BYTES at most, one at least. One query; two more where a payload
    has more than its share of the bytes.
    """
    using = database()
    connection = connections[using]
    dialect = dialect_of(connection)
    keys: list[Any] = [] if listener is None else [listener]
    if owner is not None:
        keys.append(dialect.key("owner", owner))
    share = [] if limit == 1 else [READ_BYTES // limit]
    statement = _select(using, listener is not None, owner is not None, bool(share))
    with connection.cursor() as cursor:
        cursor.execute(statement, [*share, channel, *keys, after, upto, dialect.now(), limit])
        found = list(cursor.fetchall())
    reached = found[-1][0] if len(found) == limit else upto
    large = [row[0] for row in found if row[PAYLOAD] is None]
    if large:
        found, reached = _with_large(using, found, large, reached)
    return Page(entries(using, found), reached)


@lru_cache
def _select(using: str, to_listener: bool, to_owner: bool, shared: bool) -> str:
    dialect = dialect_of(connections[using])
    payload = f"CASE WHEN {dialect.size} <= %s THEN payload END" if shared else "payload"
    return (
        f"SELECT {columns(dialect, payload)} FROM {dialect.log} WHERE channel_id = %s "
        f"AND listener_id {'= %s' if to_listener else 'IS NULL'} "
        f"AND owner_id {'= %s' if to_owner else 'IS NULL'} "
        f"AND position > %s AND position <= %s AND {ALIVE} "
        f"{dialect.order()} LIMIT %s"
    )


def _with_large(
    using: str, found: list[Row], large: list[int], reached: int
) -> tuple[list[Row], int]:
    """Return the rows that fit, with the payloads that were left out, and how far they go."""
    sizes, total = _at(using, large, dialect_of(connections[using]).size), 0
    for number, row in enumerate(found):
        payload = row[PAYLOAD]
        total += sizes.get(row[0], 0) if payload is None else len(payload)
        if total > READ_BYTES and number:
            found, reached = found[:number], found[number - 1][0]
            break
    payloads = _at(using, [position for position in large if position <= reached], "payload")
    filled = (
        row
        if row[PAYLOAD] is not None
        else (*row[:PAYLOAD], payloads.get(row[0]), *row[PAYLOAD + 1 :])
        for row in found
    )
    # None: trimmed meanwhile. The floor, which is read afterwards, tells of it.
    return [row for row in filled if row[PAYLOAD] is not None], reached


def _at(using: str, positions: Iterable[int], what: str) -> dict[int, Any]:
    """Return something of each of the messages at these positions. One query."""
    keys = ",".join(map(str, map(int, positions))) or "NULL"
    dialect = dialect_of(connections[using])
    with dialect.connection.cursor() as cursor:
        cursor.execute(f"SELECT position, {what} FROM {dialect.log} WHERE position IN ({keys})")
        return dict(cursor.fetchall())


def columns(dialect: Dialect, payload: str = "payload") -> str:
    """Return what to select for entries()."""
    quote = dialect.connection.ops.quote_name
    fields: list[Any] = [QueuedMessage._meta.get_field(name) for name in _FIELDS]
    names = [quote(field.column) for field in fields]
    names[PAYLOAD] = payload
    for index in (CREATED_AT, _EXPIRES_AT):
        names[index] = dialect.stamp(names[index])
    # Null for most: no time to parse a row.
    names[_EXPIRES_AT] = f"CASE WHEN perishable THEN {names[_EXPIRES_AT]} END"
    return ", ".join(names)


def entries(using: str, rows: Iterable[Row]) -> list[Entry]:
    """Return the entries of rows with columns(), as the driver gave them."""
    make: Callable[..., Entry] = Entry  # mypy takes a row for any number of arguments
    time_of, owner_of, found = _time_maker(using), None, []
    for row in rows:
        if row[_OWNER] is None and row[_EXPIRES_AT] is None:
            found.append(make(*row, time_of))
            continue
        values = [*row, time_of]
        if values[_OWNER] is not None:
            owner_of = owner_of or dialect_of(connections[using]).converter("owner")
            values[_OWNER] = owner_of(values[_OWNER])
        if values[_EXPIRES_AT] is not None:
            values[_EXPIRES_AT] = time_of(values[_EXPIRES_AT]).timestamp()
        found.append(Entry(*values))
    return found


@lru_cache
def _time_maker(using: str) -> Convert:
    return partial(_time_of, using)


def _time_of(using: str, value: Any) -> Any:
    """Return the datetime of a column's value, or of a time.time(); on any thread."""
    if not isinstance(value, float):
        return dialect_of(connections[using]).converter("created_at")(value)
    return moment_of(value)
